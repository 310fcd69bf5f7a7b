//! Histories that chance seldom or never finds. Each holds with the rules; with one rule broken it goes wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dmls_delivery::Verdict;
use dmls_sim::{Harm, Mutant, Script, Violation};

/// Found in random worlds: S0 forgot that it had certified a commit of which a member had said Failed. It was a candidate again,
/// skipped by S0 and proposed by S1 for ever, because verdicts travelled with certified commits only.
#[test]
fn what_was_said_of_a_candidate_travels_with_it() {
    let mut it = Script::new(&[0, 0, 1], &[0, 1, 2], None);
    it.back_up(0);
    let broken = it.commit(1, &it.genesis(), u32::MAX, &[0, 1, 2], &[0]);
    it.start(0, &[0, 1]);
    it.talk(&[0, 1]);
    assert!(it.has_certified(0, &broken) && !it.has_certified(1, &broken));
    it.listen(&[0]);
    it.restore(0);
    it.talk(&[0, 1]);
    assert!(!it.is_recovering(0) && !it.has_certified(0, &broken));
    it.listen(&[0]);
    assert_eq!(it.end(), None);
}

/// Found in random worlds: somebody was added, could not process a commit, came back by an external one, and that lost. What stands
/// in its way is the commit that it could not process, not one that was never delivered.
#[test]
fn who_came_back_in_vain_comes_back_again() {
    let mut it = Script::new(&[0, 0, 1], &[0, 2], None);
    let adds = it.commit(0, &it.genesis(), 5, &[0, 1, 2], &[]);
    it.ballot(0, &[0, 1]);
    it.listen(&[0, 1, 2]);
    it.ballot(0, &[0, 1]);
    let broken = it.commit(0, &adds, 5, &[0, 1, 2], &[1]);
    it.ballot(0, &[0, 1]);
    it.listen(&[0, 1, 2]);
    it.ballot(0, &[0, 1]);
    it.listen(&[0, 1, 2]);
    assert_eq!(it.finalized(1), Some(broken.clone()));
    let back = it.external(1, &broken, 5);
    it.ballot(0, &[0]);
    it.listen(&[1]);
    let other = it.commit(2, &broken, 9, &[0, 1, 2], &[]);
    it.ballot(1, &[1]);
    assert!(it.has_certified(0, &back) && it.has_certified(1, &other));
    assert_eq!(it.end(), None);
}

/// Found in random worlds: what a member said while its server did not know the commit yet was refused, and the stub of the client
/// never said it again.
#[test]
fn what_a_recovering_server_refuses_is_said_again() {
    let mut it = Script::new(&[0, 1], &[0, 1], None);
    it.back_up(0);
    let broken = it.commit(1, &it.genesis(), u32::MAX, &[0, 1], &[0]);
    it.ballot(1, &[0, 1]);
    it.read(0);
    it.restore(0);
    it.listen(&[0]);
    it.talk(&[0, 1]);
    assert!(!it.is_recovering(0) && it.has_certified(0, &broken));
    assert_eq!(it.end(), None);
}

/// Found in random worlds: a message came while a server recovered; its queues began again, and the message, of which the sender's server
/// had been told that it had arrived, was gone.
#[test]
fn a_message_that_came_during_recovery_stays() {
    let mut it = Script::new(&[0, 1], &[0, 1], None);
    it.back_up(0);
    it.post(1);
    it.restore(0);
    it.lose(0, 1);
    it.ship(1, 0);
    it.ballot(1, &[1]);
    assert!(it.is_recovering(0));
    it.talk(&[0, 1]);
    assert_eq!(it.end(), None);
    assert_eq!(it.unread(0), 0);
}

/// What a history says without a mutant, and with it.
fn noticed(history: fn(&mut Script), homes: &[u32], members: &[usize], mutant: Mutant, violation: Violation) {
    noticed_among(history, homes, members, &[], mutant, violation);
}

/// The same, where some lie.
fn noticed_among(
    history: fn(&mut Script),
    homes: &[u32],
    members: &[usize],
    evil: &[usize],
    mutant: Mutant,
    violation: Violation,
) {
    for (mutant, expected) in [(None, None), (Some(mutant), Some(violation))] {
        let mut it = Script::with_evil(homes, members, evil, mutant);
        history(&mut it);
        let wrong = it.end();
        assert_eq!(wrong, expected, "{mutant:?}");
    }
}

