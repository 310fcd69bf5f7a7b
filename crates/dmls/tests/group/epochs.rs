//! Epochs to look at, and to delete one by one.

use dmls::{Deleted, EpochId, Error, Level, MemberFacts, Outcome, Time, Usage, Why};

use super::common::{Client, NOW, SPLIT, WHOLE, config, public_config, rng};
use super::{advance, new_epoch, pair, tag_of, trio};

#[test]
fn each_epoch_that_is_listed_says_what_can_be_asked_of_it() {
    let rng = &mut rng(1);
    let (mut a, mut b) = pair(&public_config(), 1);
    let known = b.head();
    new_epoch(b.receive(&advance(&mut a, &mut [], rng).message, WHOLE).unwrap());
    let readable = b.head();
    new_epoch(b.receive(&advance(&mut a, &mut [], rng).message, SPLIT).unwrap());
    b.run(|group| group.delete_epoch(&readable, Level::Readable)).unwrap();
    let levels: Vec<_> = b.epochs().into_iter().map(|info| info.level).collect();
    assert_eq!(levels, [Level::Known, Level::Readable, Level::Full]);
    for epoch in [&known, &readable, &b.head()] {
        let (level, is_full) = (b.group.epoch(epoch).unwrap().level(), *epoch == b.head());
        let members = b.group.epoch(epoch).unwrap().members();
        assert_eq!(members.is_some(), level >= Level::Readable);
        let expected = if is_full { Ok(()) } else { Err(Error::Usage(Usage::EpochNotFull)) };
        let asked = b.group.epoch(epoch).unwrap();
        assert_eq!(asked.export("label", b"", 32).map(drop), expected);
        assert_eq!(asked.authenticator().map(drop), expected);
        assert_eq!(asked.group_info(NOW).map(drop), expected);
        assert_eq!(b.group.commit().at(epoch).stage(NOW, rng).map(drop), expected);
        assert_eq!(b.group.send(b"x").at(epoch).seal(rng).map(drop), expected);
    }
    let unknown = EpochId::from(vec![7; 32]);
    assert!(b.group.epoch(&unknown).is_none());
    let refused = b.group.commit().at(&unknown).stage(NOW, rng).map(drop);
    assert_eq!(refused, Err(Error::Usage(Usage::UnknownEpoch)));
}

#[test]
fn one_epoch_is_deleted_as_far_as_it_is_asked() {
    let rng = &mut rng(2);
    let (mut a, mut b) = pair(&config(), 2);
    let epoch = b.head();
    let [late, later] = [b"late", b"much"].map(|text| a.send(text, rng));
    advance(&mut a, &mut [&mut b], rng);
    let before = b.epochs();
    for (level, left) in [(Level::Readable, Level::Readable), (Level::Known, Level::Known)] {
        let deleted = b.run(|group| group.delete_epoch(&epoch, level)).unwrap();
        let [Deleted { id, level, why, .. }] = &deleted[..] else { panic!("{deleted:?}") };
        assert_eq!((id, *level, *why), (&epoch, left, Why::Asked));
        b.restart();
        let after = b.epochs();
        assert!(before.iter().zip(&after).all(|(one, other)| one.id == other.id));
        assert_eq!(b.group.epoch(&epoch).unwrap().level(), left);
        let read = b.receive(if left == Level::Readable { &late } else { &later }, SPLIT).unwrap();
        assert_eq!(matches!(read, Outcome::Application(_)), left == Level::Readable);
        // Nothing comes back.
        assert!(b.run(|group| group.delete_epoch(&epoch, Level::Full)).unwrap().is_empty());
    }
    // Its place in the graph is left, and the resumption_psk, which has a limit of its own.
    let left =
        b.records.keys().filter(|key| key[1..].starts_with(epoch.as_bytes())).map(|key| char::from(key[0]));
    assert_eq!(left.collect::<String>(), "ns");
    let head = b.head();
    let refused = b.run(|group| group.delete_epoch(&head, Level::Known)).map(drop);
    assert_eq!(refused, Err(Usage::DeletesHead.into()));
    let refused = b.run(|group| group.delete_epoch(&vec![7; 32].into(), Level::Known)).map(drop);
    assert_eq!(refused, Err(Usage::UnknownEpoch.into()));
}

