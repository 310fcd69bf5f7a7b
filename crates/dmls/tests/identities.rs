//! Who a client is: what it says of itself, its storage form, another key and another name in a group; who judges it, and when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use common::{Client, NOW, SPLIT, WHOLE, config, group, identity, key_package, rng};
use dmls::codec::{Decode, Encode};
use dmls::crypto::{Secret, SignatureKeyPair};
use dmls::extension::{Capabilities, Extensions, ExternalSender};
use dmls::registry::{CredentialType, ExtensionType, ProposalType, ProtocolVersion};
use dmls::{
    AuthenticationService, CipherSuite, Config, Credential, Error, Group, GroupPlace, Identity, KeyPackage,
    NewGroupOptions, Operation, Outcome, OwnKeyPackage, PreSharedKeys, Presented, Provider, RecordsError,
    Rule, Time, Unsupported,
};

const UNKNOWN: ExtensionType = ExtensionType(0xf0fe);

/// RFC 9420 s7.2, with GREASE (s13.5).
#[test]
fn capabilities_list_all_that_is_supported_and_no_default() {
    let is_grease = |value: u16| value & 0x0f0f == 0x0a0a;
    for provider in Provider::all() {
        let suite = provider.suite(CipherSuite::P256_AES128).unwrap();
        let client = Identity::generate(suite, Credential::basic("client"), &mut rng(1)).unwrap();
        let own = client.capabilities();
        assert_eq!(own.versions, [ProtocolVersion::MLS10]);
        let suites: Vec<u16> =
            own.cipher_suites.iter().map(|suite| suite.0).filter(|s| !is_grease(*s)).collect();
        assert_eq!(suites, [1, 2, 3, 5, 7]);
        assert_eq!(own.cipher_suites.len(), 6, "one is GREASE");
        let credentials = own.credentials.iter().filter(|credential| !is_grease(credential.0));
        assert!(credentials.eq(&[CredentialType::BASIC, CredentialType::X509]));
        assert!(own.proposals.iter().all(|proposal| is_grease(proposal.0)));

        let listed = Capabilities {
            extensions: (1..=5).map(ExtensionType).chain([UNKNOWN]).collect(),
            proposals: (1..=7).map(ProposalType).chain([ProposalType(0xf0fe)]).collect(),
            ..own.clone()
        };
        let client = client.with_capabilities(listed);
        assert_eq!(client.capabilities().extensions, [UNKNOWN]);
        assert_eq!(client.capabilities().proposals, [ProposalType(0xf0fe)]);
    }
}

#[test]
fn an_identity_comes_back_from_storage() {
    for provider in Provider::all() {
        for suite in provider.suites() {
            let mut extensions = Extensions::new();
            extensions.set(ExtensionType::APPLICATION_ID, vec![7; 5000]);
            let one = Identity::generate(suite, Credential::basic("client"), &mut rng(1)).unwrap();
            let one = one.with_extensions(extensions);
            let stored = one.to_secret();
            let other = Identity::from_secret(provider, &stored).unwrap();
            assert!(other.to_secret() == stored);
            let own = key_package(&other, &mut rng(2));
            let leaf = &own.key_package().leaf_node;
            assert_eq!(&leaf.signature_key, one.signer().public());
            assert_eq!((&leaf.credential, &leaf.capabilities), (one.credential(), one.capabilities()));
            assert_eq!(leaf.extensions.data(ExtensionType::APPLICATION_ID), Some(&[7; 5000][..]));

            let own = OwnKeyPackage::from_secret(&suite, &own.to_secret()).unwrap();
            assert_eq!(KeyPackage::from_message(&own.message()).as_ref(), Ok(own.key_package()));
        }
    }
}

