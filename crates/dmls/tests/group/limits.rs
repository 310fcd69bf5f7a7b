//! Limits never decide who wins, and what they take is told.

use dmls::extension::{ForkChoiceRule, Ruleset};
use dmls::{Config, Error, Group, Held, Level, Limit, Limits, NewEpoch, Outcome, WaitsFor, Why};

use super::common::{Client, NOW, SPLIT, WHOLE, config, identity, key_package, public_config, rng};
use super::loading::crc32;
use super::{advance, new_epoch, pair, permutations, rivals, tag_of, trio, with_header};

/// The quotas of a group are in its ruleset.
fn limited(limits: Limits) -> Config {
    let ruleset = Ruleset {
        children_per_committer: limits.children_per_committer as u16,
        proposals_per_sender: limits.proposals_per_sender as u16,
        ..Ruleset::default()
    };
    Config { limits, ruleset: Some(ruleset), ..public_config() }
}

#[test]
fn many_commits_of_one_member_do_not_keep_the_honest_one_out() {
    let rng = &mut rng(1);
    let (mut a, mut b, mut c) = trio(&public_config(), 1);
    let flood = rivals(&mut a, &c.head(), 32, rng);
    let honest = b.stage(rng);
    let mut outcomes = [0, 0];
    for sent in &flood {
        match c.receive(&sent.message, SPLIT).unwrap() {
            Outcome::Commit(_) => outcomes[0] += 1,
            Outcome::Lost(_) => outcomes[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    // The lowest came first, so each was a winner.
    assert_eq!(outcomes, [32, 0]);
    assert!(c.at_level(Level::Full) <= 1 + 8, "{} epochs", c.at_level(Level::Full));
    let new = new_epoch(c.receive(&honest.message, SPLIT).unwrap());
    assert_eq!(c.secret(&new.id), b.copy().confirm_and_secret(&honest));
    let best = flood.iter().chain([&honest]).max_by_key(|sent| tag_of(&sent.message).as_bytes().to_vec());
    assert_eq!(c.head(), best.unwrap().epoch);

    // The other way round: beyond eight, who loses is not processed.
    let (_, mut c) = (b, trio(&public_config(), 1).2);
    for (n, sent) in flood.iter().rev().enumerate() {
        match c.receive(&sent.message, SPLIT).unwrap() {
            Outcome::Commit(_) => assert!(n < 8, "{n}"),
            Outcome::Lost(_) => assert!(n >= 8, "{n}"),
            other => panic!("{other:?}"),
        }
    }
    new_epoch(c.receive(&honest.message, SPLIT).unwrap());
    assert_eq!(c.head(), best.unwrap().epoch);
}

impl Client {
    fn confirm_and_secret(mut self, sent: &dmls::SentCommit) -> Vec<u8> {
        self.confirm(sent, SPLIT);
        self.secret(&sent.epoch)
    }
}

#[test]
fn beyond_the_quota_a_winner_drives_out_the_lowest_and_a_loser_is_only_noted() {
    let rng = &mut rng(2);
    let config = limited(Limits { children_per_committer: 2, ..Limits::default() });
    let (mut a, _, mut c) = trio(&config, 2);
    let parent = c.head();
    let [lowest, low, high, highest] = rivals(&mut a, &parent, 4, rng).try_into().unwrap();
    for sent in [&high, &low] {
        new_epoch(c.receive(&sent.message, SPLIT).unwrap());
    }
    for _ in 0..2 {
        // Not a duplicate: it was not processed.
        match c.receive(&lowest.message, SPLIT).unwrap() {
            Outcome::Lost(lost) => assert_eq!((&lost.parent, &lost.commit), (&parent, &lowest.id)),
            other => panic!("{other:?}"),
        }
        c.restart();
    }
    let new = new_epoch(c.receive(&highest.message, SPLIT).unwrap());
    assert!(new.is_head);
    let [gone] = &new.deleted[..] else { panic!("{:?}", new.deleted) };
    assert_eq!((&gone.id, gone.level, gone.why), (&low.epoch, Level::Known, Why::Quota));
    c.restart();
    assert_eq!(c.group.epoch(&low.epoch).unwrap().level(), Level::Known);

    // A commit that the delivery service calls final wins, and is processed.
    c.run(|group| group.finalize(&lowest.id)).unwrap();
    let new = new_epoch(c.receive(&lowest.message, SPLIT).unwrap());
    assert!(new.is_head && c.head() == lowest.epoch);
}

#[test]
fn more_proposals_than_allowed_are_stored_once_a_commit_names_them() {
    for commit_first in [false, true] {
        let rng = &mut rng(3);
        // Without a ruleset, each client has a limit of its own.
        let (mut a, mut b, mut c) = trio(&Config { ruleset: None, ..config() }, 3);
        c.config.limits.proposals_per_sender = 2;
        c.restart();
        let messages: Vec<_> = (0..4)
            .map(|n| {
                let added = key_package(&identity(&format!("new{n}"), rng), rng).key_package().clone();
                let proposal = b.run(|group| group.propose_add(added, NOW, rng)).unwrap();
                assert!(matches!(a.receive(&proposal.message, SPLIT), Ok(Outcome::Proposal(_))));
                proposal.message
            })
            .collect();
        let sent = a.stage(rng);
        assert_eq!(sent.commit.added.len(), 4);
        let mut outcomes = Vec::new();
        if commit_first {
            outcomes.extend(c.deliver(&sent.message, SPLIT).unwrap());
            c.restart();
        }
        for message in &messages {
            outcomes.extend(c.deliver(message, SPLIT).unwrap());
            c.restart();
        }
        if !commit_first {
            let held = outcomes.iter().filter(|outcome| {
                matches!(outcome, Outcome::Held(Held { waits_for: WaitsFor::Room { .. }, .. }))
            });
            assert_eq!(held.count(), 2);
            assert_eq!(c.group.held(), 2);
            outcomes.extend(c.deliver(&sent.message, SPLIT).unwrap());
        }
        let stored = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Proposal(_)));
        assert_eq!(stored.count(), 4);
        assert!(
            matches!(outcomes.last(), Some(Outcome::Commit(new)) if new.id == sent.epoch),
            "{outcomes:?}"
        );
        assert_eq!((c.head(), c.group.held()), (sent.epoch, 0));
        c.restart();
    }
}

#[test]
fn held_messages_that_make_room_are_given_back() {
    let rng = &mut rng(4);
    let config = Config { limits: Limits { held_messages: 3, ..Limits::default() }, ..config() };
    let (mut a, mut b) = pair(&config, 4);
    let sent = a.stage(rng);
    a.confirm(&sent, SPLIT);
    let messages: Vec<_> = (0..5_u8).map(|n| a.send(&[n], rng)).collect();
    let mut evicted = Vec::new();
    for message in &messages {
        match b.receive(message, SPLIT).unwrap() {
            Outcome::Held(held) => evicted.extend(held.evicted),
            other => panic!("{other:?}"),
        }
        b.restart();
    }
    assert_eq!(evicted, messages[..2]);
    // Whoever stores them can deliver them again: nothing is lost.
    assert_eq!(b.deliver(&sent.message, SPLIT).unwrap().len(), 1 + 3);
    for message in evicted {
        assert!(matches!(b.receive(&message, SPLIT), Ok(Outcome::Application(_))));
    }
}

#[test]
fn what_is_resumed_names_its_message() {
    let rng = &mut rng(5);
    let (mut a, mut b) = pair(&config(), 5);
    let sent = advance(&mut a, &mut [], rng);
    let good = a.send(b"good", rng);
    let bad = with_header(&b.send(b"of another epoch", rng), sent.epoch.as_bytes());
    for message in [&good, &bad] {
        assert!(matches!(b.receive(message, SPLIT), Ok(Outcome::Held(_))));
    }
    let new = new_epoch(b.receive(&sent.message, SPLIT).unwrap());
    assert_eq!(new.ready, 2);
    let one = b.group.resume(NOW).unwrap().apply_unsaved();
    assert!(one.message == good && matches!(one.outcome, Ok(Outcome::Application(_))));
    let other = b.group.resume(NOW).unwrap().apply_unsaved();
    assert!(other.message == bad && other.outcome.is_err(), "dropped, and told: {other:?}");
    assert!(b.group.resume(NOW).is_none());
}

/// A commit that waited meets its committer's quota when its turn comes, a message a limit: neither is lost in silence.
#[test]
fn what_waited_and_meets_a_limit_is_told() {
    let rng = &mut rng(9);
    let config = limited(Limits { children_per_committer: 1, forward_generations: 2, ..Limits::default() });
    let (mut a, mut b, mut c) = trio(&config, 9);
    let parent = advance(&mut a, &mut [&mut b], rng);
    let epoch = a.head();
    let (ours, theirs) = (rivals(&mut a, &epoch, 4, rng), rivals(&mut b, &epoch, 4, rng));
    for sent in ours.iter().chain(&theirs).rev() {
        assert!(matches!(c.receive(&sent.message, SPLIT), Ok(Outcome::Held(_))));
    }
    let messages: Vec<_> = (0..6_u8).map(|n| a.send(&[n], rng)).collect();
    assert!(matches!(c.receive(&messages[5], SPLIT), Ok(Outcome::Held(_))));
    new_epoch(c.receive(&parent.message, SPLIT).unwrap());
    let (mut children, mut lost, mut given_back) = (0, 0, Vec::new());
    while let Some(step) = c.group.resume(NOW) {
        step.changes().replay_into(&mut c.records);
        let resumed = step.apply_unsaved();
        match resumed.outcome {
            Ok(Outcome::Commit(_)) => children += 1,
            Ok(Outcome::Lost(_)) => lost += 1,
            Err(Error::Limit(Limit::ForwardRatchet)) => given_back.push(resumed.message),
            other => panic!("{other:?}"),
        }
    }
    c.restart();
    assert_eq!((children, lost, &given_back[..]), (2, 6, &messages[5..]));
    let best = ours.iter().chain(&theirs).max_by_key(|sent| tag_of(&sent.message).as_bytes().to_vec());
    assert_eq!(c.head(), best.unwrap().epoch);
    for message in messages.iter().take(5).chain(&given_back) {
        assert!(matches!(c.receive(message, SPLIT), Ok(Outcome::Application(_))));
    }
}

#[test]
fn evicted_epochs_are_told() {
    let rng = &mut rng(6);
    let config = limited(Limits { epochs: 4, ..Limits::default() });
    let (mut a, mut b, _) = trio(&config, 6);
    for round in 0..10 {
        let before = b.epochs();
        let sent = a.stage(rng);
        a.confirm(&sent, SPLIT);
        let new = new_epoch(b.receive(&sent.message, SPLIT).unwrap());
        assert_told(&b, &before, &new);
        assert_eq!(b.at_level(Level::Full), 4.min(round + 2), "{round}");
    }
}

/// Whatever went down a level is named.
fn assert_told(client: &Client, before: &[super::common::Info], new: &NewEpoch) {
    for info in before {
        let level = client.group.epoch(&info.id).map_or(Level::Known, |epoch| epoch.level());
        if level < info.level {
            let told = new.deleted.iter().any(|gone| gone.id == info.id && gone.level == level);
            assert!(told, "{:?} went from {:?} to {level:?} in silence", info.id, info.level);
        }
    }
}

#[test]
fn the_point_where_a_split_began_survives_a_long_history_of_our_side() {
    for seed in 0..4 {
        let rng = &mut rng(seed);
        let config = limited(Limits { epochs: 16, ..Limits::default() });
        let (mut a, mut b, mut c) = trio(&config, 7 + seed);
        a.strict = false;
        b.strict = false;
        let fork = c.head();
        // Carol is on the other side of a network that is split; she goes on alone.
        let theirs: Vec<_> = (0..3)
            .map(|_| {
                let sent = c.stage(rng);
                c.confirm(&sent, SPLIT);
                sent
            })
            .collect();
        let mut ours = Vec::new();
        for round in 0..200 {
            let (one, other) = if round % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
            ours.push(advance(one, &mut [other], rng));
        }
        a.restart();
        for client in [&mut a, &mut b] {
            assert_eq!(client.group.epoch(&fork).unwrap().level(), Level::Full);
            assert!(client.at_level(Level::Full) <= 16);
            let they_win = tag_of(&theirs[0].message).as_bytes() > tag_of(&ours[0].message).as_bytes();
            for (n, sent) in theirs.iter().enumerate() {
                match client.receive(&sent.message, SPLIT).unwrap() {
                    Outcome::Commit(new) => assert_eq!(new.id, sent.epoch),
                    // Where the branch lost, the first has decided, and the house is full.
                    Outcome::EpochDeleted(told) => {
                        assert!(n > 0 && !they_win && told.wins == Some(false), "{n}: {told:?}");
                    }
                    // Its parent did not stay.
                    Outcome::Held(_) => assert!(n > 1 && !they_win, "{n}"),
                    other => panic!("{other:?}"),
                }
            }
            let expected = if they_win { &theirs } else { &ours };
            assert_eq!(client.head(), expected.last().unwrap().epoch, "they win: {they_win}");
        }
    }
}

#[test]
fn a_removal_that_won_is_not_forgotten() {
    let mut seen = [0, 0];
    for seed in 0..6 {
        let rng = &mut rng(seed);
        let limits = Limits { epochs: 4, known_epochs: 3, resumption_psks: 2, ..Limits::default() };
        let (mut a, mut b, mut c) = trio(&limited(limits), 20 + seed);
        let leaf = c.leaf();
        let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
        let other = b.stage(rng);
        b.confirm(&other, SPLIT);
        let removed = tag_of(&removal.message).as_bytes() > tag_of(&other.message).as_bytes();
        seen[usize::from(removed)] += 1;
        assert!(matches!(c.receive(&removal.message, SPLIT), Ok(Outcome::Removed(_))));
        c.run(|group| group.confirm_removal(&removal.id)).unwrap();
        new_epoch(c.receive(&other.message, SPLIT).unwrap());
        for _ in 0..20 {
            advance(&mut b, &mut [&mut c], rng);
            assert_eq!(c.group.is_removed(), removed);
        }
        c.restart();
        assert_eq!(c.group.is_removed(), removed);
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both happened");
}

/// A member who never says anything could hold the whole history. It is held up to the limit, and then that is told.
#[test]
fn a_silent_member_does_not_make_the_graph_grow_for_ever() {
    let limits = Limits { epochs: 8, known_epochs: 32, resumption_psks: 4, ..Limits::default() };
    let (mut a, _, _) = trio(&Config { limits, ..public_config() }, 77);
    a.strict = false;
    let rng = &mut rng(77);
    let first = a.head();
    let (mut evicted, mut most) = (Vec::new(), 0);
    for _ in 0..400 {
        let step = a.group.commit().stage_confirmed(NOW, rng).unwrap();
        step.changes().replay_into(&mut a.records);
        let done = step.apply_unsaved();
        evicted.extend(done.epoch.deleted.into_iter().map(|gone| (gone.id, gone.why)));
        most = most.max(a.group.epochs().count());
    }
    a.check();
    a.restart();
    assert!(most <= 32 + 2 * 8, "{most} epochs in the graph");
    assert!(
        evicted.contains(&(first, Why::Limit)),
        "the end that the silent ones may be at went, and it was told"
    );
}

/// A group whose members are compared by whom they remove, and may have so many commits of an epoch.
fn removals_first(children_per_committer: usize, limits: Limits) -> Config {
    let mut config = limited(Limits { children_per_committer, ..limits });
    config.ruleset.as_mut().unwrap().fork_choice = ForkChoiceRule::REMOVALS_FIRST;
    config
}

#[test]
fn whichever_of_too_many_commits_come_first_the_same_wins() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let rng = &mut rng(seed);
        let (mut a, mut b, c) = trio(&removals_first(1, Limits::default()), 90 + seed);
        let (plain, honest) = (a.stage(rng), b.stage(rng));
        let leaf = b.leaf();
        let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
        let all = [&plain, &honest, &removal];
        let mut heads: Vec<_> = permutations(&all)
            .into_iter()
            .map(|order| {
                let mut c = c.copy();
                for sent in order {
                    c.receive(&sent.message, SPLIT).unwrap();
                    c.restart();
                }
                c.head()
            })
            .collect();
        heads.dedup();
        let [head] = &heads[..] else { panic!("{} heads, by the order alone", heads.len()) };
        seen.insert(all.iter().position(|sent| sent.epoch == *head));
    }
    assert_eq!(seen.len(), 3, "each of them won in some case");
}

