//! Commits that remove us: claims, until somebody says that they stand.

use dmls::codec::{Decode, Encode};
use dmls::extension::{ExternalJoins, ForkChoiceRule, Ruleset};
use dmls::framing::MlsMessage;
use dmls::vectors::insider;
use dmls::{Config, Credential, DmlsMessage, Error, Limits, Outcome, Rule, SentCommit, Usage};
use rand_chacha::ChaCha20Rng;

use super::common::{Client, NOW, SPLIT, WHOLE, identity, public_config, rng};
use super::{advance, new_epoch, rivals, tag_of, trio};

/// A commit of `by` that removes `victim`, properly signed, with a tag that it made up.
fn forged(by: &mut Client, victim: &Client, rng: &mut ChaCha20Rng) -> Vec<u8> {
    let leaf = victim.leaf();
    let sent = by.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
    by.run(|group| group.discard_unsent(&sent.id)).unwrap();
    let mut message = DmlsMessage::from_bytes(&sent.message).unwrap();
    let MlsMessage::PublicMessage(public) = &mut message.message else { panic!("not public") };
    public.auth.confirmation_tag = Some(vec![0xff; 32].into());
    insider(&by.group, &message.to_bytes(), &mut <[u8]>::to_vec, rng).unwrap()
}

fn removal(by: &mut Client, victim: &Client, rng: &mut ChaCha20Rng) -> SentCommit {
    let leaf = victim.leaf();
    by.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap()
}

fn claims(client: &Client) -> usize {
    client.group.claimed_removals().count()
}

#[test]
fn a_forged_removal_changes_nothing_for_its_victim() {
    let rng = &mut rng(1);
    let (mut a, mut b, mut c) = trio(&public_config(), 1);
    let forged = forged(&mut a, &c, rng);
    // Others see that the tag is wrong.
    assert_eq!(b.receive(&forged, SPLIT), Err(Error::Invalid(Rule::ConfirmationTag)));
    let head = c.head();
    match c.receive(&forged, SPLIT).unwrap() {
        Outcome::Removed(removed) => assert!(removed.wins && !removed.stands),
        other => panic!("{other:?}"),
    }
    assert_eq!(c.receive(&forged, SPLIT).unwrap(), Outcome::Duplicate);
    for _ in 0..2 {
        assert!(!c.group.is_removed());
        assert_eq!((claims(&c), c.head()), (1, head.clone()));
        c.restart();
    }
    // It sends, commits, and follows the others.
    let message = c.send(b"still here", rng);
    assert!(matches!(b.receive(&message, SPLIT), Ok(Outcome::Application(_))));
    let sent = b.stage(rng);
    b.confirm(&sent, SPLIT);
    let new = new_epoch(c.receive(&sent.message, SPLIT).unwrap());
    assert!(new.is_head && new.stranded.is_none());
    let sent = c.stage(rng);
    assert!(c.confirm(&sent, SPLIT).is_head);
}

#[test]
fn after_a_removal_that_stands_nothing_is_sent() {
    let rng = &mut rng(2);
    let (mut a, _, mut c) = trio(&public_config(), 2);
    let parent = c.head();
    let late = a.send(b"late", rng);
    let sent = removal(&mut a, &c, rng);
    assert!(matches!(c.receive(&sent.message, SPLIT), Ok(Outcome::Removed(_))));
    let staged = c.stage(rng);
    let turn = c.run(|group| group.confirm_removal(&sent.id)).unwrap();
    assert!(turn.known && turn.head == parent);
    for _ in 0..2 {
        assert!(c.group.is_removed());
        assert_eq!(claims(&c), 0);
        let refused = [
            c.group.send(b"x").seal(rng).map(drop).err(),
            c.group.send(b"x").at(&parent).seal(rng).map(drop).err(),
            c.group.commit().stage(NOW, rng).map(drop).err(),
            c.group.commit().stage_confirmed(NOW, rng).map(drop).err(),
            c.group.propose_update(NOW, rng).map(drop).err(),
            c.group.propose_remove(dmls::LeafIndex(0), NOW, rng).map(drop).err(),
        ];
        assert_eq!(refused, [const { Some(Error::Usage(Usage::NotMember)) }; 6]);
        c.restart();
    }
    // What it could read it still can, and saying it twice is nothing.
    assert!(matches!(c.receive(&late, SPLIT), Ok(Outcome::Application(_))));
    c.run(|group| group.confirm_removal(&sent.id)).unwrap();
    assert!(c.group.is_removed());
    let unknown = c.run(|group| group.confirm_removal(&staged.id)).err();
    assert_eq!(unknown, Some(Error::Usage(Usage::UnknownCommit)));
}

#[test]
fn a_removal_stands_once_it_is_final_whenever_that_is_said() {
    for final_first in [false, true] {
        let rng = &mut rng(3);
        let (mut a, mut b, mut c) = trio(&public_config(), 3);
        let sent = removal(&mut a, &c, rng);
        let (parent, other) = (c.head(), b.stage(rng));
        new_epoch(c.receive(&other.message, SPLIT).unwrap());
        if final_first {
            assert!(!c.run(|group| group.finalize(&sent.id)).unwrap().known);
            c.restart();
        }
        match c.receive(&sent.message, SPLIT).unwrap() {
            Outcome::Removed(removed) => assert_eq!(removed.stands, final_first),
            other => panic!("{other:?}"),
        }
        if !final_first {
            assert!(!c.group.is_removed());
            let turn = c.run(|group| group.finalize(&sent.id)).unwrap();
            assert!(turn.known && turn.head_moved && turn.lost.len() == 1);
        }
        for _ in 0..2 {
            assert!(c.group.is_removed(), "final first: {final_first}");
            assert_eq!(c.head(), parent, "final first: {final_first}");
            c.restart();
        }
    }
}