#[test]
fn what_is_no_identity_is_refused() {
    let stored = identity("client", &mut rng(1)).to_secret().as_bytes().to_vec();
    let open =
        |bytes: &[u8]| Identity::from_secret(Provider::default(), &Secret::new(bytes.to_vec())).map(drop);
    assert_eq!(open(&stored), Ok(()));
    for end in 0..stored.len() {
        assert!(matches!(open(&stored[..end]), Err(Error::Records(RecordsError::Malformed(..)))), "{end}");
    }
    let longer = [&stored[..], &[0]].concat();
    assert!(matches!(open(&longer), Err(Error::Records(RecordsError::Malformed(..)))));
    let another_format = [&[0, 2], &stored[2..]].concat();
    assert!(matches!(open(&another_format), Err(Error::Records(RecordsError::Malformed(..)))));
    let another_suite = [&stored[..2], &CipherSuite::X448_AES256.to_bytes(), &stored[4..]].concat();
    let unsupported = Unsupported::CipherSuite(CipherSuite::X448_AES256);
    assert_eq!(open(&another_suite), Err(unsupported.into()));
}

#[test]
fn a_key_package_comes_from_a_message_of_its_own() {
    let own = key_package(&identity("client", &mut rng(1)), &mut rng(2));
    let message = own.message();
    assert_eq!(KeyPackage::from_message(&message).as_ref(), Ok(own.key_package()));
    for end in 0..message.len() {
        assert!(matches!(KeyPackage::from_message(&message[..end]), Err(Error::Malformed(_))), "{end}");
    }
    // Another version of MLS, a Welcome, something behind it; a KeyPackage of another version than its message.
    for (place, to) in [(1, 2), (3, 3)] {
        let mut another = message.clone();
        another[place] = to;
        assert!(matches!(KeyPackage::from_message(&another), Err(Error::Malformed(_))), "{place}");
    }
    assert!(matches!(KeyPackage::from_message(&[&message[..], &[0]].concat()), Err(Error::Malformed(_))));
    let mut another = message.clone();
    another[5] = 2;
    assert_eq!(KeyPackage::from_message(&another), Err(Rule::KeyPackageVersion.into()));
    assert!(KeyPackage::from_bytes(&another[4..]).is_ok());
}

/// A member gets another signature key, other extensions and, where that is a successor, another name.
#[test]
fn a_commit_changes_who_we_are() {
    let mut rng = rng(1);
    let config = Config { psks: config().psks, ..Config::new(Renaming) };
    let mut clients = group(&["alice", "bob", "carol"], &config, &mut rng);
    let old = clients[1].identity.clone();
    let signer = SignatureKeyPair::generate(old.suite(), &mut rng).unwrap();
    let mut extensions = Extensions::new();
    extensions.set(ExtensionType::APPLICATION_ID, b"second".to_vec());
    let new = old.rotated(Credential::basic("bob the second"), signer).with_extensions(extensions);

    // Nobody takes a stranger for Bob, and Bob notices before he says it.
    let stranger = old.rotated(Credential::basic("mallory"), signer_of(&new));
    let refused = clients[1].group.commit().identity(stranger).stage(NOW, &mut rng).map(drop);
    assert_eq!(refused, Err(Error::Refused(Rule::LeafCredential)));

    let sent = clients[1].run(|group| group.commit().identity(new.clone()).stage(NOW, &mut rng)).unwrap();
    clients[1].confirm(&sent, WHOLE);
    clients[1].restart();
    for client in [0, 2] {
        let received = clients[client].receive(&sent.message, WHOLE).unwrap();
        assert!(matches!(received, Outcome::Commit(_)), "{received:?}");
    }
    // What he says and commits from then on is signed with the new key, and with the old one nothing goes.
    say_and_commit(&mut clients, 1, &mut rng);
    say_and_commit(&mut clients, 0, &mut rng);
    for client in &clients {
        let names: Vec<_> =
            client.group.head().members().unwrap().into_iter().map(|member| member.credential).collect();
        assert_eq!(names, ["alice", "bob the second", "carol"].map(Credential::basic));
    }
}