/// Found in a random world: a leader told a device that a commit is final, came back from a backup before it had told another server,
/// and another commit became final.
#[test]
fn told_too_soon() {
    fn history(it: &mut Script) {
        let everybody = [0, 1, 2, 3, 4];
        let high = it.commit(3, &it.genesis(), 9, &everybody, &[0, 4]);
        it.ballot(1, &[0, 1]);
        it.listen(&[0, 4]);
        let low = it.commit(0, &it.genesis(), 5, &everybody, &[]);
        it.ballot(0, &[0, 1]);
        it.ballot(0, &[0, 1]);
        it.say(4, Verdict::Ok, &low);
        it.back_up(0);
        it.wait(4_000);
        it.start(0, &[0, 1]);
        it.talk(&[0, 1]);
        assert_eq!(it.finalized(0), Some(low));
        it.read(0);
        it.set_online(0, false);
        it.restore(0);
        it.talk(&[0, 1]);
        it.listen(&[1, 2]);
        it.ballot(0, &[0, 1]);
        it.wait(4_000);
        it.ballot(0, &[0, 1]);
        assert!(it.wrong().is_some() || it.finalized(0) == Some(high));
    }
    noticed(history, &[0, 0, 1, 1, 1], &[0, 1, 2, 3, 4], Mutant::ToldTooSoon, Violation::FinalFork);
}

/// A server that the last final epoch does not know makes its own commit final, and nobody else hears of it. Then a commit with a higher
/// tag is not blocked any more, and the others, of whom it needs all, make that final.
#[test]
fn leader_outside() {
    fn history(it: &mut Script) {
        let high = it.commit(3, &it.genesis(), 9, &[0, 1, 3, 4, 5], &[0, 1]);
        it.ballot(2, &[0, 2]);
        it.listen(&[0, 1]);
        it.set_online(5, false);
        let low = it.commit(0, &it.genesis(), 5, &[0, 1, 2, 3, 4, 5], &[]);
        it.ballot(0, &[0, 1, 2]);
        it.listen(&[0, 1, 3, 4]);
        it.wait(4_000);
        it.start(1, &[0, 1, 2]);
        it.talk(&[0, 1, 2]);
        assert_eq!(it.head(1), Some(low));
        it.listen(&[5]);
        for _ in 0..2 {
            it.wait(4_000);
            it.ballot(0, &[0, 2]);
        }
        assert!(it.wrong().is_some() || it.finalized(0) == Some(high));
    }
    noticed(history, &[0, 0, 1, 2, 2, 2], &[0, 1, 3, 4, 5], Mutant::LeaderOutside, Violation::FinalFork);
}

/// A majority votes that a commit is final; a third server, which had promised before it was cut off, knows nothing of the commit and
/// certifies another with a higher tag.
#[test]
fn majority_finality() {
    fn history(it: &mut Script) {
        let low = it.commit(0, &it.genesis(), 5, &[0, 1, 2], &[]);
        it.hold(0, 2);
        it.start(0, &[0, 1, 2]);
        it.pass(0, 2, 1);
        it.talk(&[0, 1, 2]);
        it.ship(0, 1);
        it.listen(&[0, 1]);
        it.lose(0, 2);
        it.start(0, &[0, 1, 2]);
        it.pass(0, 2, 1);
        it.talk(&[0, 1, 2]);
        assert!(it.has_certified(1, &low));
        it.lose(0, 2);
        it.release(0, 2);
        let high = it.commit(2, &it.genesis(), 9, &[0, 1, 2], &[]);
        it.ballot(2, &[2]);
        assert!(it.has_certified(2, &high));
    }
    noticed(history, &[0, 1, 2], &[0, 1, 2], Mutant::MajorityFinality, Violation::FinalIsNotHighest);
}

/// Two servers have promised a higher ballot, and vote in it; then they vote that a commit is final which they hear of in the lower one.
#[test]
fn ignored_promise() {
    fn history(it: &mut Script) {
        let low = it.commit(0, &it.genesis(), 5, &[0, 1, 2, 3], &[]);
        it.set_online(2, false);
        it.set_online(3, false);
        it.ballot(0, &[0]);
        it.listen(&[0, 1]);
        assert!(it.has_certified(0, &low));
        it.hold(0, 1);
        it.hold(0, 2);
        it.start(0, &[0, 1, 2]);
        it.pass(0, 1, 1);
        it.pass(0, 2, 1);
        it.talk(&[0, 1, 2]);
        let high = it.commit(2, &it.genesis(), 9, &[0, 1, 2, 3], &[]);
        it.start(1, &[1, 2]);
        it.pass(1, 2, 1);
        it.pass(2, 1, 1);
        it.hold(2, 1);
        it.talk(&[1, 2]);
        it.pass(2, 1, 1);
        it.talk(&[1, 2]);
        it.release(0, 1);
        it.release(0, 2);
        it.talk(&[0, 1]);
        it.talk(&[0, 2]);
        it.release(2, 1);
        it.talk(&[1, 2]);
        assert!(it.wrong().is_some() || it.has_certified(1, &high));
    }
    noticed(history, &[0, 0, 1, 2], &[0, 1, 2, 3], Mutant::IgnoredPromise, Violation::FinalIsNotHighest);
}

