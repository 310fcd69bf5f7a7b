//! Joining, joining again, and learning that one is off the branch.

use dmls::extension::{ForkChoiceRule, Ruleset};
use dmls::{Config, Error, ExternalJoinOptions, Level, Limits, Outcome, Rule, Stranded, WaitsFor};

use super::common::{Client, NOW, SPLIT, WHOLE, config, group, identity, key_package, public_config, rng};
use super::{advance, new_epoch, pair, tag_of, trio};

#[test]
fn what_was_said_before_we_joined_is_told_and_not_held() {
    let rng = &mut rng(1);
    let (mut a, mut b) = pair(&config(), 1);
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(a.send(b"old", rng));
        old.push(advance(&mut a, &mut [&mut b], rng).message);
    }
    let dave = identity("dave", rng);
    let own = key_package(&dave, rng);
    let sent = a.run(|group| group.commit().add(own.key_package().clone()).stage(NOW, rng)).unwrap();
    let welcome = a.confirm(&sent, SPLIT).welcome.unwrap();
    let mut d = Client::join(&dave, &own, &welcome, &a.config).unwrap();
    for message in &old {
        assert!(matches!(d.receive(message, SPLIT), Ok(Outcome::BeforeUs { .. })));
    }
    // The commit that let us in is recognised by its name.
    d.restart();
    assert_eq!(d.receive(&sent.message, SPLIT).unwrap(), Outcome::Duplicate);
    assert_eq!(d.group.held(), 0);
    let hello = a.send(b"hello", rng);
    assert!(matches!(d.receive(&hello, SPLIT), Ok(Outcome::Application(_))));
}

#[test]
fn a_pending_external_join_survives_a_crash() {
    for by_return in [false, true] {
        let rng = &mut rng(2);
        let (mut a, _) = pair(&config(), 2);
        let info = a.group.head().group_info(NOW).unwrap();
        let dave = identity("dave", rng);
        let (mut d, commit) = Client::join_external(&dave, &info, &a.config, rng).unwrap();
        d.restart();
        let pending: Vec<_> = d.group.pending().map(|(id, m)| (id.clone(), m.to_vec())).collect();
        assert_eq!(pending.len(), 1);
        assert_eq!(pending[0].1, commit);
        assert!(matches!(a.receive(&commit, SPLIT).unwrap(), Outcome::Commit(new) if new.commit.external));
        let new = if by_return {
            new_epoch(d.receive(&commit, SPLIT).unwrap())
        } else {
            d.run(|group| group.confirm(&pending[0].0)).unwrap()
        };
        assert!(new.own && new.is_head && new.id == a.head() && new.commit_id == pending[0].0);
        assert_eq!(d.group.pending().count(), 0);
        d.restart();
        assert_eq!(d.group.pending().count(), 0);
        assert_eq!(d.receive(&commit, SPLIT).unwrap(), Outcome::Duplicate);
        let message = d.send(b"hello", rng);
        assert!(matches!(a.receive(&message, SPLIT), Ok(Outcome::Application(_))));
    }
}

/// Rejoins by the GroupInfo of another member's head, and confirms.
fn rejoin(who: &mut Client, helper: &mut Client, rng: &mut rand_chacha::ChaCha20Rng) -> dmls::NewEpoch {
    let info = helper.group.head().group_info(NOW).unwrap();
    let identity = who.identity.clone();
    let sent =
        who.run(|group| group.rejoin(&identity, &info, ExternalJoinOptions::default(), NOW, rng)).unwrap();
    who.restart();
    assert_eq!(who.group.pending().map(|(id, _)| id).collect::<Vec<_>>(), [&sent.id]);
    match helper.receive(&sent.message, SPLIT).unwrap() {
        Outcome::Commit(new) => assert_eq!(new.commit.removed.len(), 1),
        other => panic!("{other:?}"),
    }
    let new = who.confirm(&sent, SPLIT);
    assert!(new.own && new.is_head && new.id == helper.head());
    assert_eq!(who.secret(&new.id), helper.secret(&new.id));
    who.restart();
    // Both ways, also after others go on.
    let message = who.send(b"again", rng);
    assert!(matches!(helper.receive(&message, SPLIT), Ok(Outcome::Application(_))));
    advance(helper, &mut [who], rng);
    advance(who, &mut [helper], rng);
    new
}