/// A member proposes who it will be, and others commit it: on a branch where they don't, it stays who it was.
#[test]
fn a_proposal_changes_who_we_are() {
    let mut rng = rng(3);
    let config = Config { psks: config().psks, ..Config::new(Renaming) };
    let mut clients = group(&["alice", "bob", "carol"], &config, &mut rng);
    let old = clients[1].identity.clone();
    let signer = SignatureKeyPair::generate(old.suite(), &mut rng).unwrap();
    let new = old.rotated(Credential::basic("bob the second"), signer);
    let stranger = old.rotated(Credential::basic("mallory"), signer_of(&new));
    let refused = clients[1].group.propose_identity(&stranger, NOW, &mut rng).map(drop);
    assert_eq!(refused, Err(Error::Refused(Rule::LeafCredential)));

    let without = clients[2].run(|group| group.commit().stage(NOW, &mut rng)).unwrap();
    let proposal = clients[1].run(|group| group.propose_identity(&new, NOW, &mut rng)).unwrap();
    clients[1].restart();
    let proposed = clients[0].receive(&proposal.message, SPLIT).unwrap();
    assert!(matches!(proposed, Outcome::Proposal(_)), "{proposed:?}");
    let with = clients[0].run(|group| group.commit().stage(NOW, &mut rng)).unwrap();
    let names = |client: &Client, epoch| -> Vec<_> {
        let members = client.group.epoch(epoch).unwrap().members().unwrap();
        members.into_iter().map(|member| member.credential).collect()
    };
    for sent in [&without, &with] {
        let received = clients[1].receive(&sent.message, SPLIT).unwrap();
        assert!(matches!(received, Outcome::Commit(_)), "{received:?}");
    }
    clients[1].restart();
    assert_eq!(names(&clients[1], &with.epoch), ["alice", "bob the second", "carol"].map(Credential::basic));
    assert_eq!(names(&clients[1], &without.epoch), ["alice", "bob", "carol"].map(Credential::basic));
    // On both branches his key is the one of his leaf.
    clients[0].confirm(&with, SPLIT);
    clients[2].confirm(&without, SPLIT);
    for (other, sent) in [(0, with), (2, without)] {
        let said = clients[1].run(|group| group.send(b"hello").at(&sent.epoch).seal(&mut rng)).unwrap();
        let heard = clients[other].receive(&said, SPLIT).unwrap();
        assert!(matches!(heard, Outcome::Application(_)), "{heard:?}");
        let next = clients[1].run(|group| group.commit().at(&sent.epoch).stage(NOW, &mut rng)).unwrap();
        let received = clients[other].receive(&next.message, SPLIT).unwrap();
        assert!(matches!(received, Outcome::Commit(_)), "{received:?}");
    }
}

fn signer_of(identity: &Identity) -> SignatureKeyPair {
    identity.signer().duplicate()
}

fn say_and_commit(clients: &mut [Client], from: usize, rng: &mut rand_chacha::ChaCha20Rng) {
    let said = clients[from].send(b"hello", rng);
    let sent = clients[from].run(|group| group.commit().stage(NOW, rng)).unwrap();
    clients[from].confirm(&sent, WHOLE);
    for client in (0..clients.len()).filter(|client| *client != from) {
        let heard = clients[client].receive(&said, WHOLE).unwrap();
        assert!(matches!(heard, Outcome::Application(_)), "{heard:?}");
        let received = clients[client].receive(&sent.message, WHOLE).unwrap();
        assert!(matches!(received, Outcome::Commit(_)), "{received:?}");
    }
}

/// Takes a name that begins with another for the same client.
struct Renaming;

impl AuthenticationService for Renaming {
    fn is_valid(&self, _: &Presented<'_>) -> bool {
        true
    }

    fn is_successor(&self, predecessor: &Credential, presented: &Presented<'_>) -> bool {
        let name = |credential: &Credential| credential.identity().unwrap_or_default().to_vec();
        name(presented.credential).starts_with(&name(predecessor))
    }
}

/// Any resumption key: all have it.
struct OldKey;

impl PreSharedKeys for OldKey {
    fn external(&self, _: &[u8]) -> Option<Secret> {
        None
    }

