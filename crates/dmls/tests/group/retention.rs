//! Which epochs stay, by the rule of this client: `tests/retention.rs` has histories, here is one case for each thing it says.

use dmls::{Config, EpochId, Level, Outcome, Retention, RetentionRule, Time, Why};
use rand_chacha::ChaCha20Rng;

use super::common::{Client, NOW, SPLIT, config, identity, key_package, public_config, rng};
use super::{advance, new_epoch, pair, tag_of, trio};

const DAY: u64 = 86_400;

fn ruled(rule: RetentionRule, late_epochs: usize) -> Config {
    let retention = Retention { rule, late_epochs, late_seconds: 7 * DAY, removed_grace: 14 * DAY };
    Config { retention, ..public_config() }
}

/// Levels of epochs, in this order; `None` is only a name or gone.
fn levels(client: &Client, ids: &[&EpochId]) -> Vec<Option<Level>> {
    let level = |id: &&EpochId| {
        client.group.epoch(id).map(|epoch| epoch.level()).filter(|level| *level > Level::Known)
    };
    ids.iter().map(level).collect()
}

const FULL: Option<Level> = Some(Level::Full);
const READABLE: Option<Level> = Some(Level::Readable);

/// Commits by one member, given to others.
fn steps(by: &mut Client, others: &mut [&mut Client], count: usize, rng: &mut ChaCha20Rng) -> Vec<EpochId> {
    (0..count).map(|_| advance(by, others, rng).epoch).collect()
}

#[test]
fn an_epoch_goes_once_every_other_member_has_committed_below_it() {
    for restart in [false, true] {
        let rng = &mut rng(1);
        let (mut a, mut b, mut c) = trio(&ruled(RetentionRule::AllCommitted, 0), 1);
        let start = a.head();
        let first = advance(&mut a, &mut [&mut b, &mut c], rng).epoch;
        // Bob and Carol wait for each other, Alice for both.
        for client in [&a, &b, &c] {
            assert_eq!(levels(client, &[&start, &first]), [FULL, FULL]);
        }
        let second = advance(&mut b, &mut [&mut a, &mut c], rng).epoch;
        // For Carol both others have committed in the start or below, and Bob in the first; Alice did not.
        assert_eq!(levels(&c, &[&start, &first, &second]), [None, FULL, FULL]);
        assert_eq!(levels(&a, &[&start, &first, &second]), [FULL, FULL, FULL]);
        if restart {
            [&mut a, &mut b, &mut c].into_iter().for_each(Client::restart);
        }
        let sent = c.stage(rng);
        c.confirm(&sent, SPLIT);
        let new = new_epoch(a.receive(&sent.message, SPLIT).unwrap());
        assert!(new.deleted.iter().all(|gone| gone.why == Why::Passed && gone.level == Level::Known));
        // Bob made his last commit in the first, Carol in the second.
        assert_eq!(levels(&a, &[&start, &first, &second, &sent.epoch]), [None, None, FULL, FULL]);
        a.restart();
    }
}

#[test]
fn who_is_silent_is_waited_for() {
    let rng = &mut rng(2);
    let (mut a, mut b, mut c) = trio(&ruled(RetentionRule::AllCommitted, 0), 2);
    let start = c.head();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(steps(&mut a, &mut [&mut b], 1, rng));
        ids.extend(steps(&mut b, &mut [&mut a], 1, rng));
    }
    assert_eq!(a.at_level(Level::Full), 11);
    // Time alone doesn't help: it may come back.
    let gone = a.run(|group| Ok(group.expire(Time(NOW.0 + 1000 * DAY)))).unwrap();
    assert_eq!(gone, []);
    // Its commit is of the start, and lost or won: it is past the start.
    let sent = c.stage(rng);
    c.confirm(&sent, SPLIT);
    let wins = new_epoch(a.receive(&sent.message, SPLIT).unwrap()).is_head;
    a.run(|group| Ok(group.expire(NOW))).unwrap();
    assert_eq!(levels(&a, &[&start]), [None]);
    let left = if wins { 1 } else { 10 };
    assert_eq!(a.at_level(Level::Full), left, "wins: {wins}");
    a.restart();
    assert_eq!(a.at_level(Level::Full), left);
}