#[test]
fn who_joins_again_keeps_what_it_had() {
    // The parent is an epoch that we hold.
    let rng = &mut rng(3);
    let (mut a, mut b) = pair(&config(), 3);
    let old = b.head();
    let late = a.send(b"late", rng);
    let new = rejoin(&mut b, &mut a, rng);
    assert_eq!(new.parent, Some(old.clone()));
    assert_eq!(b.group.epoch(&old).unwrap().level(), Level::Full);
    assert!(matches!(b.receive(&late, SPLIT), Ok(Outcome::Application(_))));
    assert_eq!(b.members().len(), 2);

    // We only know its name.
    let (mut a, mut b) = pair(&config(), 4);
    let old = b.head();
    let late = a.send(b"late", rng);
    let middle = advance(&mut a, &mut [&mut b], rng);
    let last = a.stage(rng);
    new_epoch(b.receive(&last.message, SPLIT).unwrap());
    b.run(|group| group.delete_epoch(&middle.epoch, Level::Known)).unwrap();
    let turn = b.run(|group| group.block(&last.id)).unwrap();
    assert_eq!(turn.stranded, Some(Stranded::HeadDeleted(middle.epoch.clone())));
    let new = rejoin(&mut b, &mut a, rng);
    assert_eq!(new.parent, Some(middle.epoch));
    assert!(matches!(b.receive(&late, SPLIT), Ok(Outcome::Application(_))));
    assert_eq!(b.group.epoch(&old).unwrap().level(), Level::Full);

    // We never saw it.
    let (mut a, mut b) = pair(&config(), 5);
    let old = b.head();
    let late = a.send(b"late", rng);
    let missed: Vec<_> = (0..3).map(|_| advance(&mut a, &mut [], rng)).collect();
    let new = rejoin(&mut b, &mut a, rng);
    assert_eq!(new.parent, Some(missed[2].epoch.clone()));
    assert!(b.group.epoch(&missed[2].epoch).is_none());
    assert!(matches!(b.receive(&late, SPLIT), Ok(Outcome::Application(_))));
    assert_eq!(b.group.epoch(&old).unwrap().level(), Level::Full);
    // What was missed comes after all.
    for sent in &missed {
        let outcomes = b.deliver(&sent.message, SPLIT).unwrap();
        assert!(matches!(outcomes[0], Outcome::Commit(_) | Outcome::Duplicate), "{outcomes:?}");
        assert_eq!(b.head(), a.head());
        b.restart();
    }
}

#[test]
fn who_joins_again_joins_this_group() {
    let rng = &mut rng(6);
    let (_, mut b) = pair(&config(), 6);
    let (other, _) = pair(&config(), 7);
    let info = other.group.head().group_info(NOW).unwrap();
    let identity = b.identity.clone();
    let options = ExternalJoinOptions::default();
    let refused = b.run(|group| group.rejoin(&identity, &info, options, NOW, rng)).err();
    assert_eq!(refused, Some(Error::Invalid(Rule::GroupId)));
}

#[test]
fn a_final_commit_above_the_epoch_in_which_we_joined_again_leaves_the_head() {
    for final_first in [true, false] {
        let rng = &mut rng(9);
        let (mut a, mut b) = pair(&config(), 9);
        let missed = advance(&mut a, &mut [], rng);
        let info = a.group.head().group_info(NOW).unwrap();
        let identity = b.identity.clone();
        let options = ExternalJoinOptions::default();
        let sent = b.run(|group| group.rejoin(&identity, &info, options, NOW, rng)).unwrap();
        b.confirm(&sent, SPLIT);
        if final_first {
            b.run(|group| group.finalize(&missed.id)).unwrap();
        }
        new_epoch(b.receive(&missed.message, SPLIT).unwrap());
        if !final_first {
            b.run(|group| group.finalize(&missed.id)).unwrap();
        }
        assert_eq!(b.group.head().level(), Level::Full);
        b.restart();
        assert_eq!(b.head(), sent.epoch);
    }
}

