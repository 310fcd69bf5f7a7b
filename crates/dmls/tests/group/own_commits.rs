//! Our own commits and messages: given up, erased, confirmed at once, come back to a backup.

use dmls::framing::ContentType;
use dmls::message::Psk;
use dmls::{Config, Error, KeySchedule, Level, Limits, Outcome, RolledBack, SentCommit, Usage, Why};

use super::common::{Client, NOW, PSK, SPLIT, WHOLE, config, identity, key_package, public_config, rng};
use super::{advance, new_epoch, pair, tag_of};

#[test]
fn what_was_given_up_can_still_win() {
    for config in [config(), public_config()] {
        let rng = &mut rng(1);
        let (mut a, mut b) = pair(&config, 1);
        let sent = a.run(|group| group.commit().authenticated_data(*b"why").stage(NOW, rng)).unwrap();
        assert_eq!(a.run(|group| group.abandon(&sent.id)).unwrap(), None);
        a.restart();
        assert_eq!(a.group.pending().count(), 0, "it is not to be sent again");
        // It had reached Bob all the same.
        b.receive(&sent.message, SPLIT).unwrap();
        let message = b.send(b"hello", rng);
        assert!(matches!(a.receive(&message, SPLIT), Ok(Outcome::Held(_))));
        let mut asked = a.copy();
        let outcomes = a.deliver(&sent.message, SPLIT).unwrap();
        match &outcomes[..] {
            [Outcome::Commit(new), Outcome::Application(_)] => {
                assert!(new.own && new.is_head);
                assert_eq!(new.authenticated_data, b"why");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(a.secret(&sent.epoch), b.secret(&sent.epoch));
        a.restart();
        // The same when the delivery service changes its mind.
        let new = asked.confirm(&sent, SPLIT);
        assert_eq!(new.authenticated_data, b"why");
        assert_eq!(asked.secret(&sent.epoch), b.secret(&sent.epoch));
    }
}

#[test]
fn the_oldest_that_was_given_up_goes_and_is_told() {
    let rng = &mut rng(2);
    let config = Config { limits: Limits { pending: 2, ..Limits::default() }, ..config() };
    let (mut a, _) = pair(&config, 2);
    let mut all: Vec<SentCommit> = Vec::new();
    let mut dropped = Vec::new();
    for n in 0..5 {
        let now = dmls::Time(NOW.0 + n);
        let sent = a.run(|group| group.commit().stage(now, rng)).unwrap();
        dropped.extend(a.run(|group| group.abandon(&sent.id)).unwrap());
        all.push(sent);
        a.restart();
    }
    assert_eq!(dropped, all[..3].iter().map(|sent| sent.id.clone()).collect::<Vec<_>>());
    assert_eq!(a.count(b'o'), 2);
    assert!(a.confirm(&all[4], SPLIT).is_head);
}

#[test]
fn what_never_left_the_device_is_erased() {
    let rng = &mut rng(3);
    let (mut a, _) = pair(&config(), 3);
    let before = a.snapshot().len();
    let sent = a.stage(rng);
    assert!(a.count(b'o') == 1 && a.snapshot().len() > before);
    a.run(|group| group.discard_unsent(&sent.id)).unwrap();
    assert_eq!(a.count(b'o'), 0);
    assert!(!a.records.keys().any(|key| key[1..].starts_with(sent.epoch.as_bytes())));
    assert_eq!(a.run(|group| group.confirm(&sent.id)).err(), Some(Usage::UnknownCommit.into()));
}

#[test]
fn a_welcome_is_kept_until_it_was_sent() {
    let rng = &mut rng(4);
    for at_once in [false, true] {
        let (mut a, _) = pair(&config(), 4);
        let dave = identity("dave", rng);
        let own = key_package(&dave, rng);
        let add = own.key_package().clone();
        let (id, welcome) = if at_once {
            let committed = a.run(|group| group.commit().add(add).stage_confirmed(NOW, rng)).unwrap();
            assert_eq!(committed.sent.epoch, committed.epoch.id);
            assert!(committed.epoch.is_head && committed.epoch.own);
            (committed.sent.id, committed.epoch.welcome.unwrap())
        } else {
            let sent = a.run(|group| group.commit().add(add).stage(NOW, rng)).unwrap();
            assert_eq!(a.group.unsent_welcomes().count(), 0, "nobody joins what is not confirmed");
            (sent.id.clone(), a.confirm(&sent, SPLIT).welcome.unwrap())
        };
        assert_eq!(a.group.pending().count(), 0);
        // The process dies before it is sent.
        a.restart();
        let unsent: Vec<_> = a.group.unsent_welcomes().map(|(id, w)| (id.clone(), w.to_vec())).collect();
        assert_eq!(unsent, [(id.clone(), welcome.clone())]);
        Client::join(&dave, &own, &unsent[0].1, &a.config).unwrap();
        a.run(|group| group.welcome_sent(&id)).unwrap();
        assert_eq!((a.group.unsent_welcomes().count(), a.count(b'w')), (0, 0));
        assert!(!a.group.has_unsent_welcome(&id));
        a.restart();
        assert!(a.run(|group| group.welcome_sent(&id)).is_err());
    }
}

#[test]
fn an_own_commit_goes_once_though_its_parent_goes_for_two_reasons() {
    let rng = &mut rng(12);
    let (mut a, mut b) = pair(&Config { schedule: KeySchedule::Rfc9420, ..public_config() }, 12);
    let ours = a.stage(rng);
    let theirs = b.stage(rng);
    a.run(|group| group.finalize(&theirs.id)).unwrap();
    let new = new_epoch(a.receive(&theirs.message, SPLIT).unwrap());
    let [gone] = &new.deleted[..] else { panic!("{:?}", new.deleted) };
    assert_eq!(gone.dropped, [ours.id]);
    a.restart();
    assert_eq!(a.head(), theirs.epoch);
}

#[test]
fn nobody_joins_a_branch_that_lost_and_everybody_one_that_wins_later() {
    let mut seen = [0, 0];
    for seed in 0..8 {
        let rng = &mut rng(seed);
        let (mut a, mut b) = pair(&public_config(), 50 + seed);
        let add = key_package(&identity("dave", rng), rng).key_package().clone();
        let ours = a.run(|group| group.commit().add(add).stage(NOW, rng)).unwrap();
        let theirs = b.stage(rng);
        new_epoch(a.receive(&theirs.message, SPLIT).unwrap());
        let wins = tag_of(&ours.message).as_bytes() > tag_of(&theirs.message).as_bytes();
        seen[usize::from(wins)] += 1;
        let new = a.confirm(&ours, SPLIT);
        assert_eq!((new.welcome.is_some(), new.is_head), (wins, wins));
        assert_eq!(a.group.unsent_welcomes().count(), usize::from(wins));
        assert!(a.group.has_unsent_welcome(&ours.id) && !a.group.has_unsent_welcome(&theirs.id));
        // What the delivery service says turns it round.
        let (winner, loser) = if wins { (&ours, &theirs) } else { (&theirs, &ours) };
        a.run(|group| group.block(&winner.id)).unwrap();
        assert_eq!(a.head(), loser.epoch);
        a.restart();
        assert_eq!(a.group.unsent_welcomes().count(), usize::from(!wins));
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both happened");
}

#[test]
fn own_messages_that_nobody_remembers_show_that_a_backup_was_restored() {
    for config in [config(), public_config()] {
        let rng = &mut rng(5);
        let (mut a, mut b) = pair(&config, 5);
        let backup = a.copy();
        let epoch = a.head();
        let application = a.send(b"hello", rng);
        let proposal =
            a.run(|group| group.propose_psk(Psk::External(PSK.to_vec()), NOW, rng)).unwrap().message;
        let commit = a.stage(rng).message;
        // Who remembers them is not alarmed.
        for message in [&application, &proposal] {
            assert_eq!(a.receive(message, SPLIT).unwrap(), Outcome::Own);
        }
        assert!(matches!(a.receive(&commit, SPLIT).unwrap(), Outcome::Commit(new) if new.own));
        assert_eq!(a.receive(&commit, SPLIT).unwrap(), Outcome::Duplicate);
        let told = |message: &[u8]| {
            let mut restored = backup.copy();
            let before = restored.snapshot();
            let outcome = restored.receive(message, SPLIT).unwrap();
            assert!(before == restored.snapshot());
            match outcome {
                Outcome::RolledBack(RolledBack { epoch: of, content, verified, .. }) => {
                    assert!(of == epoch && verified);
                    content
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(&application), ContentType::Application);
        assert_eq!(told(&proposal), ContentType::Proposal);
        // The commit refers to the proposal, which is gone too; it is told all the same.
        assert_eq!(told(&commit), ContentType::Commit);
        // Nobody else can cause it.
        let mut restored = backup.copy();
        let mut damaged = application.clone();
        // Before the header, which is the last: the ciphertext.
        let place = damaged.len() - 40;
        damaged[place] ^= 1;
        assert!(restored.receive(&damaged, SPLIT).is_err());
        let other = b.send(b"hello", rng);
        assert!(matches!(restored.receive(&other, SPLIT), Ok(Outcome::Application(_))));
    }
}

#[test]
fn what_travels_with_a_commit_is_there_when_it_is_confirmed() {
    let rng = &mut rng(6);
    let (mut a, mut b) = pair(&config(), 6);
    let sent = a.run(|group| group.commit().authenticated_data(*b"data").stage(NOW, rng)).unwrap();
    a.restart();
    let mut returned = a.copy();
    assert_eq!(a.confirm(&sent, SPLIT).authenticated_data, b"data");
    assert_eq!(new_epoch(returned.receive(&sent.message, SPLIT).unwrap()).authenticated_data, b"data");
    assert_eq!(new_epoch(b.receive(&sent.message, SPLIT).unwrap()).authenticated_data, b"data");
}

#[test]
fn own_commits_that_go_with_their_parent_are_told() {
    let rng = &mut rng(7);
    let config = Config { limits: Limits { epochs: 2, ..Limits::default() }, ..config() };
    for network in [WHOLE, SPLIT] {
        let (mut a, mut b) = pair(&config, 7);
        let ours = a.stage(rng);
        let given_up = a.stage(rng);
        a.run(|group| group.abandon(&given_up.id)).unwrap();
        let mut dropped = Vec::new();
        for _ in 0..3 {
            let sent = advance(&mut b, &mut [], rng);
            let new = new_epoch(a.receive(&sent.message, network).unwrap());
            let why = if network == WHOLE { Why::Whole } else { Why::Limit };
            assert!(new.deleted.iter().all(|gone| gone.why == why));
            dropped.extend(new.deleted.into_iter().flat_map(|gone| gone.dropped));
        }
        let mut expected = vec![ours.id.clone(), given_up.id];
        expected.sort();
        dropped.sort();
        assert_eq!(dropped, expected);
        assert_eq!((a.group.pending().count(), a.count(b'o')), (0, 0));
        let refused = a.run(|group| group.confirm(&ours.id)).err();
        assert_eq!(refused, Some(Error::Usage(Usage::UnknownCommit)));
    }
}

#[test]
fn own_commits_that_go_because_the_caller_deletes_are_told() {
    let rng = &mut rng(8);
    let (mut a, mut b) = pair(&config(), 8);
    for one in [false, true] {
        let (parent, ours) = (a.head(), a.stage(rng));
        advance(&mut b, &mut [&mut a], rng);
        let deleted = a.run(|group| match one {
            true => group.delete_epoch(&parent, Level::Readable),
            false => Ok(group.delete_old_epochs()),
        });
        let deleted = deleted.unwrap();
        let gone = deleted.iter().find(|gone| gone.id == parent).unwrap();
        assert_eq!(gone.dropped, [ours.id]);
        assert_eq!(a.group.pending().count(), 0);
        a.restart();
    }
}