/// Per member, by name: committed, heard, removed.
fn facts(client: &Client, epoch: &EpochId) -> Vec<(bool, bool, bool)> {
    let facts = client.group.epoch(epoch).unwrap().member_facts().unwrap();
    facts.iter().map(|MemberFacts { committed, heard, removed, .. }| (*committed, *heard, *removed)).collect()
}

#[test]
fn an_epoch_tells_who_has_gone_on() {
    let (silent, heard, committed) = ((false, false, false), (false, true, false), (true, true, false));
    let rng = &mut rng(3);
    let (mut a, mut b, mut c) = trio(&config(), 3);
    let first = c.head();
    // What is said in the epoch itself proves nothing: who says it may not know more.
    let message = b.send(b"here", rng);
    assert!(matches!(c.receive(&message, SPLIT), Ok(Outcome::Application(_))));
    assert_eq!(facts(&c, &first), [silent; 3]);
    let second = advance(&mut a, &mut [&mut b, &mut c], rng).epoch;
    assert_eq!(facts(&c, &first), [committed, silent, silent]);
    let message = b.send(b"here", rng);
    assert!(matches!(c.receive(&message, SPLIT), Ok(Outcome::Application(_))));
    assert_eq!((facts(&c, &first), facts(&c, &second)), (vec![committed, heard, silent], vec![silent; 3]));
    let sent = b.run(|group| group.commit().remove(a.leaf()).stage(NOW, rng)).unwrap();
    b.confirm(&sent, SPLIT);
    new_epoch(c.receive(&sent.message, SPLIT).unwrap());
    for _ in 0..2 {
        let removed = (true, true, true);
        assert_eq!(facts(&c, &first), [removed, committed, silent]);
        assert_eq!(facts(&c, &second), [(false, false, true), committed, silent]);
        c.restart();
    }
    assert!(
        c.group.epoch(&first).unwrap().member_facts().unwrap()[0].member.credential.identity()
            == Some(b"alice")
    );
    c.run(|group| group.delete_epoch(&first, Level::Known)).unwrap();
    assert!(c.group.epoch(&first).unwrap().member_facts().is_none());
}

#[test]
fn an_epoch_tells_when_it_was_made_and_whether_it_is_on_the_way() {
    let rng = &mut rng(4);
    let (mut a, mut b, mut c) = trio(&public_config(), 4);
    let parent = c.head();
    let (one, other) = (a.stage(rng), b.stage(rng));
    for (seconds, sent) in [(10, &one), (20, &other)] {
        new_epoch(c.run(|group| group.receive(&sent.message, Time(NOW.0 + seconds))).unwrap());
    }
    c.restart();
    let made = |id| c.group.epoch(id).unwrap().made();
    assert_eq!([made(&parent), made(&one.epoch), made(&other.epoch)], [0, 10, 20].map(|s| Time(NOW.0 + s)));
    let way = |id| c.group.epoch(id).unwrap().is_on_way();
    let one_wins = tag_of(&one.message).as_bytes() > tag_of(&other.message).as_bytes();
    assert_eq!([way(&parent), way(&one.epoch), way(&other.epoch)], [true, one_wins, !one_wins]);
}

#[test]
fn a_message_tells_whether_its_sender_is_still_with_us() {
    let rng = &mut rng(5);
    let (mut a, mut b, mut c) = trio(&public_config(), 5);
    let [early, late] = [b.send(b"early", rng), b.send(b"late", rng)];
    let read = |c: &mut Client, message: &[u8]| match c.receive(message, SPLIT).unwrap() {
        Outcome::Application(read) => (read.on_way, read.is_member),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&mut c, &early), (true, true));
    let leaf = b.leaf();
    let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
    let other = b.stage(rng);
    b.confirm(&other, SPLIT);
    let beside = [b.send(b"from the other branch", rng), b.send(b"and again", rng)];
    new_epoch(c.receive(&removal.message, SPLIT).unwrap());
    assert_eq!(read(&mut c, &late), (true, false), "said before, by somebody who is gone");
    new_epoch(c.receive(&other.message, SPLIT).unwrap());
    c.run(|group| group.finalize(&removal.id)).unwrap();
    assert_eq!(read(&mut c, &beside[0]), (false, false), "said on a branch that lost");
}