#[test]
fn what_is_said_of_a_removal_that_stands_counts_at_once() {
    let rng = &mut rng(5);
    let (mut a, mut b, mut c) = trio(&public_config(), 5);
    let sent = removal(&mut a, &c, rng);
    let other = b.stage(rng);
    assert!(matches!(c.receive(&sent.message, SPLIT), Ok(Outcome::Removed(_))));
    c.run(|group| group.confirm_removal(&sent.id)).unwrap();
    new_epoch(c.receive(&other.message, SPLIT).unwrap());
    c.run(|group| group.block(&sent.id)).unwrap();
    for _ in 0..2 {
        assert!(!c.group.is_removed());
        assert_eq!(c.head(), other.epoch);
        c.restart();
    }
    let next = advance(&mut c, &mut [], rng);
    // Final, it wins over what is blocked and over the higher tag, also from another branch.
    c.run(|group| group.finalize(&sent.id)).unwrap();
    for _ in 0..2 {
        assert!(c.group.is_removed());
        assert_ne!(c.head(), next.epoch);
        c.restart();
    }
}

#[test]
fn a_true_removal_on_a_branch_that_lost_removes_nobody() {
    let mut seen = [0, 0];
    for seed in 0..8 {
        let rng = &mut rng(seed);
        let (mut a, mut b, mut c) = trio(&public_config(), 40 + seed);
        let sent = removal(&mut a, &c, rng);
        let other = b.stage(rng);
        let wins = tag_of(&sent.message).as_bytes() > tag_of(&other.message).as_bytes();
        seen[usize::from(wins)] += 1;
        assert!(matches!(c.receive(&sent.message, SPLIT), Ok(Outcome::Removed(_))));
        c.run(|group| group.confirm_removal(&sent.id)).unwrap();
        assert!(c.group.is_removed());
        new_epoch(c.receive(&other.message, SPLIT).unwrap());
        c.restart();
        assert_eq!(c.group.is_removed(), wins);
        assert_eq!(c.group.send(b"x").seal(rng).is_ok(), !wins);
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both happened");
}

#[test]
fn a_removal_that_stands_and_lost_is_forgotten_with_its_parent() {
    let limits = Limits { known_epochs: 4, resumption_psks: 2, ..Limits::default() };
    let mut seen = 0;
    for seed in 0..6 {
        let rng = &mut rng(60 + seed);
        let (mut a, mut b, mut c) = trio(&Config { limits: limits.clone(), ..public_config() }, 60 + seed);
        let sent = removal(&mut a, &c, rng);
        assert!(matches!(c.receive(&sent.message, SPLIT), Ok(Outcome::Removed(_))));
        c.run(|group| group.confirm_removal(&sent.id)).unwrap();
        let other = b.stage(rng);
        b.confirm(&other, SPLIT);
        new_epoch(c.receive(&other.message, SPLIT).unwrap());
        if c.group.is_removed() {
            continue;
        }
        for _ in 0..12 {
            let next = b.stage(rng);
            b.confirm(&next, SPLIT);
            new_epoch(c.receive(&next.message, WHOLE).unwrap());
            assert!(!c.group.is_removed());
        }
        assert_eq!((c.count(b'x'), c.count(b'n')), (0, 1 + 4 + 1));
        c.restart();
        assert_eq!(c.head(), b.head());
        seen += 1;
    }
    assert!(seen > 0, "it happened");
}

fn is_back(client: &Client) -> bool {
    client.members().iter().any(|member| member.credential == Credential::basic("carol"))
}

/// By the draft's rule a tag decides, and tags can be tried. SECURITY.md says so.
#[test]
fn only_where_removals_go_first_a_removal_can_not_be_undone_by_a_higher_tag() {
    for (fork_choice, undone) in
        [(ForkChoiceRule::HIGHEST_TAG, true), (ForkChoiceRule::REMOVALS_FIRST, false)]
    {
        let ruleset = Ruleset { fork_choice, external_joins: ExternalJoins::ANYONE, ..Ruleset::default() };
        let config = Config { ruleset: Some(ruleset), ..public_config() };
        let rng = &mut rng(7);
        let (mut a, mut b, mut c) = trio(&config, 60);
        let (parent, old) = (c.head(), a.group.head().group_info(NOW).unwrap());
        // What the one who is removed can make of the epoch that it still holds; a removal with a tag in the middle of them.
        let tries = rivals(&mut c, &parent, 8, rng);
        let tag = |sent: &SentCommit| tag_of(&sent.message).as_bytes().to_vec();
        let leaf = c.leaf();
        let removal = loop {
            let sent = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
            if tag(&sent) < tag(&tries[7]) {
                break sent;
            }
            a.run(|group| group.discard_unsent(&sent.id)).unwrap();
        };
        a.confirm(&removal, SPLIT);
        new_epoch(b.receive(&removal.message, SPLIT).unwrap());
        for _ in 0..3 {
            advance(&mut a, &mut [&mut b], rng);
        }
        let mut ground = b.copy();
        assert_eq!(new_epoch(ground.receive(&tries[7].message, SPLIT).unwrap()).head_moved, undone);
        ground.restart();
        assert_eq!(is_back(&ground), undone);

        // A newcomer who means no harm, with a GroupInfo from before.
        let joined = loop {
            let newcomer = identity("dave", rng);
            let (_, commit) = Client::join_external(&newcomer, &old, &config, rng).unwrap();
            if tag_of(&commit).as_bytes() > tag_of(&removal.message).as_bytes() {
                break commit;
            }
        };
        new_epoch(b.receive(&joined, SPLIT).unwrap());
        b.restart();
        assert_eq!(is_back(&b), undone);
    }
}