    fn resumption(&self, _: &[u8], _: u64) -> Option<Secret> {
        Some(Secret::new(vec![9; 32]))
    }
}

/// In a branch (RFC 9420 s11.3) a member may have become another, and nobody may have become a member again.
#[test]
fn a_member_of_a_branch_succeeds_one_of_the_old_group() {
    for (before, after, follows) in [("bob", "bob the second", true), ("bob the second", "bob", false)] {
        let mut rng = rng(2);
        let config = Config { psks: Arc::new(OldKey), ..Config::new(Renaming) };
        let clients = group(&["alice", before], &config, &mut rng);
        let psk = clients[0].group.successor_psk();
        let mut creator = Client::create("alice", &config, &mut rng);
        let own = key_package(&identity(after, &mut rng), &mut rng);
        let add = |group: &mut Group, rng: &mut rand_chacha::ChaCha20Rng| {
            let step = group.commit().add(own.key_package().clone()).psk(psk).stage_confirmed(NOW, rng);
            step.unwrap().apply_unsaved().epoch.welcome.unwrap()
        };
        let welcome = add(&mut creator.group, &mut rng);
        let joined = clients[0].group.join_successor(&own, &welcome, None, config, NOW).map(|_| ());
        let expected = if follows { Ok(()) } else { Err(Error::Invalid(Rule::SubgroupMembers)) };
        assert_eq!(joined, expected, "{before} and {after}");
    }
}

/// Certificates that run out at a time. Notes what it is asked.
struct Expiring {
    at: Time,
    asked: Arc<Mutex<Vec<Question>>>,
}

/// What brought a credential in, and at what time that was.
#[derive(Debug, PartialEq)]
struct Question(Operation, Option<Time>);

impl AuthenticationService for Expiring {
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        assert!(!presented.group_id.is_empty());
        self.asked.lock().unwrap().push(Question(presented.operation, presented.now));
        presented.now.is_none_or(|now| now < self.at)
    }
}

/// The clock counts for her who adds, and for nobody who receives it: members whose clocks differ stay together.
#[test]
fn members_whose_clocks_differ_stay_together() {
    let mut rng = rng(1);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let later = Time(NOW.0 + 1000);
    let config = Config::new(Expiring { at: later, asked: asked.clone() });
    let mut clients = group(&["alice", "bob", "carol"], &config, &mut rng);
    assert!(asked.lock().unwrap().iter().all(|question| question.1 == Some(NOW)), "we acted");
    let dave = identity("dave", &mut rng);
    let dave = key_package(&dave, &mut rng);
    let add = |clock, rng: &mut rand_chacha::ChaCha20Rng, client: &mut Client| {
        client.run(|group| group.commit().add(dave.key_package().clone()).stage(clock, rng))
    };
    // By Alice's clock it is too late; by Bob's it is not, and Alice and Carol follow him.
    let late = Time(later.0 + 1);
    assert_eq!(add(late, &mut rng, &mut clients[0]).map(drop), Err(Error::Refused(Rule::LeafCredential)));
    let sent = add(NOW, &mut rng, &mut clients[1]).unwrap();
    clients[1].confirm(&sent, WHOLE);
    asked.lock().unwrap().clear();
    for (client, clock) in [(0, late), (2, NOW)] {
        let received = clients[client].run(|group| group.receive(&sent.message, clock)).unwrap();
        assert!(matches!(received, Outcome::Commit(_)), "{received:?}");
    }
    let added = || Question(Operation::Add, None);
    assert_eq!(*asked.lock().unwrap(), [added(), added()]);
    assert_eq!(clients[0].group.head().id(), clients[2].group.head().id());
}

/// Lets everybody in. Notes what brought whom in, into which group, and whether the time was given.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<BTreeSet<Note>>>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    operation: String,
    name: String,
    group: Vec<u8>,
    has_time: bool,
}