#[test]
fn a_false_parent_of_an_epoch_in_which_we_joined_again_breaks_nothing() {
    let rng = &mut rng(10);
    let (mut a, mut b) = pair(&config(), 10);
    let held = b.head();
    let missed = advance(&mut a, &mut [], rng);
    advance(&mut a, &mut [], rng);
    let info = a.group.head().group_info(NOW).unwrap();
    let identity = b.identity.clone();
    let mut rejoin = |b: &mut Client, epoch| {
        let options = ExternalJoinOptions { epoch: Some(epoch), ..Default::default() };
        b.run(|group| group.rejoin(&identity, &info, options, NOW, rng))
    };
    // We hold it, and see that it can't be.
    assert_eq!(rejoin(&mut b, held).err(), Some(Error::Invalid(Rule::EpochHeader)));
    // It comes later.
    let sent = rejoin(&mut b, missed.epoch.clone()).unwrap();
    b.confirm(&sent, SPLIT);
    new_epoch(b.receive(&missed.message, SPLIT).unwrap());
    b.restart();
    assert_eq!(b.head(), sent.epoch);
}

#[test]
fn who_joins_again_in_a_group_without_names_is_confirmed_by_its_own_return() {
    let rng = &mut rng(11);
    let config = dmls::Config { schedule: dmls::KeySchedule::Rfc9420, ..public_config() };
    let (mut a, mut b) = pair(&config, 11);
    let info = a.group.head().group_info(NOW).unwrap();
    let identity = b.identity.clone();
    let options = ExternalJoinOptions::default();
    let sent = b.run(|group| group.rejoin(&identity, &info, options, NOW, rng)).unwrap();
    let new = new_epoch(a.receive(&sent.message, SPLIT).unwrap());
    assert!(new_epoch(b.receive(&sent.message, SPLIT).unwrap()).own);
    assert_eq!(b.head(), new.id);
    b.restart();
}

#[test]
fn who_joined_on_a_branch_that_lost_is_told_and_joins_again() {
    let mut told = 0;
    for seed in 0..6 {
        let rng = &mut rng(seed);
        let limits = Limits { stranded_after: 4, ..Limits::default() };
        let config = Config { limits, ..public_config() };
        let (mut a, mut b, mut c) = trio(&config, 10 + seed);
        let dave = identity("dave", rng);
        let own = key_package(&dave, rng);
        let add = own.key_package().clone();
        let ours = a.run(|group| group.commit().add(add).stage(NOW, rng)).unwrap();
        // It is confirmed here before the other one arrives.
        let welcome = a.confirm(&ours, SPLIT).welcome.unwrap();
        let mut d = Client::join(&dave, &own, &welcome, &config).unwrap();
        let theirs = b.stage(rng);
        if tag_of(&ours.message).as_bytes() > tag_of(&theirs.message).as_bytes() {
            continue;
        }
        b.confirm(&theirs, SPLIT);
        new_epoch(c.receive(&theirs.message, SPLIT).unwrap());
        let mut signs = Vec::new();
        for _ in 0..6 {
            let message = c.send(b"where are you?", rng);
            match d.receive(&message, SPLIT).unwrap() {
                Outcome::Held(held) => {
                    assert_eq!(held.waits_for, WaitsFor::Epoch(theirs.epoch.clone()));
                    signs.push(held.stranded);
                }
                other => panic!("{other:?}"),
            }
            d.restart();
        }
        let sign = |messages| Some(Stranded::OtherBranch { messages });
        assert_eq!(signs, [None, None, None, sign(4), sign(5), sign(6)]);
        // Dave was never a member there, so nobody is removed.
        let info = c.group.head().group_info(NOW).unwrap();
        let options = ExternalJoinOptions::default();
        let sent = d.run(|group| group.rejoin(&dave, &info, options, NOW, rng)).unwrap();
        d.confirm(&sent, SPLIT);
        while d.group.resume(NOW).is_some_and(|step| {
            let _ = step.apply_unsaved();
            true
        }) {}
        new_epoch(c.receive(&sent.message, SPLIT).unwrap());
        assert_eq!(d.head(), c.head());
        told += 1;
    }
    assert!(told > 0, "it happened");
}

