//! No secret is printed, and every one is erased when dropped.

use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use zeroize::ZeroizeOnDrop;

use super::world::records;
use crate::crypto::{HpkeKeyPair, HpkePrivateKey, Secret, SignatureKeyPair, SignaturePrivateKey};
use crate::danger::AcceptAnyCredential;
use crate::group::Group;
use crate::identity::Identity;
use crate::key_schedule::*;
use crate::time::{Lifetime, Time};
use crate::{CipherSuite, Config, Credential, KeyLog, NewGroupOptions, Outcome, Retention};

const NOW: Time = Time(1_800_000_000);

/// The `Debug` of a secret type with a secret in it, which must be erased when dropped.
fn printed<T: std::fmt::Debug + ZeroizeOnDrop>(make: impl Fn(Secret) -> T) -> String {
    format!("{0:?} {0:#?}", make(Secret::new(vec![0xd3; 32])))
}

/// Snapshots of all secret types. Their number is compared with that of their definitions, so none can be forgotten.
#[test]
fn every_secret_type_is_redacted() {
    macro_rules! snapshots {
        ($($name:ident),* $(,)?) => {{
            $(let expected = concat!(stringify!($name), "(..) ", stringify!($name), "(..)");
            assert_eq!(printed($name), expected);)*
            [$(stringify!($name)),*].len()
        }};
    }
    assert_eq!(printed(|secret| secret), "Secret(..) Secret(..)");
    let suite = crate::Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    let signing = printed(|seed| SignaturePrivateKey::new(&suite, seed).unwrap());
    assert_eq!(signing, "SignaturePrivateKey(..) SignaturePrivateKey(..)");
    let count = snapshots![
        ChildInput,
        CommitConfirmation,
        CommitSecret,
        ConfirmationKey,
        EncryptionSecret,
        EpochAuthenticator,
        EpochSecret,
        ExportedSecret,
        ExporterSecret,
        ExternalSecret,
        HpkePrivateKey,
        InitSecret,
        JoinerSecret,
        MembershipKey,
        PskSecret,
        ResumptionPsk,
        SenderDataSecret,
        WelcomeSecret,
    ];
    let sources = [
        include_str!("../crypto/hpke.rs"),
        include_str!("../key_schedule/mod.rs"),
        include_str!("../key_schedule/init_secret.rs"),
        include_str!("../key_schedule/psk.rs"),
    ];
    let defined: usize = sources.iter().map(|source| source.matches("secret_type! {").count()).sum();
    assert_eq!(count, defined, "a secret type without a snapshot");
}