#[test]
fn a_loser_that_decides_between_others_is_not_forgotten() {
    let mut seen = 0;
    for seed in 0..30 {
        let rng = &mut rng(seed);
        let limits = Limits { known_epochs: 3, resumption_psks: 2, ..Limits::default() };
        let config = removals_first(8, limits);
        let names = ["alice", "bob", "carol", "dave"];
        let [mut a, mut b, mut c, mut d] =
            super::common::group(&names, &config, rng).try_into().ok().unwrap();
        let leaf = b.leaf();
        let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
        let (removed, bystander) = (b.stage(rng), c.stage(rng));
        let tag = |sent: &dmls::SentCommit| tag_of(&sent.message).as_bytes().to_vec();
        // Without the removal the removed would win; it is the first that would be forgotten.
        let decides = tag(&removal) < tag(&bystander) && tag(&bystander) < tag(&removed);
        if !decides || removal.epoch > removed.epoch {
            continue;
        }
        seen += 1;
        c.confirm(&bystander, SPLIT);
        for sent in [&removal, &removed, &bystander] {
            new_epoch(d.receive(&sent.message, SPLIT).unwrap());
        }
        let mut inner = Vec::new();
        for _ in 0..4 {
            inner.push(advance(&mut c, &mut [&mut d], rng).epoch);
        }
        // One more is known than may be, but the epoch in which they part can't go yet.
        inner.truncate(2);
        for id in inner.iter().chain([&removal.epoch, &removed.epoch]) {
            d.run(|group| group.delete_epoch(id, Level::Known)).unwrap();
        }
        for n in 0..8 {
            let sent = c.stage(rng);
            c.confirm(&sent, SPLIT);
            new_epoch(d.receive(&sent.message, if n == 0 { SPLIT } else { WHOLE }).unwrap());
            assert_eq!(d.head(), c.head(), "{n}");
            d.restart();
            assert_eq!(d.head(), c.head(), "{n}, loaded");
        }
        // In the end all of them go, together with the epoch that they were made in.
        assert!(d.group.epoch(&removal.epoch).is_none() && d.group.epoch(&removed.epoch).is_none());
        assert_eq!(d.count(b'n'), 1 + 3 + 1);
    }
    assert!(seen > 0, "it happened");
}

