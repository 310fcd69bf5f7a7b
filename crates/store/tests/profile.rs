//! What a profile keeps: groups, key packages, tables, logs; and transactions that fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use common::{key, rng};
use dmls::danger::AcceptAnyCredential;
use dmls::{
    CipherSuite, Config, Credential, Group, Identity, Lifetime, NewGroupOptions, OwnKeyPackage, Retention,
    Suite, Time,
};
use dmls_store::{Error, Log, Order, Profile, Records, Table, Use};

const NOW: Time = Time(1_800_000_000);
const LOG: Log<'_> = Log::new("log");

fn config() -> Config {
    Config { retention: Retention::while_told(), ..Config::new(AcceptAnyCredential) }
}

fn suite() -> Suite {
    config().provider.suite(CipherSuite::X25519_AES128).unwrap()
}

fn new_profile() -> (tempfile::TempDir, Profile) {
    let directory = tempfile::tempdir().unwrap();
    let profile = Profile::create(directory.path(), &key(), &mut rng(0)).unwrap();
    (directory, profile)
}

fn identity(name: &str, seed: u64) -> Identity {
    Identity::generate(suite(), Credential::basic(name), &mut rng(seed)).unwrap()
}

fn key_package(identity: &Identity, seed: u64) -> OwnKeyPackage {
    identity.key_package(Lifetime::starting(NOW, 86_400), &mut rng(seed)).unwrap()
}

/// A group that somebody else begins with a member, and the Welcome.
fn invitation(to: &OwnKeyPackage, seed: u64) -> Vec<u8> {
    let rng = &mut rng(seed);
    let alice = identity("alice", seed);
    let mut group =
        Group::create(&alice, NewGroupOptions::default(), config(), NOW, rng).unwrap().apply_unsaved();
    let step = group.commit().add(to.key_package().clone()).stage_confirmed(NOW, rng).unwrap();
    step.apply_unsaved().epoch.welcome.unwrap()
}

fn join(profile: &mut Profile, welcome: &[u8]) -> Result<Group, Error> {
    let used = profile.key_package_for(welcome, config().provider)?.ok_or(Error::UnknownKeyPackage)?;
    let founding = Group::join(&used.own, welcome, None, config(), NOW)?;
    let id = founding.group().id().to_vec();
    founding.persist(|changes| profile.transaction(|tx| tx.join_group(&id, changes, &used)))
}

#[test]
fn a_key_package_for_one_use_is_used_once() {
    let (_directory, mut profile) = new_profile();
    let bob = identity("bob", 1);
    let (once, last) = (key_package(&bob, 2), key_package(&bob, 3));
    profile
        .transaction(|tx| {
            tx.put_key_package(&once, &suite(), Use::Once)?;
            tx.put_key_package(&last, &suite(), Use::LastResort)
        })
        .unwrap();
    let left = |profile: &Profile| -> Vec<Use> {
        profile.key_packages(config().provider).unwrap().iter().map(|stored| stored.usage).collect()
    };
    assert_eq!(left(&profile).len(), 2);
    let first = join(&mut profile, &invitation(&once, 4)).unwrap();
    assert_eq!(left(&profile), [Use::LastResort]);
    assert!(matches!(join(&mut profile, &invitation(&once, 5)), Err(Error::UnknownKeyPackage)));
    for seed in [6, 7] {
        join(&mut profile, &invitation(&last, seed)).unwrap();
    }
    assert_eq!(left(&profile), [Use::LastResort]);
    assert_eq!(profile.groups().unwrap().len(), 3);
    let loaded = profile.load_group(first.id(), config()).unwrap();
    assert_eq!(loaded.head(), first.head());
}

#[test]
fn a_used_key_package_and_its_group_come_together() {
    let (_directory, mut profile) = new_profile();
    let once = key_package(&identity("bob", 1), 2);
    profile.transaction(|tx| tx.put_key_package(&once, &suite(), Use::Once)).unwrap();
    let welcome = invitation(&once, 3);
    let used = profile.key_package_for(&welcome, config().provider).unwrap().unwrap();
    let founding = Group::join(&used.own, &welcome, None, config(), NOW).unwrap();
    let id = founding.group().id().to_vec();
    let failed = founding.persist(|changes| {
        profile.transaction(|tx| {
            tx.join_group(&id, changes, &used)?;
            Err::<(), _>(Error::UnknownGroup)
        })
    });
    assert!(failed.is_err());
    assert!(profile.groups().unwrap().is_empty());
    join(&mut profile, &welcome).unwrap();
    // Twice in one group is refused, and leaves the group as it is.
    let again = Group::join(&used.own, &welcome, None, config(), NOW).unwrap();
    let refused = again.persist(|changes| profile.transaction(|tx| tx.create_group(&id, changes)));
    assert!(matches!(refused, Err(Error::GroupExists)));
    profile.load_group(&id, config()).unwrap();
}

