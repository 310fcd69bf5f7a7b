//! What goes wrong in implementations of the draft: one test for each trap.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use common::{
    Client, NOW, Records, SPLIT, WHOLE, assert_same_records, config, group, identity, key_package,
    public_config, rng,
};
use dmls::codec::{Decode, Encode};
use dmls::crypto::Tag;
use dmls::framing::{ContentType, MlsMessage};
use dmls::message::Psk;
use dmls::{
    Config, DmlsMessage, EpochId, Error, Group, Held, Level, Limit, Limits, Outcome, Rule, Time, Usage,
    WaitsFor,
};

fn pair(config: &Config, seed: u64) -> (Client, Client) {
    let [a, b] = group(&["alice", "bob"], config, &mut rng(1000 + seed)).try_into().ok().unwrap();
    (a, b)
}

fn trio(config: &Config, seed: u64) -> (Client, Client, Client) {
    let [a, b, c] = group(&["alice", "bob", "carol"], config, &mut rng(1000 + seed)).try_into().ok().unwrap();
    (a, b, c)
}

fn copy(client: &Client) -> Client {
    client.copy()
}

fn tag(client: &Client, id: &EpochId) -> Tag {
    client.tag(id)
}

/// Whether it waits for an epoch that is not here.
fn waits_for_epoch(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Held(Held { waits_for: WaitsFor::Epoch(_), .. }))
}

fn assert_duplicate(client: &mut Client, message: &[u8]) {
    client.set(SPLIT);
    let before = client.records.clone();
    for network in [WHOLE, SPLIT] {
        assert_eq!(client.receive(message, network).unwrap(), Outcome::Duplicate);
    }
    assert_same_records(&before, &client.snapshot(), "before and after a duplicate");
}

fn contains(records: &Records, secret: &[u8]) -> bool {
    records.values().any(|value| value.windows(secret.len()).any(|part| part == secret))
}

fn with_header(message: &[u8], header: &[u8]) -> Vec<u8> {
    let mut message = DmlsMessage::from_bytes(message).unwrap();
    message.dmls_epoch = header.into();
    message.to_bytes()
}

#[test]
fn an_external_commit_leaves_the_pprf_of_its_parent_alone() {
    let rng = &mut rng(1);
    let (mut a, mut b) = pair(&config(), 1);
    let parent = a.head();
    let before = a.record(b'i', &parent).unwrap().to_vec();
    let info = a.group.head().group_info(NOW).unwrap();
    let dave = identity("dave", rng);
    let (d, commit) = Client::join_external(&dave, &info, &a.config, rng).unwrap();
    for client in [&mut a, &mut b] {
        let outcome = client.receive(&commit, SPLIT).unwrap();
        assert!(matches!(outcome, Outcome::Commit(new) if new.commit.external));
        assert_eq!(client.record(b'i', &parent).unwrap(), before);
        assert_duplicate(client, &commit);
        assert_eq!(client.secret(&d.head()), d.secret(&d.head()));
    }
    // Members still commit there.
    let sent = a.run(|group| group.commit().at(&parent).stage(NOW, rng)).unwrap();
    let new = a.confirm(&sent, SPLIT);
    b.receive(&sent.message, SPLIT).unwrap();
    assert!(new.fork);
    assert_eq!((a.punctures(&parent), b.punctures(&parent)), (1, 1));
    assert_eq!(a.head(), b.head());
}

#[test]
fn own_and_foreign_commits_of_one_epoch_both_puncture_it() {
    let rng = &mut rng(2);
    let (mut a, mut b) = pair(&config(), 2);
    let parent = a.head();
    let ours = a.stage(rng);
    let theirs = b.stage(rng);
    assert_eq!(a.punctures(&parent), 0, "punctured when the commit is confirmed, not before");

    let mut other = copy(&a);
    a.confirm(&ours, SPLIT);
    a.receive(&theirs.message, SPLIT).unwrap();
    other.receive(&theirs.message, SPLIT).unwrap();
    other.restart();
    other.receive(&ours.message, SPLIT).unwrap();
    for client in [&mut a, &mut other] {
        assert_eq!(client.punctures(&parent), 2);
        assert_duplicate(client, &ours.message);
        assert_duplicate(client, &theirs.message);
        client.restart();
        assert_duplicate(client, &ours.message);
        assert_duplicate(client, &theirs.message);
    }
    // What is left of the PPRF is stored puncture by puncture, in their order.
    let [one, other] = [&a, &other].map(|client| {
        let records = client.records.iter().filter(|(key, _)| key[0] != b'i');
        records.map(|(key, value)| (key.clone(), value.clone())).collect::<Records>()
    });
    assert_same_records(&one, &other, "one order and the other");

    // What was given up costs its parent nothing.
    let given_up = b.run(|group| group.commit().at(&parent).stage(NOW, rng)).unwrap();
    b.run(|group| group.abandon(&given_up.id)).unwrap();
    assert_eq!(b.punctures(&parent), 0);
}

