//! What is told in words.

use dmls::{Kept, Time};

use super::super::words;
use super::people::START;
use super::*;

/// The sentences about a fork of which these are the commits that lost, one after the other, each with its author; Ann's won.
fn told(won: &str, lost: &[(&str, &str)]) -> String {
    let mut epochs = vec![epoch(0, None, 0, Side::Way), epoch(1, Some(0), 1, Side::Way)];
    epochs[1].what = won.into();
    for (place, (by, what)) in (2..).zip(lost) {
        let parent = if place == 2 { 0 } else { place - 1 };
        epochs.push(epoch(place, Some(parent), u64::from(place) - 1, Side::Lost));
        let last = epochs.last_mut().unwrap();
        (last.by, last.what) = (Some((*by).into()), (*what).into());
    }
    words::fork(&GraphView::new(epochs), 0).join(" ")
}

#[test]
fn what_is_undone() {
    let renewed = "renewed keys";
    for (won, lost, expected) in [
        (renewed, &[("Bob", renewed)][..], "Bob's lost. Nothing is missing: Bob's only renewed keys."),
        (
            renewed,
            &[("Ann", renewed)],
            "another one lost. Nothing is missing: the other one only renewed keys.",
        ),
        (
            renewed,
            &[("you", renewed), ("Bob", renewed)],
            "yours lost. Nothing is missing: yours, and 1 commit after it, only renewed keys.",
        ),
        ("removed Cleo", &[("Bob", "removed Cleo")], "Bob's lost. Nothing is missing: Bob's did the same."),
        (
            "removed Cleo",
            &[("Bob", "removed Cleo"), ("Bob", "added Dan")],
            "Bob's lost. Undone by this: Bob removed Cleo; Bob added Dan.",
        ),
        (renewed, &[("you", renewed), ("Bob", "added Dan")], "yours lost. Undone by this: Bob added Dan."),
        (
            renewed,
            &[
                ("Bob", "added a"),
                ("Bob", "added b"),
                ("Bob", "added c"),
                ("Bob", "added d"),
                ("Bob", "added e"),
            ],
            "Bob's lost. Undone by this: Bob added a; Bob added b; Bob added c; 2 more.",
        ),
    ] {
        assert_eq!(told(won, lost), format!("Two commits crossed here: Ann's won, {expected}"));
    }
}

#[test]
fn for_whom_an_epoch_is_kept() {
    let people = People::new(&["Alice", "Bob", "Carol"], 0);
    let members = people.groups[0].head().members().unwrap();
    // People are called here as whoever draws calls them, whatever they call themselves.
    let names = |credential: &dmls::Credential| match credential.identity() {
        Some(b"Bob") => "Bobby\n".into(),
        identity => String::from_utf8_lossy(identity.unwrap()).into_owned(),
    };
    let day = 86_400;
    let (silent, removed) = (members[1..].to_vec(), members[..1].to_vec());
    let until = Some(Time(START + 14 * day));
    for (kept, expected) in [
        (Kept::NextCommit, "until the next commit"),
        (
            Kept::Members { silent: silent.clone(), removed: vec![], until: None },
            "until Bobby and Carol went past it",
        ),
        (
            Kept::Members { silent, removed, until },
            "until Bobby and Carol went past it; 13 days more for Alice: removed, and may not know",
        ),
        (
            Kept::Late { since: Time(START), until: Time(START + day + 7200) },
            "for late messages, 2 hours more",
        ),
        (Kept::Late { since: Time(START), until: Time(START) }, "for late messages, 0 s more"),
    ] {
        assert_eq!(words::kept(&kept, Time(START + day), &names), expected);
    }
}

#[test]
fn rows_of_names() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for (shown, all, expected) in [
        (0, 0, "nobody"),
        (1, 1, "a"),
        (3, 3, "a, b and c"),
        (6, 6, "a, b, c, d, e and f"),
        (7, 7, "a, b, c, d, e and 2 others"),
        (2, 64, "a, b and 62 others"),
        (0, 2, "2 members"),
        (1, 2, "a and 1 other"),
    ] {
        assert_eq!(words::list(&names[..shown], all), expected);
    }
    let spans = [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7199, "1 hour"),
        (86_400, "1 day"),
        (u64::MAX, "213503982334601 days"),
    ];
    for (seconds, expected) in spans {
        assert_eq!(words::span(seconds), expected);
    }
    assert_eq!(words::ago(Some(Time(9)), Some(Time(5))), None);
}