#[test]
fn groups_and_identities_do_not_mix() {
    let (directory, mut profile) = new_profile();
    let mut groups = Vec::new();
    for seed in 0..3 {
        let me = identity(&format!("me {seed}"), seed);
        let founding = Group::create(&me, NewGroupOptions::default(), config(), NOW, &mut rng(seed)).unwrap();
        let id = founding.group().id().to_vec();
        groups.push(
            founding
                .persist(|changes| {
                    profile.transaction(|tx| {
                        tx.put_identity(&format!("{seed}"), &me)?;
                        tx.create_group(&id, changes)
                    })
                })
                .unwrap(),
        );
    }
    let rng_9 = &mut rng(9);
    for _ in 0..3 {
        for group in &mut groups {
            let id = group.id().to_vec();
            let step = group.commit().stage_confirmed(NOW, rng_9).unwrap();
            step.persist(|changes, _| profile.transaction(|tx| tx.write_group(&id, changes))).unwrap();
        }
    }
    drop(profile);
    let mut profile = Profile::open(directory.path(), &key(), &mut rng(1)).unwrap();
    let same = |profile: &Profile, group: &Group| {
        let mut records = std::collections::BTreeMap::new();
        group.snapshot().replay_into(&mut records);
        *profile.records(group.id()).unwrap().as_map() == records
    };
    assert!(groups.iter().all(|group| same(&profile, group)));
    assert_eq!(profile.identities().unwrap(), ["0", "1", "2"]);
    let mine = profile.identity("1", config().provider).unwrap().unwrap();
    assert_eq!(mine.credential(), &Credential::basic("me 1"));
    profile.transaction(|tx| tx.delete_group(groups[1].id())).unwrap();
    assert!(matches!(profile.records(groups[1].id()), Err(Error::UnknownGroup)));
    let refused = profile.transaction(|tx| tx.write_group(groups[1].id(), &groups[1].snapshot()));
    assert!(matches!(refused, Err(Error::UnknownGroup)));
    assert!(same(&profile, &groups[0]) && same(&profile, &groups[2]));
}

fn texts(entries: &[(Order, dmls::crypto::Secret)]) -> Vec<&str> {
    entries.iter().map(|(_, value)| std::str::from_utf8(value.as_bytes()).unwrap()).collect()
}

#[test]
fn logs_have_an_order_that_never_comes_again() {
    let (directory, mut profile) = new_profile();
    let other = Log::of_group("log", b"group");
    let mut orders = Vec::new();
    for text in ["a", "b", "c"] {
        orders.extend(
            profile
                .transaction(|tx| Ok::<_, Error>([tx.append(LOG, text.as_bytes())?, tx.append(other, b"x")?]))
                .unwrap(),
        );
    }
    assert!(orders.is_sorted());
    assert_eq!(texts(&profile.entries_after(LOG, None, 9).unwrap()), ["a", "b", "c"]);
    assert_eq!(texts(&profile.entries_after(LOG, Some(orders[0]), 1).unwrap()), ["b"]);
    assert_eq!(texts(&profile.entries_before(LOG, None, 2).unwrap()), ["c", "b"]);
    assert_eq!(texts(&profile.entries_before(LOG, Some(orders[2]), 2).unwrap()), ["a"]);
    let cleared = profile.transaction(|tx| {
        assert!(tx.replace(LOG, orders[2], b"B")?);
        tx.remove(LOG, orders[0])?;
        assert!(!tx.replace(LOG, orders[0], b"A")?);
        // A transaction reads what it has written.
        let read = tx.entries_after(LOG, None, 9)?;
        assert_eq!(texts(&read), ["B", "c"]);
        tx.clear_log(LOG)
    });
    cleared.unwrap();
    assert!(profile.entry(LOG, orders[2]).unwrap().is_none());
    assert_eq!(profile.entries_after(other, None, 9).unwrap().len(), 3);
    drop(profile);
    let mut profile = Profile::open(directory.path(), &key(), &mut rng(1)).unwrap();
    let next = profile.transaction(|tx| tx.append(LOG, b"d")).unwrap();
    assert!(next > *orders.last().unwrap());
}

