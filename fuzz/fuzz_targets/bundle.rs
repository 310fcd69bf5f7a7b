//! Bundles as they travel to delivery services: what decodes encodes to the same bytes, and what a server makes of damaged ones. No
//! panic; what is refused changes nothing.
#![no_main]

use std::cell::RefCell;

use dmls::crypto::SignatureKeyPair;
use dmls::danger::AcceptAnyCredential;
use dmls::extension::{DeliveryKind, Extensions, Ruleset};
use dmls::{
    CipherSuite, Config, Credential, Group, Identity, Lifetime, NewGroupOptions, Provider, Time,
};
use dmls_delivery::{
    Body, Commit, Device, Epochs, GroupEpochs, Home, Kept, RULES, ServerId, ServerKeys, decode_bundle,
    encode_bundle,
};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: Time = Time(1_800_000_000);

struct Anybody;

impl ServerKeys for Anybody {
    fn had(&self, _: &Home) -> bool {
        true
    }
}

/// A group of one at a server, and what it adds two others by: one of the server, one of another.
struct Stage {
    epochs: GroupEpochs,
    body: Body,
    /// What the bundle leads to.
    commit: Commit,
}

impl Stage {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let suite = Provider::default().suite(CipherSuite::X25519_AES128).expect("every provider has it");
        let ruleset =
            Ruleset { delivery: DeliveryKind::SERVER, ruleset: RULES.to_vec(), ..Ruleset::default() };
        let config = Config {
            encrypt_handshake: false,
            ratchet_tree_in_welcome: false,
            ruleset: Some(ruleset),
            ..Config::new(AcceptAnyCredential)
        };
        let mut person = |server: u32, device: u8| {
            let keys = SignatureKeyPair::generate(&suite, &mut rng).expect("it can");
            let home = Home { server: ServerId(server), key: keys.public().clone() };
            let identity = Identity::generate(suite, Credential::basic([device]), &mut rng).expect("it can");
            let key = identity.signer().public();
            let attestation = home.attest(&suite, keys.private(), Device([device; 32]), key).expect("it can");
            let mut extensions = Extensions::new();
            extensions.set_content(&attestation);
            let identity = identity.with_extensions(extensions);
            let package = identity.key_package(Lifetime::starting(NOW, 1_000), &mut rng).expect("it can");
            (identity, package.key_package().clone())
        };
        let [(founder, _), (_, one), (_, other)] = [person(0, 1), person(1, 2), person(2, 3)];
        let founding = Group::create(&founder, NewGroupOptions::default(), config, NOW, &mut rng);
        let founding = founding.expect("it can");
        let info = founding.group_info().expect("it is new").to_vec();
        let mut group = founding.apply_unsaved();
        let tree = group.head().ratchet_tree();
        let founded = GroupEpochs::found(&info, tree.as_deref(), Box::new(Kept::new()), Box::new(Anybody));
        let (name, genesis, mut epochs) = founded.expect("it is valid");
        // What it has written is what it comes back from.
        let kept = epochs.take_writes().into_iter().filter_map(|(key, value)| Some((key, value?)));
        let prefix = [&b"g"[..], &name.0, b"e"].concat();
        let kept: Kept = kept.map(|(key, value)| ([&prefix[..], &key].concat(), value)).collect();
        let sent = group.commit().add(one).add(other).stage(NOW, &mut rng).expect("it can").apply_unsaved();
        let bundle = group.bundle(&sent.id, NOW).expect("it is pending");
        let body = Body { parent: genesis.id, bundle: encode_bundle(&bundle).expect("it is small") };
        let mut epochs = GroupEpochs::open(&name, Box::new(kept), Box::new(Anybody));
        epochs.wake().expect("it was written");
        let commit = epochs.stage(&body).expect("it is valid");
        epochs.rest();
        Self { epochs, body, commit }
    }
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new());
}

// Input: 0, then bytes that are a bundle or none; or something else, then (place, byte) changes of a valid bundle, each place of two
// bytes.
fuzz_target!(|input: &[u8]| {
    let [what, rest @ ..] = input else { return };
    STAGE.with_borrow_mut(|Stage { epochs, body, commit }| {
        let mut bundle = rest.to_vec();
        if *what != 0 {
            bundle = body.bundle.clone();
            for change in rest.chunks_exact(3) {
                let place = usize::from(change[0]) << 8 | usize::from(change[1]);
                let length = bundle.len();
                bundle[place % length] = change[2];
            }
        }
        if let Ok(decoded) = decode_bundle(&bundle) {
            assert_eq!(encode_bundle(&decoded).as_deref(), Ok(&bundle[..]));
        }
        epochs.wake().expect("it was written");
        match epochs.stage(&Body { parent: body.parent.clone(), bundle }) {
            // Only what nobody but joiners can read differs.
            Ok(staged) => {
                assert_eq!(staged, *commit);
                epochs.rest();
            }
            Err(_) => assert!(epochs.take_writes().is_empty()),
        }
    });
});