#[test]
fn a_commit_that_comes_again_is_a_duplicate_at_any_time() {
    let rng = &mut rng(3);
    for config in [config(), public_config()] {
        let (mut a, mut b) = pair(&config, 3);
        let first = a.stage(rng);
        b.receive(&first.message, SPLIT).unwrap();
        a.confirm(&first, SPLIT);
        let both = |a: &mut Client, b: &mut Client| {
            for client in [a, b] {
                assert_duplicate(client, &first.message);
                client.restart();
                assert_duplicate(client, &first.message);
            }
        };
        both(&mut a, &mut b);
        let second = b.stage(rng);
        a.receive(&second.message, SPLIT).unwrap();
        b.confirm(&second, SPLIT);
        both(&mut a, &mut b);
        let third = a.stage(rng);
        b.receive(&third.message, WHOLE).unwrap();
        a.confirm(&third, WHOLE);
        let full = a.at_level(Level::Full);
        assert_eq!(full, 1, "its parent is gone");
        both(&mut a, &mut b);
    }
}

/// Damages a message everywhere; nothing may change but what is held for an epoch that nobody knows.
fn damage_everywhere(client: &mut Client, message: &[u8]) {
    let before = client.snapshot();
    let damaged = (0..message.len()).map(|at| {
        let mut message = message.to_vec();
        message[at] ^= 1 << (at % 8);
        message
    });
    let cut = (0..message.len()).step_by(7).map(|length| message[..length].to_vec());
    let longer = [[message, &[0]].concat()];
    for message in damaged.chain(cut).chain(longer) {
        match client.group.receive(&message, NOW) {
            Ok(step) => {
                assert!(waits_for_epoch(step.outcome()), "{:?}", step.outcome());
                assert!(step.changes().iter().all(|(key, _)| key[0] == b'h'));
                // Dropped.
            }
            Err(Error::Malformed(_) | Error::Invalid(_) | Error::Unsupported(_) | Error::Limit(_)) => {}
            Err(e) => panic!("{e}"),
        }
        assert_same_records(&before, &client.snapshot(), "before and after a damaged message");
    }
}

#[test]
fn a_damaged_commit_changes_nothing() {
    let rng = &mut rng(4);
    for config in [config(), public_config()] {
        let (mut a, mut b, _) = trio(&config, 4);
        let sent = a.stage(rng);
        damage_everywhere(&mut b, &sent.message);
        // The real one is still good.
        assert!(matches!(b.receive(&sent.message, SPLIT).unwrap(), Outcome::Commit(_)));

        let info = b.group.head().group_info(NOW).unwrap();
        let (_, commit) = Client::join_external(&identity("dave", rng), &info, &config, rng).unwrap();
        damage_everywhere(&mut b, &commit);
        assert!(matches!(b.receive(&commit, SPLIT).unwrap(), Outcome::Commit(_)));
    }
}

#[test]
fn a_damaged_application_message_uses_up_no_key() {
    let rng = &mut rng(5);
    let (mut a, mut b) = pair(&config(), 5);
    let message = a.send(b"hello", rng);
    damage_everywhere(&mut b, &message);
    assert!(matches!(b.receive(&message, SPLIT).unwrap(), Outcome::Application(_)));
}