#[test]
fn tables_keep_apart() {
    let (_directory, mut profile) = new_profile();
    let tables = [
        Table::new("a"),
        Table::new("b"),
        Table::new(""),
        Table::of_group("a", b""),
        Table::of_group("", b"a"),
    ];
    for (n, table) in tables.iter().enumerate() {
        profile.transaction(|tx| tx.put(*table, b"", &[n as u8])).unwrap();
    }
    for (n, table) in tables.iter().enumerate() {
        assert_eq!(profile.get(*table, b"").unwrap().unwrap().as_bytes(), [n as u8]);
        assert_eq!(profile.all(*table).unwrap().len(), 1);
    }
    profile.transaction(|tx| tx.clear_table(tables[0])).unwrap();
    assert!(profile.get(tables[0], b"").unwrap().is_none());
    assert!(profile.get(tables[3], b"").unwrap().is_some());
    // Any length, growing and shrinking.
    for length in [0, 1, 70_000, 31, 4_000, 0] {
        profile.transaction(|tx| tx.put(tables[0], b"key", &vec![5; length])).unwrap();
        assert_eq!(profile.get(tables[0], b"key").unwrap().unwrap().as_bytes(), vec![5; length]);
    }
}

/// A caller that fails after any of its writes: nothing of it is there.
#[test]
fn a_caller_that_fails_anywhere_changes_nothing() {
    let (_directory, mut profile) = new_profile();
    let me = identity("me", 1);
    let founding = Group::create(&me, NewGroupOptions::default(), config(), NOW, &mut rng(1)).unwrap();
    let id = founding.group().id().to_vec();
    let mut group =
        founding.persist(|changes| profile.transaction(|tx| tx.create_group(&id, changes))).unwrap();
    profile.transaction(|tx| tx.append(LOG, b"first")).unwrap();
    let everything = |profile: &Profile| {
        let records: Records = profile.records(&id).unwrap();
        let log = profile.entries_after(LOG, None, 9).unwrap().len();
        (records.as_map().clone(), log, profile.generation())
    };
    let before = everything(&profile);
    for fails_after in 0..4 {
        let step = group.commit().stage_confirmed(NOW, &mut rng(2)).unwrap();
        let failed = step.persist(|changes, _| {
            profile.transaction(|tx| {
                let mut writes = 0;
                let mut next = || {
                    writes += 1;
                    if writes > fails_after { Err(Error::UnknownGroup) } else { Ok(()) }
                };
                next()?;
                tx.write_group(&id, changes)?;
                next()?;
                tx.append(LOG, b"second")?;
                next()?;
                tx.put(Table::new("table"), b"key", b"value")?;
                next()
            })
        });
        assert!(failed.is_err());
        assert_eq!(everything(&profile), before, "failed after {fails_after}");
        let head = group.head().id().clone();
        assert_eq!(profile.load_group(&id, config()).unwrap().head().id(), &head);
    }
    // A transaction that writes nothing is none.
    profile.transaction(|_| Ok::<_, Error>(())).unwrap();
    assert_eq!(everything(&profile), before);
}

#[test]
fn nothing_secret_is_printed() {
    let (_directory, mut profile) = new_profile();
    profile.transaction(|tx| tx.put(Table::new("table"), b"key", b"secret")).unwrap();
    let shown = format!("{profile:?}");
    assert!(shown.starts_with("Profile { id: ProfileId(") && shown.contains("generation: 1"), "{shown}");
    let once = key_package(&identity("bob", 1), 2);
    profile.transaction(|tx| tx.put_key_package(&once, &suite(), Use::Once)).unwrap();
    let stored = profile.key_packages(config().provider).unwrap().remove(0);
    let shown = format!("{stored:?}");
    assert!(shown.contains("usage: Once") && !shown.contains("private"), "{shown}");
}