#[test]
fn proposals_of_one_member_do_not_wash_out_what_others_wait_for() {
    let rng = &mut rng(8);
    let limits =
        Limits { held_messages: 12, held_per_epoch: 4, proposals_per_sender: 1, ..Limits::default() };
    let (mut a, mut b, mut c) = trio(&Config { limits, ruleset: None, ..config() }, 8);
    b.config.limits.proposals_per_sender = 64;
    b.restart();
    // Carol waits for a commit of Alice.
    advance(&mut a, &mut [], rng);
    let waits = a.send(b"of the next epoch", rng);
    assert!(matches!(c.receive(&waits, SPLIT), Ok(Outcome::Held(_))));
    let mut evicted = Vec::new();
    for n in 0..24 {
        let added = key_package(&identity(&format!("new{n}"), rng), rng).key_package().clone();
        let proposal = b.run(|group| group.propose_add(added, NOW, rng)).unwrap();
        match c.receive(&proposal.message, SPLIT).unwrap() {
            Outcome::Held(held) => evicted.extend(held.evicted),
            Outcome::Proposal(_) => assert_eq!(n, 0),
            other => panic!("{other:?}"),
        }
    }
    assert!(!evicted.contains(&waits));
    assert_eq!((c.group.held(), evicted.len()), (1 + 4, 23 - 4));
}