#[test]
fn who_was_removed_is_waited_for_as_long_as_the_grace_lasts() {
    let rng = &mut rng(3);
    let (mut a, mut b, c) = trio(&ruled(RetentionRule::AllCommitted, 0), 3);
    let (start, leaf) = (a.head(), c.leaf());
    let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
    a.confirm(&removal, SPLIT);
    new_epoch(b.receive(&removal.message, SPLIT).unwrap());
    steps(&mut b, &mut [&mut a], 3, rng);
    // Of the epochs after the removal Alice needs none but the head; Carol may still be at the start.
    let before = levels(&a, &[&start, &removal.epoch]);
    assert_eq!(before, [FULL, None]);
    let at = |days: u64| Time(NOW.0 + days * DAY);
    assert_eq!(a.run(|group| Ok(group.expire(at(13)))).unwrap(), []);
    a.restart();
    let gone = a.run(|group| Ok(group.expire(at(14)))).unwrap();
    let told: Vec<_> = gone.iter().map(|gone| (&gone.id, gone.why)).collect();
    assert_eq!(told, [(&start, Why::Passed)]);
    assert_eq!(levels(&a, &[&start]), [None]);
}

#[test]
fn where_any_message_counts_who_speaks_below_an_epoch_is_past_it() {
    for (rule, moved) in [(RetentionRule::AllCommitted, false), (RetentionRule::AllMoved, true)] {
        let rng = &mut rng(4);
        let (mut a, mut b, mut c) = trio(&ruled(rule, 0), 4);
        let start = a.head();
        let first = advance(&mut a, &mut [&mut b, &mut c], rng).epoch;
        let hello = c.send(b"hello", rng);
        assert!(matches!(b.receive(&hello, SPLIT), Ok(Outcome::Application(_))));
        b.restart();
        let gone = b.run(|group| Ok(group.expire(NOW))).unwrap();
        assert_eq!(
            gone.iter().map(|gone| &gone.id).collect::<Vec<_>>(),
            if moved { vec![&start] } else { vec![] }
        );
        // She has not left the first.
        assert_eq!(levels(&b, &[&first]), [FULL]);
    }
}

#[test]
fn late_messages_are_read_for_a_while() {
    let rng = &mut rng(5);
    let (mut a, mut b) = pair(&ruled(RetentionRule::AllCommitted, 2), 5);
    let start = b.head();
    let late: Vec<_> = (0..2).map(|_| a.send(b"late", rng)).collect();
    let ids = steps(&mut a, &mut [&mut b], 1, rng);
    assert_eq!(levels(&b, &[&start, &ids[0]]), [READABLE, FULL]);
    b.restart();
    assert!(matches!(b.receive(&late[0], SPLIT), Ok(Outcome::Application(_))));
    // Not for longer than was said.
    let mut copy = b.copy();
    assert_eq!(copy.run(|group| Ok(group.expire(Time(NOW.0 + 7 * DAY - 1)))).unwrap(), []);
    let gone = copy.run(|group| Ok(group.expire(Time(NOW.0 + 7 * DAY)))).unwrap();
    assert_eq!((gone.len(), gone[0].why, &gone[0].id), (1, Why::Late, &start));
    assert!(matches!(copy.receive(&late[1], SPLIT), Ok(Outcome::EpochDeleted(_))));
    // Nor more than so many.
    let more = steps(&mut a, &mut [&mut b], 2, rng);
    assert_eq!(levels(&b, &[&start, &ids[0], &more[0], &more[1]]), [None, READABLE, READABLE, FULL]);
    b.restart();
    assert!(matches!(b.receive(&late[1], SPLIT), Ok(Outcome::EpochDeleted(_))));
}

#[test]
fn a_branch_that_lost_goes_or_is_read_for_a_while() {
    for late_epochs in [0, 4] {
        let mut seen = [0, 0];
        for seed in 0..6 {
            let rng = &mut rng(seed);
            let (mut a, mut b, mut c) = trio(&ruled(RetentionRule::AllCommitted, late_epochs), 70 + seed);
            let start = c.head();
            // Alice's branch has two epochs, Bob's one. Carol sees Alice's first.
            let ours = [a.stage(rng)];
            a.confirm(&ours[0], SPLIT);
            let second = a.stage(rng);
            a.confirm(&second, SPLIT);
            let on_branch = a.send(b"on the branch", rng);
            let theirs = b.stage(rng);
            for sent in [&ours[0], &second] {
                new_epoch(c.receive(&sent.message, SPLIT).unwrap());
            }
            let turns = tag_of(&theirs.message).as_bytes() > tag_of(&ours[0].message).as_bytes();
            seen[usize::from(turns)] += 1;
            let new = new_epoch(c.receive(&theirs.message, SPLIT).unwrap());
            assert_eq!((new.is_head, new.head_moved), (turns, turns));
            c.restart();
            // Both others have committed in the start.
            c.run(|group| Ok(group.expire(NOW))).unwrap();
            let expected = match (turns, late_epochs > 0) {
                (true, false) => [None, None, None, FULL],
                (true, true) => [READABLE, READABLE, FULL, FULL],
                // Bob is not past Alice's first.
                (false, false) => [None, FULL, FULL, None],
                (false, true) => [READABLE, FULL, FULL, FULL],
            };
            assert_eq!(levels(&c, &[&start, &ours[0].epoch, &second.epoch, &theirs.epoch]), expected);
            // Those who are on it still can go on there and be read.
            let outcome = c.receive(&on_branch, SPLIT);
            let is_read = !turns || late_epochs > 0;
            assert_eq!(matches!(outcome, Ok(Outcome::Application(_))), is_read, "{outcome:?}");
            c.run(|group| Ok(group.expire(Time(NOW.0 + 7 * DAY)))).unwrap();
            let loser = if turns { &second.epoch } else { &theirs.epoch };
            assert_eq!(levels(&c, &[loser]), [None]);
            c.restart();
        }
        assert!(seen[0] > 0 && seen[1] > 0, "both happened");
    }
}