/// How a byte string would look if somebody printed it: as hex, or as a list.
fn looks(secret: &[u8]) -> [String; 2] {
    let hex: String = secret[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let list = secret[..6].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    [hex, list]
}

fn assert_hidden(what: &str, printed: &str, secrets: &[Vec<u8>]) {
    let printed = printed.replace(['\n', ' '], "");
    for secret in secrets {
        for look in looks(secret) {
            assert!(!printed.contains(&look.replace(' ', "")), "{what} shows a secret");
        }
    }
}

/// All that a group holds, printed with everything inside, between all that it holds secret.
#[test]
fn a_group_and_its_parts_print_no_secret() {
    let mut rng = ChaCha20Rng::seed_from_u64(42);
    let rng = &mut rng;
    let config = Config::new(AcceptAnyCredential);
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let [alice, bob] =
        ["alice", "bob"].map(|name| Identity::generate(suite, Credential::basic(name), rng).unwrap());
    let own = bob.key_package(Lifetime::starting(NOW, 86_400), rng).unwrap();
    let founding = Group::create(&alice, NewGroupOptions::default(), config.clone(), NOW, rng).unwrap();
    let mut shown = vec![format!("{founding:#?} {own:#?} {alice:#?} {config:#?}")];
    let mut a = founding.apply_unsaved();
    let sent = a.commit().add(own.key_package().clone()).stage(NOW, rng).unwrap();
    shown.push(format!("{sent:#?} {:#?}", sent.changes()));
    let sent = sent.apply_unsaved();
    let confirmed = a.confirm(&sent.id).unwrap().apply_unsaved();
    let mut b = Group::join(&own, &confirmed.welcome.unwrap(), None, config, NOW).unwrap().apply_unsaved();
    let text = b"the eagle flies at midnight";
    let message = b.send(text).seal(rng).unwrap().apply_unsaved();
    let step = a.receive(&message, NOW).unwrap();
    shown.push(format!("{step:#?}"));
    let Outcome::Application(read) = step.apply_unsaved() else { panic!("no application data") };
    let update = b.propose_update(NOW, rng).unwrap().apply_unsaved();
    shown.push(format!("{a:#?} {b:#?} {read:#?} {update:#?}"));
    for group in [&a, &b] {
        let epoch = group.head_epoch();
        shown.push(format!("{epoch:#?} {:#?} {:#?}", epoch.private, epoch.next_init));
    }

    let mut secrets = vec![text.to_vec(), own.init_private.as_bytes().to_vec()];
    secrets.push(own.encryption_private.as_bytes().to_vec());
    secrets.extend([&alice, &bob].map(|identity| identity.signer().private().as_bytes().to_vec()));
    for group in [&a, &b] {
        let epoch = group.head_epoch();
        let keys = &epoch.secrets;
        secrets.extend(
            [
                keys.exporter.as_bytes(),
                keys.external.as_bytes(),
                keys.membership_key.as_bytes(),
                keys.resumption_psk.as_bytes(),
                keys.epoch_authenticator.as_bytes(),
                epoch.reading.sender_data.as_bytes(),
                epoch.private.leaf_key().unwrap().as_bytes(),
            ]
            .map(<[u8]>::to_vec),
        );
        secrets.extend(epoch.next_init.records().into_iter().map(|(_, record)| record.to_vec()));
        let ratchets = records(group).into_iter().filter(|(key, _)| key[0] == b'r');
        secrets.extend(ratchets.map(|(_, record)| record).filter(|record| record.len() >= 16));
    }
    assert!(secrets.len() > 20);
    for printed in &shown {
        assert_hidden("Debug", printed, &secrets);
    }
    // The check can fail.
    let leak = std::panic::catch_unwind(|| assert_hidden("a leak", &format!("{text:?}"), &[text.to_vec()]));
    assert!(leak.is_err());
}

#[test]
fn key_pairs_print_their_public_key_only() {
    let mut rng = ChaCha20Rng::seed_from_u64(43);
    let suite = crate::Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    let signer = SignatureKeyPair::generate(&suite, &mut rng).unwrap();
    let pair: HpkeKeyPair = suite.generate_key_pair(&mut rng).unwrap();
    let secrets = [signer.private().as_bytes().to_vec(), pair.private.as_bytes().to_vec()];
    assert_hidden("a key pair", &format!("{signer:#?} {pair:#?} {signer:?} {pair:?}"), &secrets);
    assert!(format!("{signer:?}").contains("public"));
}

/// The epoch_secrets that it is shown.
#[derive(Default)]
struct EpochSecrets(Mutex<Vec<Vec<u8>>>);

impl KeyLog for EpochSecrets {
    fn secret(&self, label: &'static str, secret: &[u8]) {
        if label == "epoch_secret" {
            self.0.lock().unwrap().push(secret.to_vec());
        }
    }
}

/// An epoch's confirmation_key is needed once, when the epoch begins.
#[test]
fn no_confirmation_key_is_kept() {
    let mut rng = ChaCha20Rng::seed_from_u64(44);
    let log = Arc::new(EpochSecrets::default());
    let usual = Config::new(AcceptAnyCredential);
    let config = Config { key_log: Some(log.clone()), retention: Retention::while_told(), ..usual };
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng).unwrap();
    let founding = Group::create(&alice, NewGroupOptions::default(), config, NOW, &mut rng).unwrap();
    let mut group = founding.apply_unsaved();
    let sent = group.commit().stage(NOW, &mut rng).unwrap().apply_unsaved();
    group.confirm(&sent.id).unwrap().apply_unsaved();
    let stored = records(&group);
    let holds = |secret: &[u8]| stored.values().any(|value| value.windows(32).any(|window| window == secret));
    let secrets = log.0.lock().unwrap();
    assert_eq!(secrets.len(), 2);
    for secret in &*secrets {
        let derived = |label| suite.expand_with_label(&Secret::new(secret.clone()), label, b"", 32);
        assert!(holds(derived("membership").as_bytes()), "others are");
        assert!(!holds(derived("confirm").as_bytes()));
    }
}
