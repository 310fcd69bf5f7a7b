//! What the delivery service says: state of the group, in any order with the commits.

use dmls::{Error, Level, Limit, Limits, Network, Outcome, SentCommit, Stranded, Why};

use super::common::{Client, NOW, SPLIT, WHOLE, config, public_config, rng};
use super::{advance, new_epoch, pair, permutations, rivals, tag_of, trio};

/// What happens to a client, in some order.
#[derive(Clone, Copy, Debug)]
enum Event<'a> {
    Commit(&'a SentCommit),
    Final(&'a SentCommit),
    Block(&'a SentCommit),
    Unblock(&'a SentCommit),
}

impl Event<'_> {
    fn happen(self, client: &mut Client) {
        match self {
            Self::Commit(sent) => {
                match client.run(|group| group.receive(&sent.message, NOW)).unwrap() {
                    Outcome::Commit(_) => {}
                    // Another was final, and is here.
                    Outcome::EpochDeleted(told) => assert_eq!(told.level, Level::Readable),
                    other => panic!("{other:?}"),
                }
            }
            Self::Final(sent) => {
                let here = client.group.epoch(&sent.epoch).is_some();
                let turn = client.run(|group| group.finalize(&sent.id)).unwrap();
                assert_eq!(turn.known, here);
                assert_eq!(turn.head, client.head());
            }
            Self::Block(sent) => {
                let before = client.head();
                let turn = client.run(|group| group.block(&sent.id)).unwrap();
                assert_eq!((turn.head_moved, &turn.head), (client.head() != before, &client.head()));
            }
            Self::Unblock(sent) => {
                client.run(|group| Ok(group.unblock(&sent.id))).unwrap();
            }
        }
        client.restart();
    }
}

/// Two commits of one epoch by different members, the loser first.
fn two(a: &mut Client, b: &mut Client, seed: u64) -> (SentCommit, SentCommit) {
    let rng = &mut rng(seed);
    let (one, other) = (a.stage(rng), b.stage(rng));
    match tag_of(&one.message).as_bytes() < tag_of(&other.message).as_bytes() {
        true => (one, other),
        false => (other, one),
    }
}

#[test]
fn one_wrong_flag_erases_nothing() {
    let rng = &mut rng(1);
    let (mut a, mut b) = pair(&config(), 1);
    assert_eq!(b.group.network(), Network::Split, "so a group begins");
    for _ in 0..5 {
        advance(&mut a, &mut [&mut b], rng);
    }
    let before = b.epochs();
    assert!(before.iter().all(|info| info.level == Level::Full));
    b.set(WHOLE);
    b.restart();
    assert_eq!(b.group.network(), Network::Whole);
    // Everything but a commit happens meanwhile.
    let message = a.send(b"hello", rng);
    assert!(matches!(b.run(|group| group.receive(&message, NOW)), Ok(Outcome::Application(_))));
    let sent = b.stage(rng);
    b.run(|group| group.abandon(&sent.id)).unwrap();
    assert_eq!(b.epochs(), before);
    b.set(SPLIT);
    advance(&mut a, &mut [&mut b], rng);
    assert_eq!(b.at_level(Level::Full), 7);
    // And when it is true, the next commit deletes, and says so.
    let sent = a.stage(rng);
    let new = new_epoch(b.receive(&sent.message, WHOLE).unwrap());
    assert_eq!(new.deleted.len(), 7);
    assert!(new.deleted.iter().all(|gone| gone.why == Why::Whole && gone.level == Level::Known));
    assert_eq!(b.at_level(Level::Full), 1);
}

#[test]
fn a_final_commit_wins_whenever_it_is_said() {
    for seed in 0..3 {
        let (mut a, mut b, c) = trio(&public_config(), 10 + seed);
        let (lower, higher) = two(&mut a, &mut b, seed);
        let rng = &mut rng(500 + seed);
        let mut copy = a.copy();
        new_epoch(copy.receive(&lower.message, SPLIT).unwrap());
        let next = copy.stage(rng);
        copy.confirm(&next, SPLIT);
        let events =
            [Event::Commit(&lower), Event::Commit(&higher), Event::Final(&lower), Event::Block(&higher)];
        let (parent, mut seen) = (c.head(), Vec::new());
        for order in permutations(&events[..3]).into_iter().chain(permutations(&events)) {
            let mut client = c.copy();
            order.iter().for_each(|event| event.happen(&mut client));
            assert_eq!(client.head(), lower.epoch, "{order:?}");
            assert!(client.group.head().is_final());
            // What it leaves behind can still be read.
            assert_eq!(client.group.epoch(&parent).unwrap().level(), Level::Readable, "{order:?}");
            seen.push(client.group.epoch(&higher.epoch).map(|epoch| epoch.level()));
        }
        println!("the excluded: {seen:?}");
        // A final descendant implies its ancestors.
        let mut client = c.copy();
        for event in [Event::Commit(&higher), Event::Commit(&lower), Event::Final(&lower)] {
            event.happen(&mut client);
        }
        client.run(|group| group.receive(&next.message, NOW)).map(new_epoch).map(drop).unwrap();
        client.run(|group| group.finalize(&next.id)).unwrap();
        client.restart();
        assert_eq!(client.head(), next.epoch);
        assert!(client.group.epoch(&lower.epoch).is_some_and(|epoch| epoch.is_final()));
    }
}

#[test]
fn late_messages_of_what_is_final_are_read_until_they_are_flushed() {
    let rng = &mut rng(3);
    let (mut a, mut b, mut c) = trio(&public_config(), 3);
    let (lower, higher) = two(&mut a, &mut b, 3);
    let parent = c.head();
    let late = a.send(b"late", rng);
    let too_late = a.send(b"too late", rng);
    let late_commit = rivals(&mut b.copy(), &parent, 1, rng).remove(0);
    for sent in [&lower, &higher] {
        new_epoch(c.receive(&sent.message, SPLIT).unwrap());
    }
    let turn = c.run(|group| group.finalize(&lower.id)).unwrap();
    assert!(turn.head_moved && turn.lost.len() == 1 && turn.lost[0].id == higher.epoch);
    let gone: Vec<_> = turn.deleted.iter().map(|gone| (&gone.id, gone.level, gone.why)).collect();
    assert!(gone.contains(&(&parent, Level::Readable, Why::Final)));
    assert!(gone.contains(&(&higher.epoch, Level::Readable, Why::Final)));
    c.restart();
    assert!(matches!(c.receive(&late, SPLIT), Ok(Outcome::Application(read)) if read.data == b"late"));
    match c.receive(&late_commit.message, SPLIT).unwrap() {
        Outcome::EpochDeleted(told) => {
            assert_eq!((told.level, told.epoch), (Level::Readable, Some(parent.clone())))
        }
        other => panic!("{other:?}"),
    }
    let turn = c.run(|group| group.flushed(&lower.id)).unwrap();
    assert!(turn.deleted.iter().all(|gone| gone.why == Why::Flushed && gone.level == Level::Known));
    assert!(turn.deleted.iter().any(|gone| gone.id == parent));
    c.restart();
    assert!(matches!(c.receive(&too_late, SPLIT), Ok(Outcome::EpochDeleted(_))));
    assert_eq!(c.count(b'e'), 1);
}

#[test]
fn what_was_flushed_before_it_is_final_or_here_is_not_kept_to_be_read() {
    let (mut a, mut b, c) = trio(&public_config(), 5);
    let (lower, _) = two(&mut a, &mut b, 5);
    for early in [false, true] {
        let mut c = c.copy();
        let parent = c.head();
        if early {
            let turn = c.run(|group| group.flushed(&lower.id)).unwrap();
            assert!(!turn.known && turn.deleted.is_empty(), "it is not here yet");
            c.run(|group| group.finalize(&lower.id)).unwrap();
            c.restart();
            new_epoch(c.receive(&lower.message, SPLIT).unwrap());
        } else {
            new_epoch(c.receive(&lower.message, SPLIT).unwrap());
            let turn = c.run(|group| group.flushed(&lower.id)).unwrap();
            assert!(turn.known && turn.deleted.is_empty(), "it is not final yet");
            c.restart();
            c.run(|group| group.finalize(&lower.id)).unwrap();
        }
        assert_eq!(c.group.epoch(&parent).unwrap().level(), Level::Known);
        assert_eq!((c.count(b'e'), c.count(b'y')), (1, 0));
        c.restart();
    }
}

#[test]
fn the_way_avoids_what_is_blocked_whenever_it_is_said() {
    for seed in 0..3 {
        let (mut a, mut b, c) = trio(&public_config(), 30 + seed);
        let (lower, higher) = two(&mut a, &mut b, seed);
        let events = [Event::Commit(&lower), Event::Commit(&higher), Event::Block(&higher)];
        for order in permutations(&events) {
            let mut client = c.copy();
            order.iter().for_each(|event| event.happen(&mut client));
            assert_eq!(client.head(), lower.epoch, "{order:?}");
            assert_eq!(client.group.epoch(&higher.epoch).unwrap().level(), Level::Full);
            Event::Unblock(&higher).happen(&mut client);
            assert_eq!(client.head(), higher.epoch, "{order:?}");
        }
        // The only child is blocked: the head stays where it was.
        let mut client = c.copy();
        Event::Commit(&higher).happen(&mut client);
        Event::Block(&higher).happen(&mut client);
        assert_eq!(client.head(), c.head());
    }
}

#[test]
fn what_is_said_of_commits_that_never_come_is_bounded() {
    let config = dmls::Config { limits: Limits { known_epochs: 3, ..Limits::default() }, ..config() };
    let (mut a, mut b) = pair(&config, 5);
    for n in 0..5_u8 {
        let commit = dmls::CommitId::from(vec![n; 32]);
        let said = [b.run(|group| group.finalize(&commit)).err(), b.run(|group| group.block(&commit)).err()];
        let expected = (n >= 3).then_some(Error::Limit(Limit::Verdicts));
        assert_eq!(said, [expected.clone(), expected]);
        b.restart();
    }
    // Of a commit that is here it can be said all the same.
    let sent = advance(&mut a, &mut [&mut b], &mut rng(5));
    assert!(b.run(|group| group.block(&sent.id)).unwrap().head_moved);
    assert!(b.run(|group| group.finalize(&sent.id)).unwrap().known);
    assert!(b.run(|group| group.flushed(&sent.id)).unwrap().known);
}

/// What is held has no opinion of the network: whether it is split is state, and not said with each message.
#[test]
fn a_commit_and_its_children_lead_to_one_head_in_any_order() {
    for seed in 0..4 {
        let rng = &mut rng(700 + seed);
        let (mut a, mut b, c) = trio(&public_config(), 60 + seed);
        let parent = advance(&mut a, &mut [&mut b], rng);
        let (lower, higher) = two(&mut a, &mut b, seed);
        for order in permutations(&[&parent, &lower, &higher]) {
            let mut client = c.copy();
            for sent in &order {
                client.deliver(&sent.message, SPLIT).unwrap();
                client.restart();
            }
            assert_eq!((client.head(), client.at_level(Level::Full)), (higher.epoch.clone(), 4));
        }
        // A network that is said to be whole, and is not: what is lost by it is told.
        for order in permutations(&[&parent, &lower, &higher]) {
            let mut client = c.copy();
            client.set(WHOLE);
            let delivered = order.iter().flat_map(|sent| client.deliver(&sent.message, WHOLE).unwrap());
            let told = delivered
                .collect::<Vec<_>>()
                .into_iter()
                .any(|outcome| matches!(outcome, Outcome::EpochDeleted(told) if told.wins == Some(true)));
            assert_eq!(client.head() != higher.epoch, told);
        }
    }
}

#[test]
fn who_can_not_follow_the_branch_that_wins_is_told() {
    let (mut a, mut b, mut c) = trio(&public_config(), 6);
    let (lower, higher) = two(&mut a, &mut b, 6);
    new_epoch(c.receive(&higher.message, SPLIT).unwrap());
    // In a network that is whole, the loser's state is not kept.
    let new = new_epoch(c.receive(&lower.message, WHOLE).unwrap());
    assert!(new.stranded.is_none() && !new.is_head);
    assert!(new.deleted.iter().any(|gone| gone.id == lower.epoch));
    let turn = c.run(|group| group.block(&higher.id)).unwrap();
    assert_eq!(turn.stranded, Some(Stranded::HeadDeleted(lower.epoch.clone())));
    // It stays where it can send.
    assert_eq!(c.head(), higher.epoch);
    c.restart();
    assert_eq!(c.head(), higher.epoch);
    let turn = c.run(|group| Ok(group.unblock(&higher.id))).unwrap();
    assert!(turn.stranded.is_none() && turn.head == higher.epoch);
}

#[test]
fn what_was_flushed_counts_once_a_later_commit_makes_it_final() {
    for comes_late in [false, true] {
        let rng = &mut rng(7);
        let (mut a, mut b, _) = trio(&public_config(), 7);
        let start = b.head();
        let (one, two) = (advance(&mut a, &mut [&mut b], rng), advance(&mut a, &mut [&mut b], rng));
        let three = a.stage(rng);
        a.confirm(&three, SPLIT);
        b.run(|group| group.flushed(&two.id)).unwrap();
        let deleted = if comes_late {
            b.run(|group| group.finalize(&three.id)).unwrap();
            new_epoch(b.receive(&three.message, SPLIT).unwrap()).deleted
        } else {
            new_epoch(b.receive(&three.message, SPLIT).unwrap());
            b.run(|group| group.finalize(&three.id)).unwrap().deleted
        };
        // All was delivered that was sent before the second, and it is final by the third. Since then it was not said.
        let told: Vec<_> = deleted.iter().map(|gone| (&gone.id, gone.level, gone.why)).collect();
        let gone = |id| (id, Level::Known, Why::Flushed);
        assert_eq!(told, [gone(&start), gone(&one.epoch), (&two.epoch, Level::Readable, Why::Final)]);
        assert_eq!(b.count(b'y'), 0);
        b.restart();
    }
}
