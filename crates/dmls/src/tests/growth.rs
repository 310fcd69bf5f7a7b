//! What grows, counted: operations, not time.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::world::NOW;
use crate::crypto::{SignatureKeyPair, counted};
use crate::danger::AcceptAnyCredential;
use crate::extension::ExternalSender;
use crate::group::Group;
use crate::identity::Identity;
use crate::time::Lifetime;
use crate::{CipherSuite, Config, Credential, NewGroupOptions};

/// Compressions of hash functions by a commit that adds `added` clients to a group of `members`, whose GroupContext has `size` bytes more.
fn hashed(members: usize, added: usize, size: usize) -> usize {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let config = Config::new(AcceptAnyCredential);
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng).unwrap();
    let external = ExternalSender {
        signature_key: alice.signer().public().clone(),
        credential: Credential::basic(vec![7; size]),
    };
    let options = NewGroupOptions { external_senders: vec![external], ..NewGroupOptions::default() };
    let mut group = Group::create(&alice, options, config, NOW, &mut rng).unwrap().apply_unsaved();
    let mut add = |group: &mut Group, count: usize| {
        let added = (0..count).map(|_| {
            // Without GREASE, so that all have one length.
            let signer = SignatureKeyPair::generate(&suite, &mut rng).unwrap();
            let one = Identity::new(suite, Credential::basic("bob"), signer);
            one.key_package(Lifetime::starting(NOW, 1000), &mut rng).unwrap().key_package().clone()
        });
        let added: Vec<_> = added.collect();
        let mut sent = None;
        let work = counted::compressions(|| {
            let commit = added.into_iter().fold(group.commit(), |commit, one| commit.add(one));
            sent = Some(commit.stage(NOW, &mut rng).unwrap().apply_unsaved());
        });
        group.confirm(&sent.unwrap().id).unwrap().apply_unsaved();
        work
    };
    if members > 1 {
        add(&mut group, members - 1);
    }
    add(&mut group, added)
}

/// 1,024 compressions of SHA-256.
const LARGE: usize = 1 << 16;

/// HPKE's info is hashed once, not for each recipient: what one recipient more costs does not depend on its size.
fn assert_slope_is_constant(of: impl Fn(usize, usize) -> usize) {
    for (few, many) in [(1, 33), (33, 65)] {
        let slope = |size| of(many, size) - of(few, size);
        let (small, large) = (slope(0), slope(LARGE));
        assert!(
            large < small + LARGE / 64 / 16,
            "from {few} to {many}: {small} compressions, if large {large}"
        );
    }
    assert!(of(33, LARGE) > of(33, 0) + LARGE / 64, "it is hashed at all");
}

#[test]
fn a_welcome_hashes_its_group_info_once() {
    assert_slope_is_constant(|added, size| hashed(1, added, size));
}

#[test]
fn a_path_hashes_its_group_context_once() {
    assert_slope_is_constant(|members, size| hashed(2 * members, 1, size));
}

/// One recipient more costs the same, however many there are: 64, 128, 256.
#[test]
fn a_welcomes_compressions_are_linear_in_its_recipients() {
    for size in [0, LARGE] {
        let [few, some, many] = [64, 128, 256].map(|added| hashed(1, added, size));
        let (first, second) = ((some - few) as f64 / 64.0, (many - some) as f64 / 128.0);
        println!("{size}: {few}, {some}, {many} compressions; one recipient more: {first}, {second}");
        assert!((first - second).abs() < first / 50.0, "one recipient more: {first}, {second}");
        // The GroupInfo is 40 bytes larger for each; hashed for each, it alone would be far more than this.
        assert!(second < 200.0, "{second}");
    }
}
