//! Messages of the library, described, whole and damaged.

use dmls::danger::AcceptAnyCredential;
use dmls::extension::{ExternalJoins, Ruleset};
use dmls::{CipherSuite, Config, ExternalJoinOptions, Group, Identity, LeafIndex, Lifetime, NewGroupOptions};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::super::field::Value;
use super::*;

#[test]
fn dates() {
    for (seconds, expected) in [
        (0, "1970-01-01 00:00:00 UTC"),
        (951_782_400, "2000-02-29 00:00:00 UTC"),
        (1_800_000_000, "2027-01-15 08:00:00 UTC"),
        (253_402_300_799, "9999-12-31 23:59:59 UTC"),
    ] {
        assert_eq!(date(Time(seconds)).as_deref(), Some(expected));
    }
    assert_eq!(date(Time(u64::MAX)), None);
}

fn samples() -> Vec<Vec<u8>> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = Time(1_800_000_000);
    let ruleset = Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() };
    let config =
        Config { encrypt_handshake: false, ruleset: Some(ruleset), ..Config::new(AcceptAnyCredential) };
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let [alice, bob, carol] = ["alice", "bob", "carol"]
        .map(|name| Identity::generate(suite, Credential::basic(name), &mut rng).unwrap());
    let group = Group::create(&alice, NewGroupOptions::default(), config.clone(), now, &mut rng);
    let mut group = group.unwrap().apply_unsaved();
    let package = bob.key_package(Lifetime::starting(now, 86_400), &mut rng).unwrap();
    let add = group.commit().add(package.key_package().clone()).stage(now, &mut rng).unwrap().apply_unsaved();
    let welcome = group.confirm(&add.id).unwrap().apply_unsaved().welcome.unwrap();
    let update = group.commit().stage(now, &mut rng).unwrap().apply_unsaved();
    group.confirm(&update.id).unwrap().apply_unsaved();
    let remove = group.propose_remove(LeafIndex(1), now, &mut rng).unwrap().apply_unsaved().message;
    let by_reference = group.commit().stage(now, &mut rng).unwrap().apply_unsaved();
    let info = group.head().group_info(now).unwrap();
    let options = ExternalJoinOptions::default();
    let external = Group::join_external(&carol, &info, options, config, now, &mut rng).unwrap();
    let external = external.commit().unwrap().to_vec();
    group.confirm(&by_reference.id).unwrap().apply_unsaved();
    let chat = group.send(b"hello").authenticated_data(*b"label").seal(&mut rng).unwrap().apply_unsaved();
    let messages = [add.message, update.message, remove, by_reference.message, external, chat];
    Vec::from_iter([package.message(), welcome, info].into_iter().chain(messages))
}

/// Every field lies behind the one before it and all of them fill what they are in.
fn check_places(field: &Field) {
    let (Value::Struct(fields) | Value::List(fields)) = &field.value else { return };
    let mut end = fields.first().map_or(field.offset + field.size, |first| first.offset);
    for inner in fields {
        assert_eq!(inner.offset, end, "{} in {}", inner.name, field.kind);
        end += inner.size;
        check_places(inner);
    }
    assert_eq!(end, field.offset + field.size, "{}", field.kind);
}

#[test]
fn fields_fill_the_message_and_sit_where_the_bytes_are() {
    fn bytes_are_there(field: &Field, message: &[u8]) {
        match &field.value {
            Value::Struct(fields) | Value::List(fields) => {
                fields.iter().for_each(|inner| bytes_are_there(inner, message));
            }
            Value::Bytes(bytes) => {
                assert!(message[field.offset..field.offset + field.size].ends_with(bytes), "{}", field.name);
            }
            _ => {}
        }
    }
    for bytes in samples() {
        let field = message(&bytes).unwrap();
        assert_eq!(field.size, bytes.len());
        check_places(&field);
        bytes_are_there(&field, &bytes);
    }
}

#[test]
fn damage_is_an_error_or_another_message_and_never_a_panic() {
    for bytes in samples() {
        for cut in 0..bytes.len() {
            match message(&bytes[..cut]) {
                Ok(field) => assert_eq!(field.size, cut),
                Err(e) => assert!(e.offset <= cut),
            }
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x41;
            match message(&damaged) {
                Ok(field) => check_places(&field),
                Err(e) => assert!(e.offset <= damaged.len()),
            }
        }
    }
}

#[test]
fn an_error_in_an_extension_counts_from_the_start() {
    let info = samples().swap_remove(2);
    let field = message(&info).unwrap();
    fn find<'a>(field: &'a Field, kind: &str) -> Option<&'a Field> {
        let (Value::Struct(fields) | Value::List(fields)) = &field.value else { return None };
        fields.iter().find_map(|inner| if inner.kind == kind { Some(inner) } else { find(inner, kind) })
    }
    let node = find(&field, "optional<Node>").unwrap().offset;
    let mut damaged = info;
    damaged[node + 1] = 9;
    let error = message(&damaged).err().unwrap();
    assert_eq!((error.offset, error.expected), (node + 1, "node type 1 (leaf) or 2 (parent)"));
}