/// A leader promises a higher ballot, in which a commit of the other side of a split becomes final; then a late vote completes its own.
#[test]
fn no_drop_of_own_ballot() {
    fn history(it: &mut Script) {
        let everybody = [0, 1, 2, 3];
        let low = it.commit(3, &it.genesis(), 5, &everybody, &[]);
        it.ballot(3, &[3]);
        it.commit(0, &it.genesis(), 9, &everybody, &[]);
        it.hold(0, 1);
        it.start(0, &[0, 1, 2]);
        it.pass(0, 1, 1);
        it.pass(0, 2, 1);
        it.pass(1, 0, 1);
        it.pass(2, 0, 1);
        it.pass(0, 2, 1);
        it.pass(2, 0, 1);
        it.hold(2, 0);
        it.talk(&[0, 2]);
        it.lose(0, 1);
        it.release(0, 1);
        for _ in 0..3 {
            it.start(1, &[0, 1, 2, 3]);
            it.talk(&[0, 1, 2, 3]);
            it.wait(4_000);
            it.listen(&[0, 1, 2, 3]);
        }
        assert_eq!(it.finalized(1), Some(low));
        it.pass(2, 0, 1);
    }
    noticed(history, &[0, 1, 2, 3], &[0, 1, 2, 3], Mutant::NoDropOfOwnBallot, Violation::FinalIsNotHighest);
}

/// A commit brings in a server that nobody can reach.
#[test]
fn added_server_without_vote() {
    fn history(it: &mut Script) {
        it.commit(0, &it.genesis(), 5, &[0, 1, 2], &[]);
        it.ballot(0, &[0, 1]);
    }
    noticed(history, &[0, 1, 2], &[0, 1], Mutant::AddedServerWithoutVote, Violation::GhostServer);
}

/// Four members can't process a commit, one says that he can, and nobody may come back.
#[test]
fn one_ok_suffices() {
    noticed_among(
        a_broken_commit,
        &[0, 0, 0, 1, 1, 1],
        &[0, 1, 2, 3, 4, 5],
        &[0, 3],
        Mutant::OneOkSuffices,
        Violation::Bricked,
    );
}

fn a_broken_commit(it: &mut Script) {
    it.close();
    let everybody = [0, 1, 2, 3, 4, 5];
    it.commit(0, &it.genesis(), 5, &everybody, &[1, 2, 4, 5]);
    it.ballot(0, &[0, 1]);
    it.listen(&everybody);
    for _ in 0..2 {
        it.wait(4_000);
        it.ballot(0, &[0, 1]);
    }
}

/// Nobody has said anything yet of a commit that only its maker can process, and nobody may come back.
#[test]
fn no_ok_needed() {
    noticed_among(
        nobody_was_there,
        &[0, 0, 1, 1],
        &[0, 1, 2, 3],
        &[0],
        Mutant::NoOkNeeded,
        Violation::Bricked,
    );
}

/// Its maker alone has said that it can be processed.
#[test]
fn own_ok_counts() {
    noticed_among(
        nobody_was_there,
        &[0, 0, 1, 1],
        &[0, 1, 2, 3],
        &[0],
        Mutant::OwnOkCounts,
        Violation::Bricked,
    );
}

fn nobody_was_there(it: &mut Script) {
    it.close();
    [1, 2, 3].into_iter().for_each(|person| it.set_online(person, false));
    it.commit(0, &it.genesis(), 5, &[0, 1, 2, 3], &[1, 2, 3]);
    for _ in 0..3 {
        it.ballot(0, &[0, 1]);
        it.listen(&[0]);
        it.wait(4_000);
    }
}

/// Only one member can say whether a commit can be processed; it had lost the way before, and comes back on top of the commit.
#[test]
fn child_is_no_ok() {
    fn history(it: &mut Script) {
        let broken = it.commit(0, &it.genesis(), 5, &[0, 1, 2], &[1]);
        it.ballot(0, &[0, 1]);
        it.listen(&[0, 1, 2]);
        it.ballot(0, &[0, 1]);
        it.listen(&[0, 1, 2]);
        let removes = it.commit(0, &broken, 5, &[0, 1], &[]);
        it.ballot(0, &[0, 1]);
        it.external(1, &removes, 5);
        it.ballot(1, &[0, 1]);
        it.wait(4_000);
        it.ballot(0, &[0, 1]);
        it.must_be_final(0, &removes);
    }
    noticed(history, &[0, 1, 1], &[0, 1, 2], Mutant::ChildIsNoOk, Violation::NotFinal);
}