#[test]
fn a_member_that_one_branch_removes_follows_the_other() {
    let (mut lost, mut stayed) = (0, 0);
    for seed in 0..8 {
        let rng = &mut rng(seed);
        let (mut a, mut b, mut c) = trio(&config(), seed);
        let leaf = c.leaf();
        let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
        a.confirm(&removal, SPLIT);
        let other = b.stage(rng);
        b.confirm(&other, SPLIT);
        let removed = tag(&a, &removal.epoch).as_bytes() > tag(&b, &other.epoch).as_bytes();
        *(if removed { &mut lost } else { &mut stayed }) += 1;

        // The removal comes last.
        let mut last = copy(&c);
        last.receive(&other.message, SPLIT).unwrap();
        match last.receive(&removal.message, SPLIT).unwrap() {
            Outcome::Removed(outcome) => assert_eq!(outcome.wins, removed),
            other => panic!("{other:?}"),
        }
        // The removal comes first, and there is no other branch yet.
        let parent = c.head();
        match c.receive(&removal.message, SPLIT).unwrap() {
            Outcome::Removed(outcome) => assert!(outcome.wins && outcome.parent == parent),
            other => panic!("{other:?}"),
        }
        // It may be forged, so it is a claim until somebody whom we trust says that it is true.
        assert!(!c.group.is_removed());
        c.run(|group| group.confirm_removal(&removal.id)).unwrap();
        assert!(c.group.is_removed());
        c.restart();
        assert!(c.group.is_removed());
        c.receive(&other.message, SPLIT).unwrap();
        last.run(|group| group.confirm_removal(&removal.id)).unwrap();

        for client in [&mut c, &mut last] {
            assert_eq!(client.group.is_removed(), removed);
            assert_eq!(client.head(), if removed { parent.clone() } else { other.epoch.clone() });
            assert_duplicate(client, &removal.message);
            client.restart();
            assert_duplicate(client, &removal.message);
            assert_eq!(client.group.is_removed(), removed);
            // What the branch without us says can't be read; ours can.
            let mut b = copy(&b);
            let message = b.send(b"still here", rng);
            assert!(matches!(client.receive(&message, SPLIT).unwrap(), Outcome::Application(_)));
            let theirs = copy(&a).send(b"without carol", rng);
            match client.receive(&theirs, SPLIT).unwrap() {
                Outcome::Held(held) => assert_eq!(held.waits_for, WaitsFor::Epoch(removal.epoch.clone())),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(lost > 0 && stayed > 0, "both happened");
}

#[test]
fn a_pending_update_works_on_every_branch() {
    let rng = &mut rng(6);
    let (mut a, mut b, mut c) = trio(&config(), 6);
    let proposal = c.run(|group| group.propose_update(NOW, rng)).unwrap();
    for client in [&mut a, &mut b] {
        client.receive(&proposal.message, SPLIT).unwrap();
    }
    let commits = [&mut a, &mut b].map(|client| {
        let sent =
            client.run(|group| group.commit().references(vec![proposal.reference.clone()]).stage(NOW, rng));
        let sent = sent.unwrap();
        client.confirm(&sent, SPLIT);
        (sent.message, client.secret(&sent.epoch), sent.epoch)
    });
    c.restart();
    for (message, secret, epoch) in &commits {
        match c.receive(message, SPLIT).unwrap() {
            Outcome::Commit(new) => assert_eq!(new.commit.updated.len(), 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(c.secret(epoch), *secret);
        c.restart();
    }
    // The new leaf key goes on working: someone else commits on each branch.
    for (client, (_, _, epoch)) in [&mut a, &mut b].into_iter().zip(&commits) {
        let sent = client.run(|group| group.commit().at(epoch).stage(NOW, rng)).unwrap();
        client.confirm(&sent, SPLIT);
        c.receive(&sent.message, SPLIT).unwrap();
        assert_eq!(c.secret(&sent.epoch), client.secret(&sent.epoch));
    }
}

#[test]
fn a_used_message_key_is_gone() {
    let rng = &mut rng(7);
    let (mut a, mut b) = pair(&config(), 7);
    let messages: Vec<_> = (0..4).map(|_| a.send(b"hello", rng)).collect();
    let ratchets = |client: &Client| {
        let all = client.records.iter().filter(|(key, _)| key[0] == b'r');
        all.map(|(key, value)| (key.clone(), value.clone())).collect::<Records>()
    };
    // First, the root of the secret tree.
    let root = ratchets(&b);
    assert_eq!(root.len(), 1);
    b.receive(&messages[0], SPLIT).unwrap();
    assert!(root.values().all(|secret| !contains(&b.records, secret)));
    // Then the secret of the ratchet: optional, generation, length, 32 bytes.
    let application = |client: &Client| {
        let leaf = a.leaf().0.to_be_bytes();
        let (_, record) = ratchets(client)
            .into_iter()
            .find(|(key, _)| key.ends_with(&leaf) && key[key.len() - 5] == 2)
            .unwrap();
        record[6..38].to_vec()
    };
    let secret = application(&b);
    // Out of order: the key of the one between is kept until it comes.
    b.receive(&messages[2], SPLIT).unwrap();
    assert!(!contains(&b.records, &secret));
    let kept = b.records.clone();
    b.receive(&messages[1], SPLIT).unwrap();
    let sizes =
        |records: &Records| records.iter().filter(|(key, _)| key[0] == b'r').map(|(_, v)| v.len()).sum();
    let (before, after): (usize, usize) = (sizes(&kept), sizes(&b.records));
    assert_eq!(before - after, 48, "one kept key is erased");
    for _ in 0..2 {
        for message in &messages[..3] {
            assert_duplicate(&mut b, message);
        }
        b.restart();
    }
    assert!(matches!(b.receive(&messages[3], SPLIT).unwrap(), Outcome::Application(_)));
}

#[test]
fn a_false_header_gives_an_error_and_no_change() {
    for config in [config(), public_config()] {
        let rng = &mut rng(8);
        let (mut a, mut b, mut c) = trio(&config, 8);
        let parent = a.head();
        let [one, other] = [&mut a, &mut b].map(|client| {
            let sent = client.stage(rng);
            client.confirm(&sent, SPLIT);
            sent
        });
        for sent in [&one, &other] {
            c.receive(&sent.message, SPLIT).unwrap();
        }
        let application = a.send(b"hello", rng);
        let proposal = a.run(|group| group.propose_update(NOW, rng)).unwrap().message;
        let commit = a.stage(rng).message;
        let before = c.snapshot();
        for message in [&application, &proposal, &commit] {
            for header in [&parent, &other.epoch] {
                match c.group.receive(&with_header(message, header.as_bytes()), NOW) {
                    Err(Error::Invalid(
                        Rule::EpochHeader | Rule::SenderData | Rule::MembershipTag | Rule::ContentSignature,
                    )) => {}
                    other => panic!("{other:?}"),
                }
                assert_same_records(&before, &c.snapshot(), "before and after a false header");
            }
            let short = c.group.receive(&with_header(message, &[1; 31]), NOW);
            assert_eq!(short.unwrap_err(), Error::Invalid(Rule::EpochIdLength));
            let unknown = EpochId::from(vec![9; 32]);
            let held = c.group.receive(&with_header(message, unknown.as_bytes()), NOW).unwrap();
            assert!(waits_for_epoch(held.outcome()));
        }
        assert_same_records(&before, &c.snapshot(), "before and after false headers");
        // The true header still works.
        for message in [&application, &proposal, &commit] {
            c.receive(message, SPLIT).unwrap();
        }
        // An own commit that comes back under a false header confirms nothing.
        let sent = c.stage(rng);
        let before = c.snapshot();
        let refused = c.group.receive(&with_header(&sent.message, parent.as_bytes()), NOW).unwrap_err();
        assert_eq!(refused, Error::Invalid(Rule::EpochHeader));
        assert_same_records(&before, &c.snapshot(), "before and after a false header");
    }
}

#[test]
fn a_message_of_a_deleted_epoch_is_named_as_such() {
    let rng = &mut rng(9);
    let (mut a, mut b) = pair(&config(), 9);
    let old = a.head();
    let late = a.send(b"late", rng);
    let late_commit = copy(&a).stage(rng).message;
    let sent = a.stage(rng);
    b.receive(&sent.message, WHOLE).unwrap();
    for message in [&late, &late_commit] {
        match b.receive(message, SPLIT).unwrap() {
            Outcome::EpochDeleted(deleted) => {
                assert_eq!((deleted.epoch.as_ref(), deleted.level), (Some(&old), Level::Known));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_welcome_is_not_given_out_for_a_commit_that_lost() {
    let (mut won, mut lost) = (0, 0);
    for seed in 0..8 {
        let rng = &mut rng(seed);
        let (mut a, mut b) = pair(&config(), seed);
        let dave = identity("dave", rng);
        let own = key_package(&dave, rng);
        let ours = a.run(|group| group.commit().add(own.key_package().clone()).stage(NOW, rng)).unwrap();
        let theirs = b.stage(rng);
        b.confirm(&theirs, SPLIT);

        // The other commit comes first, in a network that is whole: ours is lost, also for storage.
        let mut late = copy(&a);
        late.receive(&theirs.message, WHOLE).unwrap();
        assert_eq!(late.count(b'o'), 0);
        assert_eq!(late.group.pending().count(), 0);
        assert_eq!(late.run(|group| group.confirm(&ours.id)).unwrap_err(), Usage::UnknownCommit.into());
        let outcome = late.receive(&ours.message, WHOLE).unwrap();
        assert!(matches!(outcome, Outcome::EpochDeleted { .. }), "{outcome:?}");

        // Both are there and ours is confirmed when the network is whole again: the tags decide.
        a.receive(&theirs.message, SPLIT).unwrap();
        assert_eq!(a.head(), theirs.epoch);
        let new = a.confirm(&ours, WHOLE);
        match new.welcome {
            Some(welcome) => {
                won += 1;
                assert!(new.head_moved);
                assert_eq!(new.lost.len(), 1);
                let d = Client::join(&dave, &own, &welcome, &a.config).unwrap();
                assert_eq!(d.secret(&new.id), a.secret(&new.id));
            }
            None => {
                lost += 1;
                assert!(!new.head_moved);
                assert!(a.group.epoch(&new.id).unwrap().level() == Level::Known);
                assert_eq!(a.count(b'e'), 1);
            }
        }
        assert_eq!(a.group.epoch(&new.id).unwrap().is_head(), new.head_moved);
        assert_duplicate(&mut a, &ours.message);
    }
    assert!(won > 0 && lost > 0, "both happened");
}

#[test]
fn a_step_that_is_dropped_changes_nothing() {
    let rng = &mut rng(10);
    let (mut a, mut b) = pair(&config(), 10);
    let sent = b.stage(rng);
    let own = a.stage(rng);
    let early = {
        let mut b = copy(&b);
        b.confirm(&sent, SPLIT);
        b.send(b"early", rng)
    };
    let application = b.send(b"hello", rng);
    let proposal = copy(&b).run(|group| group.propose_update(NOW, rng)).unwrap().message;
    a.deliver(&early, SPLIT).unwrap();
    let before = a.snapshot();
    for network in [SPLIT, WHOLE] {
        a.set(network);
        let before = a.snapshot();
        for message in [&sent.message, &own.message, &early, &application, &proposal] {
            drop(a.group.receive(message, NOW).unwrap());
        }
        drop(a.group.confirm(&own.id).unwrap());
        assert!(a.group.resume(NOW).is_none());
        assert_same_records(&before, &a.snapshot(), "before and after dropped steps");
    }
    a.set(SPLIT);
    drop(a.group.abandon(&own.id).unwrap());
    drop(a.group.send(b"unsent").seal(rng).unwrap());
    drop(a.group.propose_update(NOW, rng).unwrap());
    drop(a.group.commit().stage(NOW, rng).unwrap());
    drop(a.group.delete_old_epochs());
    assert_same_records(&before, &a.snapshot(), "before and after dropped steps");
    // Each of them still happens; what the store refuses does not.
    let refused = a.group.deliver(&sent.message, NOW, |_, _| Err(Error::Limit(Limit::Held)));
    assert_eq!(refused.unwrap_err(), Error::Limit(Limit::Held));
    assert_same_records(&before, &a.snapshot(), "before and after a refusal");
    a.confirm(&own, SPLIT);
    let outcomes = a.deliver(&sent.message, SPLIT).unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Commit(_), Outcome::Application(_)]), "{outcomes:?}");
}

#[test]
fn what_the_store_refuses_does_not_happen() {
    let rng = &mut rng(23);
    let (mut a, mut b) = pair(&config(), 23);
    let own = key_package(&identity("dave", rng), rng);
    let before = a.snapshot();
    let add = || own.key_package().clone();
    let step = a.group.commit().add(add()).stage_confirmed(NOW, rng).unwrap();
    assert_eq!(step.persist(|_, _| Err("disk full")).map(drop), Err("disk full"));
    assert_same_records(&before, &a.snapshot(), "before and after a refusal");
    // The writer sees what it has to keep, and all of it is there afterwards.
    let (mut records, mut kept) = (before, None);
    let step = a.group.commit().add(add()).stage_confirmed(NOW, rng).unwrap();
    let committed = step.persist(|changes, committed| {
        changes.replay_into(&mut records);
        kept = Some(committed.clone());
        Ok::<_, Error>(())
    });
    assert_eq!(committed.as_ref().ok(), kept.as_ref());
    assert_same_records(&records, &a.snapshot(), "written and in memory");
    let committed = committed.unwrap();
    assert!(matches!(b.receive(&committed.sent.message, SPLIT), Ok(Outcome::Commit(_))));

    let welcome = committed.epoch.welcome.unwrap();
    let join = || Group::join(&own, &welcome, None, config(), NOW).unwrap();
    assert_eq!(join().persist(|_| Err("disk full")).unwrap_err(), "disk full");
    let mut records = Records::new();
    let joined = join().persist(|changes| {
        changes.replay_into(&mut records);
        Ok::<_, Error>(())
    });
    let joined = joined.unwrap();
    assert_same_records(&records, &common::records_of(&joined.snapshot()), "written and in memory");
}

#[test]
fn held_messages_are_bounded_and_survive_a_restart() {
    let rng = &mut rng(11);
    let limits = Limits { held_messages: 5, held_per_epoch: 3, held_bytes: 4096, ..Limits::default() };
    let config = Config { limits, ..config() };
    let (mut a, mut b) = pair(&config, 11);
    let sent = a.stage(rng);
    a.confirm(&sent, SPLIT);
    let messages: Vec<_> = (0..6_u8).map(|n| a.send(&[n], rng)).collect();
    for message in &messages {
        for _ in 0..2 {
            b.receive(message, SPLIT).unwrap();
        }
    }
    assert_eq!((b.group.held(), b.count(b'h')), (3, 3), "no more for one epoch");
    for unknown in 0..2 {
        b.receive(&with_header(&messages[0], &[unknown; 32]), SPLIT).unwrap();
    }
    assert_eq!((b.group.held(), b.count(b'h')), (5, 5));
    b.restart();
    assert_eq!(b.group.held(), 5);
    let outcomes = b.deliver(&sent.message, SPLIT).unwrap();
    let data = outcomes.iter().filter_map(|o| match o {
        Outcome::Application(application) => Some(application.data[0]),
        _ => None,
    });
    assert_eq!(data.collect::<Vec<_>>(), [3, 4, 5], "the last ones, in their order");
    assert_eq!(b.group.held(), 2);
    for unknown in 10..20 {
        b.receive(&with_header(&messages[0], &[unknown; 32]), SPLIT).unwrap();
    }
    assert_eq!((b.group.held(), b.count(b'h')), (5, 5));
    // One alone may not drive all others out.
    let long = a.send(&[0; 3000], rng);
    assert_eq!(b.receive(&with_header(&long, &[1; 32]), SPLIT).unwrap_err(), Limit::Held.into());
    let long = a.send(&[0; 1500], rng);
    b.receive(&with_header(&long, &[1; 32]), SPLIT).unwrap();
    let bytes: usize = b.records.iter().filter(|(key, _)| key[0] == b'h').map(|(_, value)| value.len()).sum();
    assert!(bytes < 4096 + 5 * 50, "{bytes} bytes");
}

#[test]
fn a_commit_that_waits_for_its_proposal_uses_up_nothing() {
    for config in [config(), public_config()] {
        let rng = &mut rng(13);
        let (mut a, mut b, mut c) = trio(&config, 13);
        let first = a.run(|group| group.propose_update(NOW, rng)).unwrap();
        let psk = Psk::External(common::PSK.to_vec());
        let second = a.run(|group| group.propose_psk(psk, NOW, rng)).unwrap();
        for message in [&first.message, &second.message] {
            b.receive(message, SPLIT).unwrap();
        }
        let sent = b.stage(rng);
        b.confirm(&sent, SPLIT);
        let early = b.send(b"early", rng);
        assert!(waits_for_epoch(&c.receive(&early, SPLIT).unwrap()));
        match c.receive(&sent.message, SPLIT).unwrap() {
            Outcome::Held(held) => assert!(matches!(held.waits_for, WaitsFor::Proposal { .. })),
            other => panic!("{other:?}"),
        }
        c.restart();
        assert_eq!(c.deliver(&second.message, SPLIT).unwrap().len(), 1);
        c.restart();
        let outcomes = c.deliver(&first.message, SPLIT).unwrap();
        assert!(
            matches!(&outcomes[..], [Outcome::Proposal(_), Outcome::Commit(_), Outcome::Application(_)]),
            "{outcomes:?}"
        );
        assert_eq!(c.group.held(), 0);
        assert_duplicate(&mut c, &sent.message);
    }
}

#[test]
fn the_epochs_are_capped_whatever_the_delivery_service_says() {
    let rng = &mut rng(14);
    let limits = Limits { epochs: 4, known_epochs: 3, resumption_psks: 2, ..Limits::default() };
    let config = Config { limits, ..config() };
    let (mut a, mut b) = pair(&config, 14);
    for round in 0..30 {
        let ours = a.stage(rng);
        let theirs = b.stage(rng);
        a.confirm(&ours, SPLIT);
        b.confirm(&theirs, SPLIT);
        a.receive(&theirs.message, SPLIT).unwrap();
        b.receive(&ours.message, SPLIT).unwrap();
        assert_eq!(a.head(), b.head());
        for client in [&mut a, &mut b] {
            let epochs = client.epochs();
            let readable = epochs.iter().filter(|info| info.level > Level::Known).count();
            assert!(readable <= 4, "{readable} epochs in round {round}");
            assert_eq!(client.count(b'e'), readable);
            assert!(epochs.len() <= 4 + 3 + 4, "{} nodes in round {round}", epochs.len());
            client.restart();
        }
    }
}

#[test]
fn a_commit_that_was_erased_and_won_can_only_be_followed_by_a_new_self() {
    let rng = &mut rng(15);
    let (mut a, mut b) = pair(&config(), 15);
    let sent = a.stage(rng);
    a.run(|group| group.discard_unsent(&sent.id)).unwrap();
    assert_eq!(a.count(b'o'), 0);
    b.receive(&sent.message, SPLIT).unwrap();
    let before = a.snapshot();
    match a.receive(&sent.message, SPLIT).unwrap() {
        Outcome::RolledBack(told) => assert_eq!(told.content, ContentType::Commit),
        other => panic!("{other:?}"),
    }
    assert_same_records(&before, &a.snapshot(), "before and after a lost commit");

    let info = b.group.head().group_info(NOW).unwrap();
    let (again, commit) = Client::join_external(&a.identity, &info, &a.config, rng).unwrap();
    match b.receive(&commit, WHOLE).unwrap() {
        Outcome::Commit(new) => assert_eq!(new.commit.removed.len(), 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(b.members().len(), 2);
    assert_eq!(b.secret(&b.head()), again.secret(&b.head()));
}

#[test]
fn commits_that_remove_us_take_no_room_from_children_and_are_limited() {
    let rng = &mut rng(16);
    let limits = Limits { children_per_committer: 4, ..Limits::default() };
    let config = Config { limits, ruleset: None, ..config() };
    let (mut a, _, mut c) = trio(&config, 16);
    let leaf = c.leaf();
    for n in 0..4 {
        let sent = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
        a.run(|group| group.abandon(&sent.id)).unwrap();
        let outcome = c.receive(&sent.message, SPLIT);
        match outcome {
            Ok(Outcome::Removed(_)) => {}
            other => panic!("{n}: {other:?}"),
        }
    }
    // Those beyond the limit are refused.
    let before = c.snapshot();
    let sent = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
    a.run(|group| group.abandon(&sent.id)).unwrap();
    assert_eq!(c.receive(&sent.message, SPLIT), Err(Limit::Removals.into()));
    assert_same_records(&before, &c.snapshot(), "before and after a removal too many");
    // And an honest commit is still welcome.
    let sent = a.stage(rng);
    assert!(matches!(c.receive(&sent.message, SPLIT), Ok(Outcome::Commit(_))));
}

#[test]
fn the_head_stays_on_its_branch_when_the_fork_is_long_ago() {
    let limits = Limits { epochs: 5, known_epochs: 3, ..Limits::default() };
    let config = Config { limits, ..config() };
    for seed in 0..6 {
        let rng = &mut rng(seed);
        let (mut a, mut b) = pair(&config, seed);
        let mut tips = [a.head(), a.head()];
        let mut best = None;
        for _ in 0..10 {
            for (tip, first) in tips.iter_mut().zip([true, false]) {
                let (one, other) = if first { (&mut a, &mut b) } else { (&mut b, &mut a) };
                // The branch that lost goes first.
                if one.group.epoch(tip).is_none_or(|epoch| epoch.level() != Level::Full) {
                    continue;
                }
                let sent = one.run(|group| group.commit().at(tip).stage(NOW, rng)).unwrap();
                one.confirm(&sent, SPLIT);
                other.receive(&sent.message, SPLIT).unwrap();
                *tip = sent.epoch;
            }
            let best = *best.get_or_insert_with(|| {
                usize::from(tag(&a, &tips[1]).as_bytes() > tag(&a, &tips[0]).as_bytes())
            });
            assert_eq!((&a.head(), &b.head()), (&tips[best], &tips[best]));
        }
        // One branch dies: what is remembered of it is bounded again.
        for round in 0..30 {
            let (one, other) = if round % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let sent = one.stage(rng);
            one.confirm(&sent, SPLIT);
            other.receive(&sent.message, SPLIT).unwrap();
        }
        let nodes = a.epochs().len();
        assert!(nodes <= 5 + 3 + 2, "{nodes} nodes");
        a.restart();
    }
}

#[test]
fn only_messages_of_a_group_travel_in_a_dmls_message() {
    let (a, mut b) = pair(&config(), 17);
    let info = a.group.head().group_info(NOW).unwrap();
    let message = MlsMessage::from_bytes(&info).unwrap();
    let wrapped = DmlsMessage { message, dmls_epoch: vec![1; 32].into() }.to_bytes();
    assert_eq!(b.receive(&wrapped, SPLIT).unwrap_err(), Rule::MessageKind.into());
}

#[test]
fn a_commit_that_comes_after_the_lifetime_of_whom_it_adds_is_valid_but_nobody_makes_one() {
    let rng = &mut rng(99);
    let (mut alice, mut bob, mut carol) = trio(&config(), 99);
    let key_package = key_package(&identity("dave", rng), rng);
    let late = Time(NOW.0 + 30 * 86_400);

    let add = key_package.key_package().clone();
    let error = bob.group.commit().add(add.clone()).stage(late, rng).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Refused(Rule::LeafLifetime));
    let error = bob.group.propose_add(add.clone(), late, rng).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Refused(Rule::LeafLifetime));

    let proposal = alice.run(|group| group.propose_add(add, NOW, rng)).unwrap();
    let sent = alice.run(|group| group.commit().stage(NOW, rng)).unwrap();
    alice.confirm(&sent, SPLIT);
    for member in [&mut bob, &mut carol] {
        let stored = member.run(|group| group.receive(&proposal.message, late)).unwrap();
        assert!(matches!(stored, Outcome::Proposal(_)));
        let followed = member.run(|group| group.receive(&sent.message, late)).unwrap();
        assert!(matches!(followed, Outcome::Commit(_)));
        assert_eq!(member.head(), alice.head());
    }
}

#[test]
fn no_sender_takes_the_room_of_the_others_and_no_proposal_is_huge() {
    let rng = &mut rng(21);
    let limits = Limits { proposals_per_sender: 2, proposal_size: 200, ..Limits::default() };
    let config = Config { limits, ruleset: None, ..config() };
    let (mut a, mut b, mut c) = trio(&config, 21);
    let psk = Psk::External(common::PSK.to_vec());
    for n in 0..3 {
        let proposed = a.run(|group| group.propose_psk(psk.clone(), NOW, rng));
        assert_eq!(proposed.is_ok(), n < 2);
        if let Ok(proposed) = proposed {
            b.receive(&proposed.message, SPLIT).unwrap();
        }
    }
    let other = c.run(|group| group.propose_psk(psk.clone(), NOW, rng)).unwrap();
    assert!(matches!(b.receive(&other.message, SPLIT), Ok(Outcome::Proposal(_))));
    let add = key_package(&identity("dave", rng), rng).key_package().clone();
    let refused = c.run(|group| group.propose_add(add, NOW, rng)).map(|_| ()).unwrap_err();
    assert_eq!(refused, Limit::Proposals.into());
}

#[test]
fn a_proposal_of_ours_that_was_never_sent_does_not_lock_us_out() {
    let rng = &mut rng(22);
    let (mut a, mut b) = pair(&config(), 22);
    let psk = Psk::External(common::PSK.to_vec());
    a.run(|group| group.propose_psk(psk, NOW, rng)).unwrap();
    // The process dies before it is sent.
    a.restart();
    let sent = a.stage(rng);
    assert_eq!(sent.commit.psks, 1);
    a.confirm(&sent, SPLIT);
    assert!(matches!(b.receive(&sent.message, SPLIT), Ok(Outcome::Commit(_))));
    assert_eq!(a.head(), b.head());
}