#[test]
fn who_joined_by_an_old_group_info_is_told_and_joins_again() {
    for ahead in 1..4 {
        old_group_info(ahead);
    }
}

/// The others are so many epochs ahead of it: they are on a branch that it can't know.
fn old_group_info(ahead: usize) {
    let rng = &mut rng(12);
    let config = Config { limits: Limits { stranded_after: 4, ..Limits::default() }, ..public_config() };
    let (mut a, mut b) = pair(&config, 12);
    let old = a.group.head().group_info(NOW).unwrap();
    let sent = a.stage(rng);
    a.confirm(&sent, WHOLE);
    new_epoch(b.receive(&sent.message, WHOLE).unwrap());
    for _ in 1..ahead {
        advance(&mut a, &mut [&mut b], rng);
    }
    let dave = identity("dave", rng);
    let (mut d, commit) = Client::join_external(&dave, &old, &config, rng).unwrap();
    assert!(matches!(a.receive(&commit, WHOLE), Ok(Outcome::EpochDeleted(_))), "nobody follows it");
    let mut signs = Vec::new();
    for _ in 0..5 {
        let message = a.send(b"where are you?", rng);
        match d.receive(&message, SPLIT).unwrap() {
            Outcome::Held(held) => signs.push(held.stranded),
            other => panic!("{other:?}"),
        }
        d.restart();
    }
    let sign = |messages| Some(Stranded::OtherBranch { messages });
    assert_eq!(signs, [None, None, None, sign(4), sign(5)]);
    let info = a.group.head().group_info(NOW).unwrap();
    let options = ExternalJoinOptions::default();
    let sent = d.run(|group| group.rejoin(&dave, &info, options, NOW, rng)).unwrap();
    d.confirm(&sent, SPLIT);
    new_epoch(a.receive(&sent.message, SPLIT).unwrap());
    assert_eq!((d.head(), d.secret(&sent.epoch)), (a.head(), a.secret(&sent.epoch)));
}