#[test]
fn nothing_goes_before_it_is_told_where_a_server_tells() {
    let rng = &mut rng(6);
    let (mut a, mut b) = pair(&ruled(RetentionRule::WhileTold, 0), 6);
    for _ in 0..5 {
        steps(&mut a, &mut [&mut b], 1, rng);
        steps(&mut b, &mut [&mut a], 1, rng);
    }
    assert_eq!(a.run(|group| Ok(group.expire(Time(NOW.0 + 1000 * DAY)))).unwrap(), []);
    assert_eq!((a.at_level(Level::Full), b.at_level(Level::Full)), (11, 11));
}

#[test]
fn newcomers_are_waited_for_also_when_there_are_more_than_the_graph_names() {
    let rng = &mut rng(7);
    let (mut a, b) =
        pair(&Config { retention: ruled(RetentionRule::AllCommitted, 0).retention, ..config() }, 7);
    let start = b.head();
    let many: Vec<_> = (0..70).map(|n| key_package(&identity(&format!("n{n}"), rng), rng)).collect();
    let sent = a.run(|group| {
        let commit = many.iter().fold(group.commit(), |commit, own| commit.add(own.key_package().clone()));
        commit.stage(NOW, rng)
    });
    let sent = sent.unwrap();
    a.confirm(&sent, SPLIT);
    for restart in [false, true] {
        let mut b = b.copy();
        let new = new_epoch(b.receive(&sent.message, SPLIT).unwrap());
        assert_eq!(new.commit.added.len(), 70);
        if restart {
            b.restart();
        }
        let next = steps(&mut a.copy(), &mut [&mut b], 3, rng);
        // None of them has said anything: from where they came in everything stays.
        assert_eq!(levels(&b, &[&start, &sent.epoch, &next[0], &next[2]]), [None, FULL, FULL, FULL]);
    }
}

#[test]
fn who_took_over_a_leaf_on_a_branch_that_lost_does_not_speak_for_its_owner() {
    let mut seen = 0;
    for seed in 0..6 {
        let rng = &mut rng(seed);
        let (mut a, mut b, c) = trio(&ruled(RetentionRule::AllCommitted, 0), 90 + seed);
        let (start, leaf) = (b.head(), c.leaf());
        let theirs = b.stage(rng);
        b.confirm(&theirs, SPLIT);
        let mut branch = b.copy();
        // On Alice's branch Dave comes in Carol's place.
        let dave = identity("dave", rng);
        let own = key_package(&dave, rng);
        let add = own.key_package().clone();
        let sent = a.run(|group| group.commit().remove(leaf).add(add).stage(NOW, rng)).unwrap();
        if tag_of(&sent.message).as_bytes() > tag_of(&theirs.message).as_bytes() {
            continue;
        }
        let welcome = a.confirm(&sent, SPLIT).welcome.unwrap();
        let mut d = Client::join(&dave, &own, &welcome, &a.config).unwrap();
        assert_eq!(d.leaf(), leaf);
        let by_dave = d.stage(rng);
        branch.config.retention.late_epochs = 4;
        branch.restart();
        for message in [&sent.message, &by_dave.message] {
            assert!(!new_epoch(branch.receive(message, SPLIT).unwrap()).is_head);
        }
        for _ in 0..2 {
            branch.run(|group| Ok(group.expire(NOW))).unwrap();
            assert_eq!(levels(&branch, &[&start]), [FULL], "Carol may still be there");
            branch.restart();
        }
        seen += 1;
    }
    assert!(seen > 0, "it happened");
}