/// An epoch's number is 64 bits, and the last of them count like the first.
#[test]
fn a_group_goes_on_to_the_last_number() {
    let rng = &mut rng(78);
    let mut a = Client::create("alice", &config(), rng);
    // As after very many commits: the number in the epoch's place in the graph, after `optional` parent, and in its context.
    let (id, group_id) = (a.head(), a.group.id().to_vec());
    let renumber = |a: &mut Client, kind: u8, before: &[u8]| {
        let key = [&[kind], id.as_bytes()].concat();
        let record = a.records.get_mut(&key).unwrap();
        let place = record.windows(before.len()).position(|part| part == before).unwrap() + before.len();
        record[place..place + 8].copy_from_slice(&(u64::MAX - 7).to_be_bytes());
        let end = record.len() - 4;
        let sum = crc32(&[&key, &record[..end]].concat());
        record[end..].copy_from_slice(&sum.to_be_bytes());
    };
    renumber(&mut a, b'n', &[0]);
    renumber(&mut a, b'e', &group_id);
    a.group = Group::load(&a.records, a.config.clone()).unwrap();
    for left in (0..7).rev() {
        let sent = a.stage(rng);
        assert_eq!(a.confirm(&sent, if left % 2 == 0 { WHOLE } else { SPLIT }).number, u64::MAX - left);
        a.restart();
    }
    assert_eq!(a.run(|group| group.commit().stage(NOW, rng)).err(), Some(Error::Limit(Limit::EpochNumber)));
}
