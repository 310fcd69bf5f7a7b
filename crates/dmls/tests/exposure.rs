//! What a thief of the records can do is what the report says, and an epoch is kept for the reason that is told: all through the
//! public interface. (`group/exposure/tests.rs` has a thief who looks further.)

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use std::collections::BTreeSet;

use common::{Client, NOW, SPLIT, config, group, rng};
use dmls::exposure::{Exposure, MessageKeys};
use dmls::message::Psk;
use dmls::{
    Config, EpochId, Group, Kept, LeafIndex, Level, Limits, Member, NewEpoch, Outcome, Retention,
    RetentionRule, Time, Usage, Why,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

fn trio(config: &Config, seed: u64) -> [Client; 3] {
    group(&["alice", "bob", "carol"], config, &mut rng(6000 + seed)).try_into().ok().unwrap()
}

fn report(client: &Client) -> Exposure {
    client.group.exposure_report(NOW)
}

fn messages(client: &Client, id: &EpochId) -> MessageKeys {
    let report = report(client);
    report.epochs.iter().find(|epoch| epoch.id == *id).unwrap().messages.clone()
}

/// The thief's copy reads one message.
fn reads(client: &Client, message: &[u8]) -> bool {
    let mut thief = client.copy();
    matches!(thief.run(|group| group.receive(message, NOW)), Ok(Outcome::Application(_)))
}

/// Commits and gives it to the others.
fn commit(by: &mut Client, others: &mut [&mut Client], rng: &mut ChaCha20Rng) -> NewEpoch {
    let committed = by.run(|group| group.commit().stage_confirmed(NOW, rng)).unwrap();
    for other in others {
        other.run(|group| group.receive(&committed.sent.message, NOW)).unwrap();
    }
    committed.epoch
}

#[test]
fn the_messages_that_are_counted_can_be_read_and_no_others() {
    let rng = &mut rng(1);
    let [mut a, mut b, mut c] = trio(&config(), 1);
    let epoch = a.head();
    assert_eq!((messages(&a, &epoch).used, messages(&a, &epoch).unused), (vec![], 3));
    let from_b: Vec<_> = (0..5).map(|_| b.send(b"from b", rng)).collect();
    let from_c = c.send(b"from c", rng);
    for place in [1, 3] {
        a.receive(&from_b[place], SPLIT).unwrap();
    }
    let check = |a: &Client, commits: u32| {
        let keys = messages(a, &epoch);
        assert_eq!((keys.used.len(), keys.unused), (1, 2));
        let sender = &keys.used[0];
        assert_eq!((sender.leaf, &sender.application.skipped), (LeafIndex(1), &vec![0, 2]));
        assert_eq!((sender.application.next, sender.handshake.next), (Some(4), Some(commits)));
        for (generation, message) in (0..).zip(&from_b) {
            let is_said = sender.application.skipped.contains(&generation)
                || sender.application.next.is_some_and(|next| generation >= next);
            assert_eq!(reads(a, message), is_said, "generation {generation}");
        }
        assert!(reads(a, &from_c));
    };
    check(&a, 0);

    // A commit on, and with what processes commits gone, it is the same; with all gone nothing is left.
    let late = commit(&mut b, &mut [&mut a, &mut c], rng);
    check(&a, 1);
    let old = c.run(|group| group.commit().at(&epoch).stage(NOW, rng)).unwrap();
    assert!(
        a.copy().run(|group| group.receive(&old.message, NOW)).is_ok_and(|o| matches!(o, Outcome::Commit(_)))
    );
    a.run(|group| group.delete_epoch(&epoch, Level::Readable)).unwrap();
    check(&a, 1);
    let readable = report(&a).epochs.into_iter().find(|reported| reported.id == epoch).unwrap();
    assert_eq!((readable.kept, readable.processing), (Kept::Messages, None));
    let gone = |outcome| matches!(outcome, Outcome::EpochDeleted(_));
    assert!(a.copy().run(|group| group.receive(&old.message, NOW)).is_ok_and(gone));

    a.run(|group| Ok(group.delete_old_epochs())).unwrap();
    assert_eq!(report(&a).epochs.iter().map(|epoch| &epoch.id).collect::<Vec<_>>(), [&late.id]);
    assert!(from_b.iter().chain([&from_c]).all(|message| !reads(&a, message)));
}

#[test]
fn a_commit_that_nobody_confirmed_gives_away_its_epoch() {
    let rng = &mut rng(2);
    let [mut a, mut b, _] = trio(&config(), 2);
    let sent = a.stage(rng);
    b.receive(&sent.message, SPLIT).unwrap();
    let said = b.send(b"after it", rng);
    let check = |a: &Client, given_up| {
        let report = report(a);
        let [pending] = &report.pending[..] else { panic!("one is pending") };
        assert_eq!((&pending.commit, &pending.id, pending.given_up), (&sent.id, &sent.epoch, given_up));
        assert_eq!((pending.messages.unused, pending.processing.punctured), (3, Some(0)));
        let mut thief = a.copy();
        thief.run(|group| group.confirm(&sent.id)).unwrap();
        assert_eq!(thief.secret(&sent.epoch), b.secret(&sent.epoch));
        assert!(reads(&thief, &said));
    };
    check(&a, false);
    a.run(|group| group.abandon(&sent.id)).unwrap();
    check(&a, true);
    a.run(|group| group.discard_unsent(&sent.id)).unwrap();
    assert_eq!(report(&a).pending, []);
    let mut thief = a.copy();
    assert_eq!(thief.run(|group| group.confirm(&sent.id)).unwrap_err(), Usage::UnknownCommit.into());
}

#[test]
fn resumption_psks_stay_for_a_while_after_their_epochs() {
    let rng = &mut rng(3);
    let mut config = config();
    config.limits = Limits { resumption_psks: 2, ..Limits::default() };
    let [mut a, _, _] = trio(&config, 3);
    let mut heads = vec![a.head()];
    for _ in 0..4 {
        heads.push(commit(&mut a, &mut [], rng).id);
    }
    a.run(|group| Ok(group.delete_old_epochs())).unwrap();
    let report = report(&a);
    assert_eq!((report.epochs.len(), report.resumption_psks.len()), (1, 3));
    assert_eq!(report.erased + report.epochs.len(), a.group.epochs().count());
    for epoch in a.group.epochs() {
        let (id, number) = (epoch.id().clone(), epoch.number());
        let mut thief = a.copy();
        let group_id = thief.group.id().to_vec();
        let usage = dmls::message::ResumptionPskUsage::Application;
        let psk = Psk::Resumption { usage, group_id, epoch: number };
        let has = thief.run(|group| group.commit().psk(psk).stage(NOW, rng)).is_ok();
        assert_eq!(report.resumption_psks.contains(&id), has, "epoch {number}");
    }
}

#[test]
fn who_has_an_epoch_signs_as_its_owner() {
    let rng = &mut rng(4);
    let [mut a, mut b, _] = trio(&config(), 4);
    let first = a.head();
    let renamed = common::identity("alice", rng);
    let committed =
        a.run(|group| group.commit().identity(renamed.clone()).stage_confirmed(NOW, rng)).unwrap();
    b.receive(&committed.sent.message, SPLIT).unwrap();
    let keys = report(&a).signature_keys;
    assert_eq!(keys.len(), 2);
    let own = |a: &Client, id: &EpochId| {
        let members = a.group.epoch(id).unwrap().members().unwrap();
        members.into_iter().find(|member| member.leaf == a.leaf()).unwrap().signature_key
    };
    assert!(keys.contains(&own(&a, &first)) && keys.contains(&own(&a, &a.head())));
    // The records alone are enough.
    let forged = a.copy().run(|group| group.commit().at(&first).stage(NOW, rng)).unwrap();
    assert!(matches!(b.copy().receive(&forged.message, SPLIT), Ok(Outcome::Commit(_))));
    let forged = a.copy().send(b"I am alice", rng);
    assert!(reads(&b, &forged));
    a.run(|group| Ok(group.delete_old_epochs())).unwrap();
    assert_eq!(report(&a).signature_keys, [own(&a, &a.head())]);
}

#[test]
fn a_report_reads_as_a_table() {
    let rng = &mut rng(5);
    let [mut a, mut b, _] = trio(&config(), 5);
    let skipped = b.send(b"one", rng);
    let read = b.send(b"two", rng);
    a.receive(&read, SPLIT).unwrap();
    commit(&mut b, &mut [&mut a], rng);
    a.stage(rng);
    let text = report(&a).to_string();
    println!("{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("epoch") && lines[0].ends_with("kept"), "{text}");
    assert!(lines[1].contains("until the delivery service lets it go"), "{text}");
    assert!(lines[1].contains("leaf 1: 1 skipped+2.., all of 2 members"), "{text}");
    assert!(lines[1].contains("all but 1, external"), "{text}");
    assert!(lines[2].ends_with("the head") && lines[3].ends_with("own commit, not confirmed"), "{text}");
    assert!(reads(&a, &skipped));
}

fn retention(rule: RetentionRule) -> Config {
    Config { retention: Retention { rule, ..Retention::default() }, ..config() }
}

fn kept(client: &Client, id: &EpochId, now: Time) -> Option<Kept> {
    client.group.epoch(id).unwrap().kept(now)
}

fn leaves(members: &[Member]) -> Vec<u32> {
    members.iter().map(|member| member.leaf.0).collect()
}

#[test]
fn an_epoch_is_kept_for_those_who_are_named_and_as_long() {
    let rng = &mut rng(6);
    let late = Retention::default().late_seconds;
    for rule in [RetentionRule::AllCommitted, RetentionRule::AllMoved] {
        let [mut a, mut b, mut c] = trio(&retention(rule), 6);
        let first = a.head();
        assert_eq!(kept(&a, &first, NOW), Some(Kept::Head));
        commit(&mut a, &mut [&mut b, &mut c], rng);
        let waits = |client: &Client| match kept(client, &first, NOW) {
            Some(Kept::Members { silent, removed, until: None }) if removed.is_empty() => leaves(&silent),
            other => panic!("{other:?}"),
        };
        assert_eq!(waits(&a), [1, 2]);
        commit(&mut b, &mut [&mut a, &mut c], rng);
        assert_eq!(waits(&a), [2]);
        let said = c.send(b"I am here", rng);
        a.receive(&said, SPLIT).unwrap();
        if rule == RetentionRule::AllMoved {
            // Any message counts; nothing is done before the next step.
            assert_eq!(kept(&a, &first, NOW), Some(Kept::Due(Level::Readable)));
            a.run(|group| Ok(group.expire(NOW))).unwrap();
        } else {
            assert_eq!(waits(&a), [2]);
            let new = commit(&mut c, &mut [&mut a], rng);
            assert!(a.group.epoch(&new.id).is_some());
        }
        let until = Time(NOW.0 + late);
        for now in [NOW, Time(NOW.0 + 100)] {
            assert_eq!(kept(&a, &first, now), Some(Kept::Late { since: NOW, until }));
        }
        assert_eq!(a.group.epoch(&first).unwrap().level(), Level::Readable);
        let before = Time(until.0 - 1);
        assert_eq!(a.run(|group| Ok(group.expire(before))).unwrap(), []);
        assert_eq!(kept(&a, &first, until), Some(Kept::Due(Level::Known)));
        let deleted = a.run(|group| Ok(group.expire(until))).unwrap();
        assert!(deleted.iter().any(|gone| gone.id == first && gone.why == Why::Late));
        assert_eq!(kept(&a, &first, until), None);
    }
}

#[test]
fn who_was_removed_is_named_and_waited_for_as_long() {
    let rng = &mut rng(7);
    let [mut a, mut b, _] = trio(&retention(RetentionRule::AllCommitted), 7);
    let grace = a.config.retention.removed_grace;
    let first = a.head();
    let remove = b.run(|group| group.commit().remove(LeafIndex(2)).stage_confirmed(NOW, rng)).unwrap();
    a.receive(&remove.sent.message, SPLIT).unwrap();
    let until = Time(NOW.0 + grace);
    for now in [NOW, Time(until.0 - 1)] {
        match kept(&a, &first, now) {
            Some(Kept::Members { silent, removed, until: told }) => {
                assert_eq!((leaves(&silent), leaves(&removed), told), (vec![], vec![2], Some(until)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*a.group.expire(now).outcome(), []);
    }
    assert_eq!(kept(&a, &first, until), Some(Kept::Due(Level::Readable)));
    let deleted = a.run(|group| Ok(group.expire(until))).unwrap();
    assert_eq!(
        deleted.iter().map(|gone| (&gone.id, gone.level)).collect::<Vec<_>>(),
        [(&first, Level::Readable)]
    );
}

#[test]
fn of_those_whom_one_commit_removes_only_who_was_not_seen_is_named() {
    let rng = &mut rng(11);
    let config = retention(RetentionRule::AllCommitted);
    let [mut a, mut b, mut c, _] =
        group(&["ann", "bea", "cem", "dan"], &config, rng).try_into().ok().unwrap();
    let first = a.head();
    commit(&mut c, &mut [&mut a, &mut b], rng);
    let second = a.head();
    let both =
        b.run(|group| group.commit().remove(LeafIndex(2)).remove(LeafIndex(3)).stage_confirmed(NOW, rng));
    a.receive(&both.unwrap().sent.message, SPLIT).unwrap();
    for (epoch, names) in [(first, vec![3]), (second, vec![2, 3])] {
        match kept(&a, &epoch, NOW) {
            Some(Kept::Members { removed, .. }) => assert_eq!(leaves(&removed), names),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_the_delivery_service_says_is_told() {
    let rng = &mut rng(8);
    let [mut a, mut b, _] = trio(&config(), 8);
    let first = a.head();
    let new = commit(&mut b, &mut [&mut a], rng);
    assert_eq!(kept(&a, &first, NOW), Some(Kept::Told));
    let mut final_one = a.copy();
    final_one.run(|group| group.finalize(&new.commit_id)).unwrap();
    assert_eq!(kept(&final_one, &first, NOW), Some(Kept::Messages));
    final_one.run(|group| group.flushed(&new.commit_id)).unwrap();
    assert_eq!(kept(&final_one, &first, NOW), None);
    a.set(dmls::Network::Whole);
    assert_eq!(kept(&a, &first, NOW), Some(Kept::NextCommit));
    assert_eq!(*a.group.expire(Time(u64::MAX)).outcome(), []);
    let next = commit(&mut a, &mut [], rng);
    assert!(next.deleted.iter().any(|gone| gone.id == first && gone.why == Why::Whole));
}

/// What `kept` says now of all epochs, at a time.
fn said(group: &Group, now: Time) -> Vec<(EpochId, bool, Kept)> {
    let report = group.exposure_report(now);
    let epochs = report.epochs.into_iter();
    epochs.map(|epoch| (epoch.id.clone(), group.epoch(&epoch.id).unwrap().is_on_way(), epoch.kept)).collect()
}

/// How often something was seen: a test that sees nothing proves nothing.
#[derive(Debug, Default)]
struct Seen {
    due: usize,
    passed: usize,
    waiting: usize,
    forks: usize,
}

/// Random histories with splits and removals: what is due is what `expire` deletes, and what waits for one member goes with its commit.
#[test]
fn what_is_told_and_what_is_deleted_agree() {
    let mut seen = Seen::default();
    for seed in 0..48 {
        let rng = &mut rng(100 + seed);
        let rule = if seed % 2 == 0 { RetentionRule::AllCommitted } else { RetentionRule::AllMoved };
        let mut config = retention(rule);
        config.retention.late_epochs = if seed % 3 == 0 { 0 } else { 1 << 10 };
        if seed % 4 == 3 {
            config.ruleset.as_mut().unwrap().fork_choice = dmls::extension::ForkChoiceRule::REMOVALS_FIRST;
        }
        let mut all = group(&["ann", "bea", "cem", "dan"], &config, rng);
        all.iter_mut().for_each(|client| client.strict = false);
        let mut inboxes = vec![Vec::<Vec<u8>>::new(); 4];
        for _ in 0..70 {
            let who = rng.next_u32() as usize % 4;
            if all[who].group.is_removed() {
                continue;
            }
            let sent = act(&mut all[who], &mut inboxes[who], &mut seen, rng);
            for (_, inbox) in inboxes.iter_mut().enumerate().filter(|(place, _)| *place != who) {
                inbox.extend(sent.clone());
            }
            if rng.next_u32().is_multiple_of(8) {
                all[who].restart();
            }
            check_due(&mut all[who], &mut seen);
            check_reasons(&all[who]);
        }
    }
    println!("{seen:?}");
    assert!(seen.due > 100 && seen.passed > 20 && seen.waiting > 1000 && seen.forks > 10);
}

/// Commits, speaks, or receives what is under way to it, in any order.
fn act(
    client: &mut Client,
    inbox: &mut Vec<Vec<u8>>,
    seen: &mut Seen,
    rng: &mut ChaCha20Rng,
) -> Option<Vec<u8>> {
    match rng.next_u32() % 10 {
        0..3 => {
            let others: Vec<_> = client.members().into_iter().map(|member| member.leaf).collect();
            let other = others[rng.next_u32() as usize % others.len()];
            let removes = other != client.leaf() && others.len() > 2 && rng.next_u32().is_multiple_of(6);
            let committed = client.run(|group| {
                let commit = group.commit();
                let commit = if removes { commit.remove(other) } else { commit };
                commit.stage_confirmed(NOW, rng)
            });
            Some(committed.unwrap().sent.message)
        }
        3 => Some(client.send(b"hello", rng)),
        _ if inbox.is_empty() => None,
        _ => {
            let message = inbox.swap_remove(rng.next_u32() as usize % inbox.len());
            receive_and_compare(client, &message, seen);
            None
        }
    }
}

/// What is told to be due is what `expire` deletes, now and later.
fn check_due(client: &mut Client, seen: &mut Seen) {
    let grace = client.config.retention.removed_grace;
    for now in [NOW, Time(NOW.0 + grace / 2), Time(NOW.0 + grace)] {
        let said = said(&client.group, now);
        let told = said.iter().filter_map(|(id, _, kept)| match kept {
            Kept::Due(level) => Some((id.clone(), *level)),
            _ => None,
        });
        let told: BTreeSet<_> = told.collect();
        seen.waiting += said.iter().filter(|(_, _, kept)| matches!(kept, Kept::Members { .. })).count();
        seen.forks += said.iter().filter(|(_, _, kept)| matches!(kept, Kept::Fork { .. })).count();
        let step = client.group.expire(now);
        let deleted: BTreeSet<_> = step.outcome().iter().map(|gone| (gone.id.clone(), gone.level)).collect();
        assert_eq!(told, deleted, "{} later", now.0 - NOW.0);
        seen.due += deleted.len();
    }
}

/// What is told of how long an epoch is kept.
fn check_reasons(client: &Client) {
    for (id, _, reason) in said(&client.group, NOW) {
        match reason {
            Kept::Members { silent, removed, until: Some(until) } => {
                assert_ne!(removed, []);
                assert!(matches!(kept(client, &id, Time(until.0 - 1)), Some(Kept::Members { .. })));
                match kept(client, &id, until) {
                    Some(Kept::Due(_)) => assert_eq!(silent, []),
                    Some(Kept::Members { silent: still, removed, until }) => {
                        assert_eq!((still, removed, until), (silent.clone(), vec![], None));
                        assert_ne!(silent, []);
                    }
                    other => panic!("{other:?}"),
                }
            }
            Kept::Members { silent, removed, until: None } => {
                assert_eq!(removed, []);
                assert_ne!(silent, []);
                let facts = client.group.epoch(&id).unwrap().member_facts().unwrap();
                let not_seen = |facts: &&dmls::MemberFacts| {
                    let is_here = client.members().contains(&facts.member);
                    let seen = match client.config.retention.rule {
                        RetentionRule::AllMoved => facts.heard,
                        _ => facts.committed,
                    };
                    is_here && facts.member.leaf != client.leaf() && !seen
                };
                let not_seen = facts.iter().filter(not_seen).map(|facts| facts.member.clone());
                assert_eq!(leaves(&silent), leaves(&not_seen.collect::<Vec<_>>()));
            }
            Kept::Fork { parts } if parts != client.head() => {
                let mut other = client.copy();
                let at = other.group.epoch(&parts).unwrap();
                assert!(at.is_on_way() && at.level() == Level::Full);
                other.run(|group| group.delete_epoch(&parts, Level::Readable)).unwrap();
                assert!(matches!(kept(&other, &id, NOW), Some(Kept::Due(_) | Kept::Late { .. })));
            }
            _ => {}
        }
    }
}

#[test]
fn with_the_key_schedule_of_the_rfc_nothing_is_punctured() {
    let rng = &mut rng(10);
    let config = Config { schedule: dmls::KeySchedule::Rfc9420, ..config() };
    let [mut a, mut b, _] = trio(&config, 10);
    let first = a.head();
    commit(&mut b, &mut [&mut a], rng);
    let report = report(&a);
    let [old, head] = &report.epochs[..] else { panic!("two epochs") };
    assert_eq!((&old.id, &old.kept, &old.processing), (&first, &Kept::Messages, &None));
    assert_eq!((head.level, head.processing.as_ref().unwrap().punctured), (Level::Full, None));
    a.set(dmls::Network::Whole);
    assert_eq!(kept(&a, &first, NOW), Some(Kept::NextCommit));
}

/// Receives one message. If it is a commit at the end of the way: exactly those go that waited for its committer alone.
fn receive_and_compare(client: &mut Client, message: &[u8], seen: &mut Seen) {
    let (head, before) = (client.head(), said(&client.group, NOW));
    let outcomes = client.run(|group| group.receive(message, NOW));
    let new = match outcomes {
        Ok(Outcome::Commit(new)) => new,
        Ok(Outcome::Removed(removed)) => {
            client.run(|group| group.confirm_removal(&removed.commit_id)).unwrap();
            return;
        }
        _ => return,
    };
    let follows = new.is_head && new.parent.as_ref() == Some(&head) && new.commit.removed.is_empty();
    if follows {
        let committer = new.commit.committer.leaf;
        let expected: BTreeSet<_> = before
            .into_iter()
            .filter(|(_, on_way, kept)| match kept {
                Kept::Due(_) => *on_way,
                Kept::Members { silent, until: None, .. } => silent.iter().all(|m| m.leaf == committer),
                _ => false,
            })
            .map(|(id, _, _)| id)
            .collect();
        let deleted = new.deleted.iter().filter(|gone| matches!(gone.why, Why::Passed | Why::Late));
        let deleted: BTreeSet<_> = deleted.map(|gone| gone.id.clone()).collect();
        assert_eq!(expected, deleted);
        seen.passed += expected.len();
    }
    while client.group.resume(NOW).map(dmls::Step::apply_unsaved).is_some() {}
    client.records = client.snapshot();
}