impl Noting {
    fn note(&self, presented: &Presented<'_>) {
        let name = String::from_utf8(presented.credential.identity().unwrap().to_vec()).unwrap();
        self.0.lock().unwrap().insert(Note {
            operation: format!("{:?}", presented.operation),
            name,
            group: presented.group_id.to_vec(),
            has_time: presented.now.is_some(),
        });
    }

    /// What it was asked since, all of one group: the operation, who, and whether it was we who acted.
    fn asked(&self, group: &[u8]) -> Vec<(String, String, bool)> {
        let asked = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(asked.iter().all(|note| note.group == group));
        asked.into_iter().map(|note| (note.operation, note.name, note.has_time)).collect()
    }
}

impl AuthenticationService for Noting {
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        self.note(presented);
        true
    }

    fn may_propose_itself(&self, presented: &Presented<'_>) -> bool {
        self.note(presented);
        true
    }
}

#[test]
fn the_application_is_asked_about_everybody_who_comes_in_by_whatever_way() {
    let mut rng = rng(1);
    let noting = Noting::default();
    let usual = config();
    let config = Config { ruleset: usual.ruleset, psks: usual.psks, ..Config::new(noting.clone()) };
    let [alice, bob, dave, server] = ["alice", "bob", "dave", "server"].map(|name| identity(name, &mut rng));
    let external = ExternalSender {
        signature_key: server.signer().public().clone(),
        credential: server.credential().clone(),
    };
    let options = NewGroupOptions { external_senders: vec![external], ..Default::default() };
    let founding = Group::create(&alice, options, config.clone(), NOW, &mut rng).unwrap();
    let mut a = Client::found(&alice, &config, founding);
    let id = a.group.id().to_vec();
    let we = |operation: &str, name: &str| (operation.to_owned(), name.to_owned(), true);
    let others = |operation: &str, name: &str| (operation.to_owned(), name.to_owned(), false);
    assert_eq!(noting.asked(&id), [we("Create", "alice"), we("ExternalSender", "server")]);

    let bobs = key_package(&bob, &mut rng);
    let sent = a.run(|group| group.commit().add(bobs.key_package().clone()).stage(NOW, &mut rng)).unwrap();
    let welcome = a.confirm(&sent, SPLIT).welcome.unwrap();
    assert_eq!(noting.asked(&id), [we("Add", "bob")]);
    let mut b = Client::join(&bob, &bobs, &welcome, &config).unwrap();
    assert_eq!(noting.asked(&id), [we("ExternalSender", "server"), we("Join", "alice"), we("Join", "bob")]);

    let place = GroupPlace::from_group_info(&a.group.head().group_info(NOW).unwrap(), None, &config).unwrap();
    noting.asked(&id);
    let request = dave.propose_to_join(&place, &key_package(&dave, &mut rng)).unwrap();
    for client in [&mut a, &mut b] {
        client.receive(&request, SPLIT).unwrap();
        assert_eq!(noting.asked(&id), [others("AddItself", "dave")]);
    }
    // Another key for who is in already, under the same name.
    let new = alice.rotated(alice.credential().clone(), signer_of(&identity("alice", &mut rng)));
    let sent = a.run(|group| group.commit().identity(new).stage(NOW, &mut rng)).unwrap();
    a.confirm(&sent, SPLIT);
    assert_eq!(noting.asked(&id), [we("AddItself", "dave"), we("Commit", "alice")]);
    b.receive(&sent.message, SPLIT).unwrap();
    assert_eq!(noting.asked(&id), [others("AddItself", "dave"), others("Commit", "alice")]);

    let info = a.group.head().group_info(NOW).unwrap();
    let (_, commit) = Client::join_external(&identity("carol", &mut rng), &info, &config, &mut rng).unwrap();
    let asked = noting.asked(&id);
    assert!(
        asked.contains(&we("ExternalCommit", "carol")) && asked.contains(&we("Join", "dave")),
        "{asked:?}"
    );
    b.receive(&commit, SPLIT).unwrap();
    assert_eq!(noting.asked(&id), [others("ExternalCommit", "carol")]);
}
