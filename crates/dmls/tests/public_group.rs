//! An observer follows a group with forks, and ends where its members end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use dmls::danger::AcceptAnyCredential;
use dmls::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: Time = Time(1_800_000_000);

struct World {
    rng: ChaCha20Rng,
    config: Config,
    alice: Group,
    bob: Group,
    observer: PublicGroup,
}

/// Alice and Bob in a group whose commits can be observed.
fn world() -> World {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let config = Config { encrypt_handshake: false, ..Config::new(AcceptAnyCredential) };
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng).unwrap();
    let bob = Identity::generate(suite, Credential::basic("bob"), &mut rng).unwrap();
    let mut alice = Group::create(&alice, NewGroupOptions::default(), config.clone(), NOW, &mut rng)
        .unwrap()
        .apply_unsaved();
    let info = alice.head().group_info(NOW).unwrap();
    let mut observer = PublicGroup::new(&info, None, config.clone(), NOW).unwrap();
    let package = bob.key_package(Lifetime::starting(NOW, 86_400), &mut rng).unwrap();
    let sent =
        alice.commit().add(package.key_package().clone()).stage(NOW, &mut rng).unwrap().apply_unsaved();
    let welcome = alice.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
    let bob = Group::join(&package, &welcome, None, config.clone(), NOW).unwrap().apply_unsaved();
    assert!(matches!(
        observer.receive(&sent.message, NOW),
        Ok(PublicOutcome::Commit { head_moved: true, .. })
    ));
    World { rng, config, alice, bob, observer }
}

#[test]
fn an_observer_sees_the_fork_and_the_same_winner() {
    let World { mut rng, mut alice, mut bob, mut observer, .. } = world();
    let split = NOW;
    let one = alice.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    let other = bob.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    for (group, own, foreign) in [(&mut alice, &one, &other), (&mut bob, &other, &one)] {
        group.confirm(&own.id).unwrap().apply_unsaved();
        group.receive(&foreign.message, split).unwrap().apply_unsaved();
    }
    assert_eq!(alice.head(), bob.head());
    observer.receive(&one.message, NOW).unwrap();
    let second = observer.receive(&other.message, NOW).unwrap();
    assert!(matches!(second, PublicOutcome::Commit { fork: true, .. }));
    let winner = alice.epoch(alice.head()).unwrap().confirmation_tag;
    let head = observer.epochs().into_iter().find(|epoch| epoch.is_head).unwrap();
    assert_eq!(head.confirmation_tag, winner);
    assert_eq!(observer.members_of(observer.head()), Some(alice.members()));
    assert_eq!(observer.ratchet_tree(observer.head()), alice.head().ratchet_tree());
    assert_eq!(observer.receive(&one.message, NOW), Ok(PublicOutcome::Duplicate));
}

#[test]
fn a_false_header_misleads_nobody() {
    let World { mut rng, mut alice, mut observer, .. } = world();
    let sent = alice.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    let mut message: DmlsMessage = codec::Decode::from_bytes(&sent.message).unwrap();
    message.dmls_epoch = EpochId::from(vec![7; 32]);
    let forged = codec::Encode::to_bytes(&message);
    // The signature says where it belongs; the header is only a hint.
    assert!(matches!(observer.receive(&forged, NOW), Ok(PublicOutcome::Commit { .. })));
    alice.confirm(&sent.id).unwrap().apply_unsaved();
    let next = alice.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    assert!(matches!(observer.receive(&next.message, NOW), Ok(PublicOutcome::Commit { .. })));
}

#[test]
fn damaged_commits_change_nothing() {
    let World { mut rng, mut alice, mut observer, .. } = world();
    let sent = alice.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    let before = observer.epochs();
    for place in 0..sent.message.len() - 33 {
        let mut damaged = sent.message.clone();
        damaged[place] ^= 1;
        match observer.receive(&damaged, NOW) {
            Err(_) | Ok(PublicOutcome::UnknownEpoch) => assert_eq!(observer.epochs(), before),
            // What an observer can't check: the two tags at the end, which need secrets.
            Ok(PublicOutcome::Commit { .. }) if place > sent.message.len() - 33 - 66 => return,
            other => panic!("byte {place}: {other:?}"),
        }
    }
}

#[test]
fn proposals_are_followed_and_private_messages_are_opaque() {
    let World { mut rng, mut alice, mut bob, mut observer, config } = world();
    let proposal = bob.propose_update(NOW, &mut rng).unwrap().apply_unsaved();
    assert!(matches!(observer.receive(&proposal.message, NOW), Ok(PublicOutcome::Proposal { .. })));
    assert_eq!(observer.receive(&proposal.message, NOW), Ok(PublicOutcome::Duplicate));
    alice.receive(&proposal.message, NOW).unwrap().apply_unsaved();
    let sent = alice.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    assert_eq!(sent.commit.updated.len(), 1);
    assert!(matches!(observer.receive(&sent.message, NOW), Ok(PublicOutcome::Commit { .. })));
    alice.confirm(&sent.id).unwrap().apply_unsaved();
    let text = alice.send(b"nobody else reads this").seal(&mut rng).unwrap().apply_unsaved();
    assert_eq!(observer.receive(&text, NOW), Ok(PublicOutcome::Opaque));
    assert!(PublicGroup::new(&text, None, config, NOW).is_err());
}