#[test]
fn a_commit_of_a_deleted_epoch_says_who_is_left_behind() {
    let mut seen = [0, 0];
    for seed in 0..8 {
        let (mut a, mut b, mut c) = trio(&public_config(), 30 + seed);
        let rng = &mut rng(seed);
        let (ours, theirs) = (a.stage(rng), b.stage(rng));
        new_epoch(c.receive(&ours.message, WHOLE).unwrap());
        match c.receive(&theirs.message, WHOLE).unwrap() {
            Outcome::EpochDeleted(told) => {
                let wins = tag_of(&theirs.message).as_bytes() > tag_of(&ours.message).as_bytes();
                assert_eq!(told.wins, Some(wins));
                seen[usize::from(wins)] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both happened");
}

#[test]
fn what_a_commit_adds_is_named_by_its_key_package() {
    let rng = &mut rng(8);
    let mut clients = group(&["alice", "bob"], &config(), rng);
    let [a, b] = &mut clients[..] else { panic!("two were asked for") };
    let own = key_package(&identity("dave", rng), rng);
    let add = own.key_package().clone();
    let sent = a.run(|group| group.commit().add(add).stage(NOW, rng)).unwrap();
    let new = new_epoch(b.receive(&sent.message, SPLIT).unwrap());
    assert_eq!(new.commit.added.len(), 1);
    assert_eq!(new.commit.added[0].key_package, own.reference(b.group.suite()));
    assert_eq!(new.commit.added[0].member.credential, dmls::Credential::basic("dave"));
}

/// A commit by which a client joins again, pending.
fn stage_rejoin(who: &mut Client, helper: &Client, rng: &mut rand_chacha::ChaCha20Rng) -> dmls::SentCommit {
    let info = helper.group.head().group_info(NOW).unwrap();
    let identity = who.identity.clone();
    who.run(|group| group.rejoin(&identity, &info, ExternalJoinOptions::default(), NOW, rng)).unwrap()
}

#[test]
fn a_rejoin_that_was_given_up_needs_our_word_where_nothing_compares_it() {
    for parent_is_here in [true, false] {
        let rng = &mut rng(12);
        let (mut a, mut b) = pair(&config(), 12);
        let missed = advance(&mut a, &mut [], rng);
        let sent = stage_rejoin(&mut b, &a, rng);
        b.run(|group| group.abandon(&sent.id)).unwrap();
        let head = b.head();
        if parent_is_here {
            new_epoch(b.receive(&missed.message, SPLIT).unwrap());
        }
        for _ in 0..2 {
            let outcome = b.copy().receive(&sent.message, SPLIT).unwrap();
            match outcome {
                Outcome::GivenUp { commit } => assert!(!parent_is_here && commit == sent.id),
                Outcome::Commit(new) => assert!(parent_is_here && new.own && new.is_head),
                other => panic!("{other:?}"),
            }
            b.restart();
        }
        if !parent_is_here {
            assert_eq!(
                b.receive(&sent.message, SPLIT).unwrap(),
                Outcome::GivenUp { commit: sent.id.clone() }
            );
            assert_eq!(b.head(), head);
            assert!(b.confirm(&sent, SPLIT).is_head);
        }
    }
}

#[test]
fn a_rejoin_does_not_go_with_its_parent() {
    let rng = &mut rng(13);
    let (mut a, mut b) = pair(&config(), 13);
    let (parent, sent) = (b.head(), stage_rejoin(&mut b, &a, rng));
    let other = a.stage(rng);
    let new = new_epoch(b.receive(&other.message, WHOLE).unwrap());
    assert!(new.deleted.iter().all(|gone| gone.dropped.is_empty()));
    assert_eq!(b.group.epoch(&parent).unwrap().level(), Level::Known);
    b.restart();
    // It is compared with what came meanwhile, like any other.
    let wins = b.confirm(&sent, SPLIT).is_head;
    new_epoch(a.receive(&sent.message, SPLIT).unwrap());
    a.confirm(&other, SPLIT);
    assert_eq!((a.head() == sent.epoch, b.head()), (wins, a.head()));
}

#[test]
fn who_follows_the_commit_by_which_we_joined_has_accepted_it() {
    let rng = &mut rng(14);
    let (mut a, _) = pair(&config(), 14);
    let info = a.group.head().group_info(NOW).unwrap();
    let (mut d, commit) = Client::join_external(&identity("dave", rng), &info, &a.config, rng).unwrap();
    new_epoch(a.receive(&commit, SPLIT).unwrap());
    assert_eq!(d.group.pending().count(), 1);
    advance(&mut a, &mut [&mut d], rng);
    for _ in 0..2 {
        assert_eq!(d.group.pending().count(), 0);
        assert_eq!(d.receive(&commit, SPLIT).unwrap(), Outcome::Duplicate);
        d.restart();
    }
}

#[test]
fn a_commit_of_a_deleted_epoch_is_judged_by_the_choice_of_its_group() {
    let ruleset = Ruleset { fork_choice: ForkChoiceRule::REMOVALS_FIRST, ..Ruleset::default() };
    let config = Config { ruleset: Some(ruleset), ..public_config() };
    let (mut seen, mut hidden) = ([0, 0], 0);
    for seed in 0..8 {
        let (mut a, mut b, mut c) = trio(&config, 80 + seed);
        let rng = &mut rng(seed);
        let ours = a.stage(rng);
        let leaf = a.leaf();
        // By reference, whom it removes can't be seen.
        let by_reference = seed % 4 == 3;
        if by_reference {
            let proposal = c.run(|group| group.propose_remove(leaf, NOW, rng)).unwrap();
            assert!(matches!(b.receive(&proposal.message, SPLIT), Ok(Outcome::Proposal(_))));
        }
        let theirs = b.run(|group| match by_reference {
            true => group.commit().stage(NOW, rng),
            false => group.commit().remove(leaf).stage(NOW, rng),
        });
        let theirs = theirs.unwrap();
        new_epoch(c.receive(&ours.message, WHOLE).unwrap());
        match c.receive(&theirs.message, WHOLE).unwrap() {
            Outcome::EpochDeleted(told) => {
                assert_eq!(told.wins, (!by_reference).then_some(true));
                hidden += u32::from(by_reference);
                seen[usize::from(tag_of(&theirs.message).as_bytes() > tag_of(&ours.message).as_bytes())] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0 && hidden > 0, "all of it happened");
}
