//! Histories that chance seldom or never finds. Each holds with the rules; with one rule broken it goes wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dmls_delivery::Verdict;
use dmls_sim::{Mutant, Script, Violation};

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
    for (mutant, expected) in [(None, None), (Some(mutant), Some(violation))] {
        let mut it = Script::new(homes, members, mutant);
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