/// A server comes back from a backup that was made before another server, which has no members any more, flushed.
#[test]
fn flush_not_asked_for() {
    fn history(it: &mut Script) {
        it.commit(0, &it.genesis(), 5, &[0, 1], &[]);
        it.ballot(0, &[0, 1]);
        it.listen(&[0, 1, 2]);
        it.start(0, &[0, 1]);
        it.talk(&[0, 1]);
        it.ship(0, 1);
        it.back_up(0);
        it.ship(1, 0);
        it.restore(0);
        it.talk(&[0, 1]);
        it.ballot(0, &[0, 1]);
        it.must_be_flushed(0);
    }
    noticed(history, &[0, 0, 1], &[0, 1, 2], Mutant::FlushNotAskedFor, Violation::FlushDoesNotComplete);
}

/// The group has moved to a server that the backup does not know. Who asks only those whom it knows takes a message of an epoch that it
/// had said was over.
#[test]
fn recovery_does_not_learn_on() {
    fn history(it: &mut Script) {
        it.back_up(2);
        let everybody = it.commit(2, &it.genesis(), 5, &[0, 1, 2, 3], &[]);
        make_final(it, &[0, 1, 2, 3]);
        let without_0 = it.commit(2, &everybody, 5, &[1, 2, 3], &[]);
        make_final(it, &[0, 1, 2, 3]);
        assert_eq!(it.finalized(0), Some(without_0.clone()));
        let last = it.commit(2, &without_0, 5, &[1, 2, 3], &[]);
        make_final(it, &[1, 2]);
        assert_eq!(it.finalized(1), Some(last));
        it.set_online(2, false);
        it.restore(2);
        it.lose(2, 1);
        it.talk(&[0, 2]);
        it.post(3);
        it.talk(&[0, 1, 2]);
        it.ship(2, 1);
        it.listen(&[1]);
    }
    noticed(
        history,
        &[0, 1, 2, 2],
        &[0, 2, 3],
        Mutant::RecoveryDoesNotLearnOn,
        Violation::Client(Harm::MessageKeyNeeded),
    );
}

fn make_final(it: &mut Script, people: &[usize]) {
    for _ in 0..2 {
        it.ballot(2, &[0, 1, 2]);
        it.listen(people);
        it.wait(4_000);
    }
    it.ballot(2, &[0, 1, 2]);
    it.listen(people);
}

/// A row of the outbox arrives that a server had sent before it came back from a backup; the rows that follow have lower numbers.
#[test]
fn old_incarnation() {
    fn history(it: &mut Script) {
        it.back_up(0);
        it.post(0);
        it.ship(0, 1);
        it.hold(0, 1);
        it.post(0);
        it.ship(0, 1);
        it.restore(0);
        it.overtake(0, 1);
        it.talk(&[0, 1]);
        assert!(!it.is_recovering(0));
        it.release(0, 1);
        it.talk(&[0, 1]);
        it.post(0);
        it.ship(0, 1);
    }
    noticed(history, &[0, 1], &[0, 1], Mutant::OldIncarnation, Violation::MessageLost);
}

/// Somebody goes on making commits that nobody can process.
#[test]
fn no_ban() {
    fn history(it: &mut Script) {
        for tag in 0..5 {
            it.commit(0, &it.genesis(), tag, &[0, 1, 2], &[1, 2]);
            it.ballot(0, &[0, 1]);
            it.listen(&[0, 1, 2]);
        }
    }
    noticed_among(history, &[0, 0, 1], &[0, 1, 2], &[0], Mutant::NoBan, Violation::TooManyChildren);
}

/// A server that does not yet know again that an epoch is over takes a message there.
#[test]
fn recovery_takes_messages() {
    fn history(it: &mut Script) {
        it.back_up(0);
        it.set_online(1, false);
        it.commit(0, &it.genesis(), 5, &[0, 1, 2], &[]);
        for _ in 0..3 {
            it.ballot(0, &[0, 1]);
            it.listen(&[0, 2]);
            it.wait(4_000);
        }
        it.restore(0);
        it.post(1);
        it.talk(&[0, 1]);
        it.ship(0, 1);
        it.listen(&[2]);
    }
    noticed(
        history,
        &[0, 0, 1],
        &[0, 1, 2],
        Mutant::RecoveryTakesMessages,
        Violation::Client(Harm::MessageKeyNeeded),
    );
}

/// The friend of a liar says OK before the honest have looked, and nobody may come back.
#[test]
fn no_wait_for_members() {
    fn history(it: &mut Script) {
        it.close();
        it.commit(0, &it.genesis(), 5, &[0, 1, 2, 3, 4], &[2, 3, 4]);
        it.ballot(0, &[0, 1]);
        it.listen(&[0, 1]);
        it.ballot(0, &[0, 1]);
        it.listen(&[2, 3, 4]);
    }
    noticed_among(
        history,
        &[0, 0, 1, 1, 1],
        &[0, 1, 2, 3, 4],
        &[0, 1],
        Mutant::NoWaitForMembers,
        Violation::Bricked,
    );
}
