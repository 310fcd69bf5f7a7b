//! What must hold at the end, by what the processes of a history have said.

use std::collections::{BTreeMap, BTreeSet};

use crate::script::{FOUNDERS, MEMBERS, PEOPLE};

/// Everything that was said, process by process.
pub fn judge(said: &str, what: &str) {
    let lines = |prefix: &'static str| said.lines().filter_map(move |line| line.strip_prefix(prefix));
    let mut told = BTreeSet::new();
    for line in lines("told ") {
        let (who, id) = line.split_once(' ').unwrap();
        assert!(told.insert((who, id)), "{what}: {who} was told twice of {id}");
    }
    for line in lines("event ") {
        // Who was invited on a branch by somebody whom only that one has can't tell it from an attack.
        let is_expected = line.contains("Unreadable") || line.contains("by somebody who never was");
        assert!(is_expected, "{what}: {line}");
    }
    let ends = End::read(said);
    let ends: BTreeMap<_, _> = PEOPLE.iter().zip(ends).collect();
    for (who, end) in &ends {
        let once: BTreeSet<_> = end.texts.iter().collect();
        assert_eq!(once.len(), end.texts.len(), "{what}: {who} reads something twice: {:?}", end.texts);
        assert_eq!(end.waiting, "0", "{what}: {who} has something to publish");
    }
    let alice = &ends[&"Alice"];
    for who in MEMBERS {
        let end = &ends[&who];
        assert_eq!(end.out, "false", "{what}: {who} is out");
        assert_eq!(end.head, alice.head, "{what}: {who}");
        assert_eq!(end.members, MEMBERS, "{what}: {who}");
        assert_eq!(end.name, alice.name, "{what}: {who}");
        for member in MEMBERS {
            assert!(end.texts.contains(&format!("bye: {member}").as_str()), "{what}: {who} did not read it");
        }
    }
    assert_eq!(ends[&"Dave"].out, "true", "{what}: Dave was removed");
    assert!(ends[&"Dave"].notes.contains(&"excluded"), "{what}: Dave was not told that he was removed");
    assert!(
        ends[&"Carol"].notes.contains(&"renamed"),
        "{what}: Carol's log has not that she renamed the group"
    );
    let is_lost = MEMBERS.iter().any(|who| ends[who].notes.contains(&"settings_lost"));
    assert!(alice.name == "family" || is_lost, "{what}: the group has the name {}", alice.name);
    for line in lines("said ") {
        let (author, said) = line.split_once(' ').unwrap();
        for who in FOUNDERS.into_iter().filter(|_| MEMBERS.contains(&author)) {
            assert!(ends[&who].texts.contains(&said), "{what}: {who} did not read {said:?} of {author}");
        }
    }
}

/// What a process said of somebody at the end.
struct End<'s> {
    head: &'s str,
    members: Vec<&'s str>,
    name: &'s str,
    out: &'s str,
    waiting: &'s str,
    texts: Vec<&'s str>,
    notes: Vec<&'s str>,
}

impl<'s> End<'s> {
    /// Of all people, in order.
    fn read(said: &'s str) -> Vec<Self> {
        let end = |who: &&str| {
            let value = |name: &str| {
                let prefix = format!("end {who} {name} ");
                said.lines().rev().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
            };
            let list = |name| value(name).split(',').collect();
            Self {
                head: value("head"),
                members: list("members"),
                name: value("name"),
                out: value("out"),
                waiting: value("waiting"),
                texts: list("texts"),
                notes: list("notes"),
            }
        };
        PEOPLE.iter().map(end).collect()
    }
}
