//! Welcome and GroupInfo (RFC 9420 s12.4.3).

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;

use super::refusals;
use super::world::{BOB, MALLORY, NOW, World, records};
use crate::codec::{Encode, Reader, encode_vector};
use crate::config::{Config, Limits};
use crate::credential::Credential;
use crate::crypto::Secret;
use crate::epoch::NewGroupOptions;
use crate::error::{Error, Limit, Rule, Unsupported};
use crate::extension::{Capabilities, Extensions};
use crate::group::{ExternalJoinOptions, Group};
use crate::identity::{Identity, OwnKeyPackage};
use crate::message::{GroupInfo, GroupSecrets, PreSharedKeyId, Proposal, Psk, ResumptionPskUsage};
use crate::registry::{CipherSuite, CredentialType, ExtensionType, ProtocolVersion};
use crate::time::Lifetime;
use crate::tree::{LeafIndex, LeafNode, LeafPlace, RatchetTree, ValidLeaf};

/// A type that nobody lists.
const UNKNOWN: ExtensionType = ExtensionType(0xF0FE);

refusals! { RULES:
    tree_structure => TreeStructure, |world| {
        let tree = world.mallory.head_epoch().public().tree.clone();
        let leaf = tree.leaf(MALLORY).unwrap().to_bytes();
        let nodes = |nodes: &[&[u8]]| {
            let mut bytes = Vec::new();
            encode_vector(&mut bytes, |out| nodes.iter().for_each(|node| out.extend_from_slice(node)));
            bytes
        };
        let (leaf, blank) = ([&[1, 1], &leaf[..]].concat(), [0]);
        // Nothing at all, a blank node at the end, a leaf where a parent is.
        let refused = world.refused_tree(nodes(&[]));
        for wrong in [nodes(&[&leaf, &blank, &blank]), nodes(&[&leaf, &leaf, &leaf])] {
            assert_eq!(world.refused_tree(wrong), refused);
        }
        refused
    };
    parent_hash => ParentHash, |world| {
        let key = world.suite().generate_key_pair(&mut world.rng).unwrap().public;
        let forged = with_root(world, |bytes| bytes[1..33].copy_from_slice(key.as_bytes()));
        world.refused_tree(forged)
    };
    unmerged_leaves => UnmergedLeaves, |world| {
        // Of the root's path all got the secret; nobody is at the last leaf.
        let forged = with_root(world, |bytes| bytes.splice(34..35, [4, 0, 0, 0, 3]).for_each(drop));
        world.refused_tree(forged)
    };
    signature_key_of_another => DuplicateSignatureKey, |world| {
        let key = world.mallory.head_epoch().signer.public().clone();
        let forged = bob_with(world, |leaf| leaf.signature_key = key);
        world.refused_tree(forged)
    };
    extension_that_a_member_lacks => LeafGroupExtensions, |world| {
        let add = world.add(|_| ());
        let mut extensions = world.alice.head().context_extensions().unwrap().clone();
        extensions.set(UNKNOWN, Vec::new());
        let joined = refused_info(world, |info| info.group_context.extensions = extensions.clone());
        let invited = refused_welcome(world, |_, info| info.group_context.extensions = extensions.clone());
        assert_eq!(invited, joined);
        // The new extensions count for whom the same commit adds (s12.3).
        *world = World::new();
        let committed = world.refused_commit([add, Proposal::GroupContextExtensions(extensions)]);
        assert_eq!(committed, joined);
        joined
    };
    path_secret_of_another_path => PathSecretKey, |world| {
        refused_welcome(world, |secrets, _| secrets.path_secret = Some(Secret::new(vec![7; 32])))
    };
    welcome_for_another => WelcomeRecipient, |world| {
        let (_, welcome) = world.invitation();
        let other = other_key_package(world);
        world.join(&other, welcome).unwrap_err()
    };
    welcome_secrets => WelcomeSecrets, |world| {
        let (own, mut welcome) = world.invitation();
        welcome.secrets[0].encrypted_group_secrets.ciphertext[0] ^= 1;
        world.join(&own, welcome).unwrap_err()
    };
    welcome_group_info => WelcomeGroupInfo, |world| {
        let (own, welcome) = world.invitation();
        // Sealed for it anew, as it is bound to what it should lead to.
        let secrets = world.group_secrets(&own, &welcome);
        let mut info = welcome.encrypted_group_info;
        info[0] ^= 1;
        let welcome = world.sealed_invitation(&own, &secrets, info);
        world.join(&own, welcome).unwrap_err()
    };
    welcome_of_two_successions => WelcomePsk, |world| {
        // Epoch 1 of a new group: later ones have no place for such a key at all.
        let mallory = Identity::generate(world.suite(), Credential::basic("mallory"), &mut world.rng).unwrap();
        let (options, config) = (NewGroupOptions::default(), world.config.clone());
        let group = Group::create(&mallory, options, config, NOW, &mut world.rng).unwrap().apply_unsaved();
        world.mallory = group;
        refused_welcome(world, |secrets, _| secrets.psks = vec![branch(1), branch(2)])
    };
    welcome_without_our_leaf => WelcomeLeaf, |world| {
        let other = other_key_package(world);
        let (_, welcome) = world.forged_invitation(Some(&other), |_, _| ());
        world.join(&other, welcome).unwrap_err()
    };
    signer_is_blank => GroupInfoSigner, |world| refused_info(world, |info| info.signer = LeafIndex(9));
    group_info_signature => GroupInfoSignature, |world| {
        let mut info = world.group_info(|_| ());
        info.extensions.set(ExtensionType(0xF0FF), Vec::new());
        world.join_external(info).unwrap_err()
    };
    group_info_version => GroupInfoSuite, |world| {
        refused_info(world, |info| info.group_context.version = ProtocolVersion(2))
    };
    no_external_pub => GroupInfoExternalPub, |world| {
        refused_info(world, |info| info.extensions.remove(ExtensionType::EXTERNAL_PUB))
    };
    another_tree => TreeHash, |world| refused_info(world, |info| info.group_context.tree_hash[0] ^= 1);
    commit_id_of_another_length => GroupInfoName, |world| {
        refused_info(world, |info| info.extensions.set(ExtensionType::COMMIT_ID, vec![0; 31]))
    };
    no_tree => TreeMissing, |world| refused_info(world, |info| info.extensions.remove(ExtensionType::RATCHET_TREE));
}

/// The tree with Bob's leaf changed, signed with Mallory's key.
fn bob_with(world: &World, change: impl FnOnce(&mut LeafNode)) -> Vec<u8> {
    let tree = world.mallory.head_epoch().public().tree.clone();
    let mut leaf = tree.leaf(BOB).unwrap().clone();
    change(&mut leaf);
    let place = LeafPlace { group_id: world.mallory.id(), leaf: BOB };
    leaf.sign(&world.suite(), world.mallory_key(), place).unwrap();
    tree.update(BOB, ValidLeaf::unchecked(&leaf)).to_bytes()
}

/// The tree with the root changed: its key, its parent hash, its unmerged leaves, each with its length before it.
fn with_root(world: &World, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let tree = world.mallory.head_epoch().public().tree.clone();
    let root = tree.filtered_direct_path(MALLORY).last().unwrap().node;
    let mut encoded = tree.public_key(root).unwrap().to_bytes();
    encoded.extend([0, 0]);
    let bytes = tree.to_bytes();
    let mut reader = Reader::new(&bytes);
    let content = reader.vector().unwrap().rest().to_vec();
    let place = content.windows(encoded.len()).position(|bytes| bytes == encoded).unwrap();
    let (before, after) = (&content[..place], &content[place + encoded.len()..]);
    change(&mut encoded);
    let mut forged = Vec::new();
    encode_vector(&mut forged, |out| out.extend([before, &encoded, after].concat()));
    forged
}

fn other_key_package(world: &mut World) -> OwnKeyPackage {
    let other = Identity::generate(world.suite(), Credential::basic("frank"), &mut world.rng).unwrap();
    other.key_package(Lifetime::starting(NOW, 1000), &mut world.rng).unwrap()
}

fn refused_info(world: &mut World, change: impl FnOnce(&mut GroupInfo)) -> Error {
    let info = world.group_info(change);
    world.join_external(info).unwrap_err()
}

fn refused_welcome(world: &mut World, change: impl FnOnce(&mut GroupSecrets, &mut GroupInfo)) -> Error {
    let (own, welcome) = world.forged_invitation(None, change);
    world.join(&own, welcome).unwrap_err()
}

fn branch(epoch: u64) -> PreSharedKeyId {
    let psk = Psk::Resumption { usage: ResumptionPskUsage::Branch, group_id: b"old".to_vec(), epoch };
    PreSharedKeyId { psk, psk_nonce: vec![0; 32] }
}

#[test]
fn a_successor_begins_with_epoch_1() {
    let mut world = World::new();
    assert_eq!(world.mallory.head().number(), 1);
    let error = refused_welcome(&mut world, |secrets, _| secrets.psks = vec![branch(1)]);
    assert_eq!(error, Rule::WelcomePsk.into());
}

#[test]
fn a_key_of_the_welcome_is_unknown() {
    let mut world = World::new();
    let unknown = PreSharedKeyId { psk: Psk::External(b"psk".to_vec()), psk_nonce: vec![0; 32] };
    let error = refused_welcome(&mut world, |secrets, _| secrets.psks = vec![unknown]);
    assert_eq!(error, Rule::PskUnknown.into());
}

#[test]
fn welcome_of_another_suite() {
    let mut world = World::new();
    let (own, mut welcome) = world.invitation();
    welcome.cipher_suite = CipherSuite::X25519_CHACHA20;
    assert_eq!(world.join(&own, welcome).unwrap_err(), Rule::WelcomeRecipient.into());
}

#[test]
fn group_info_of_another_suite() {
    let mut world = World::new();
    let other = |_: &mut GroupSecrets, info: &mut GroupInfo| {
        info.group_context.cipher_suite = CipherSuite::X25519_CHACHA20;
    };
    assert_eq!(refused_welcome(&mut world, other), Rule::GroupInfoSuite.into());
}

#[test]
fn confirmation_tag_of_the_group_info() {
    let mut world = World::new();
    let other = |_: &mut GroupSecrets, info: &mut GroupInfo| info.confirmation_tag = vec![0; 32].into();
    assert_eq!(refused_welcome(&mut world, other), Rule::ConfirmationTag.into());
}

#[test]
fn encryption_key_of_another_in_a_tree() {
    let mut world = World::new();
    let key = world.mallory.head_epoch().public().member(MALLORY).unwrap().encryption_key.clone();
    let forged = bob_with(&world, |leaf| leaf.encryption_key = key);
    assert_eq!(world.refused_tree(forged), Rule::DuplicateEncryptionKey.into());
}

#[test]
fn leaf_signature_in_a_tree() {
    let mut world = World::new();
    let forged = bob_with(&world, |_| ());
    assert_eq!(world.refused_tree(forged), Rule::LeafSignature.into());
}

#[test]
fn credential_of_others_in_a_tree() {
    let mut world = World::new();
    let (suite, signer) = (world.suite(), world.mallory.head_epoch().signer.clone());
    let group_id = world.mallory.id().to_vec();
    // By a Welcome: an external joiner looks at the tree that it makes, too.
    let error = refused_welcome(&mut world, |_, info| {
        let tree = info.extensions.data(ExtensionType::RATCHET_TREE).unwrap();
        let tree = RatchetTree::from_bytes(tree, 8).unwrap();
        let mut leaf = tree.leaf(MALLORY).unwrap().clone();
        leaf.credential = Credential::X509(vec![]);
        leaf.capabilities.credentials = vec![CredentialType::X509];
        leaf.sign(&suite, signer.private(), LeafPlace { group_id: &group_id, leaf: MALLORY }).unwrap();
        let tree = tree.update(MALLORY, ValidLeaf::unchecked(&leaf));
        info.group_context.tree_hash = tree.tree_hash(&suite).to_vec();
        info.extensions.set(ExtensionType::RATCHET_TREE, tree.to_bytes());
    });
    assert_eq!(error, Rule::LeafCredentialSupport.into());
}

#[test]
fn required_capabilities_in_a_tree() {
    let mut world = World::new();
    let tree = world.tree_with(|leaf| leaf.capabilities.extensions.clear());
    assert_eq!(world.refused_tree(tree), Rule::LeafRequiredCapabilities.into());
}

/// "unknown extensions [..] MUST be ignored" (s13.4).
#[test]
fn unknown_extensions_of_a_group_info_are_ignored() {
    let mut world = World::new();
    let info = world.group_info(|info| info.extensions.set(UNKNOWN, vec![1, 2, 3]));
    world.join_external(info).unwrap();
    let (own, welcome) = world.forged_invitation(None, |_, info| info.extensions.set(UNKNOWN, vec![1]));
    world.join(&own, welcome).unwrap();
}

/// "representations of a client's own capabilities MUST NOT contain GREASE values" (s13.5): who joins does not take its own for support,
/// as all others do.
#[test]
fn our_grease_is_no_support() {
    let mut world = World::new();
    const GREASE: ExtensionType = ExtensionType(0x0a0a);
    let greased = |identity: &Identity| {
        let capabilities = identity.capabilities().clone();
        let extensions = [&capabilities.extensions[..], &[GREASE]].concat();
        identity.clone().with_capabilities(Capabilities { extensions, ..capabilities })
    };
    let [alice, eve] = ["alice", "eve"].map(|name| {
        greased(&Identity::generate(world.suite(), Credential::basic(name), &mut world.rng).unwrap())
    });
    let rng = &mut world.rng;
    let unsupported = Err(Unsupported::Extension(GREASE).into());
    let mut extensions = Extensions::new();
    extensions.set(GREASE, Vec::new());
    let options = NewGroupOptions { extensions, ..NewGroupOptions::default() };
    let created = Group::create(&alice, options, world.config.clone(), NOW, rng).map(drop);
    assert_eq!(created, unsupported);

    // She brings it in later.
    let group = Group::create(&alice, NewGroupOptions::default(), world.config.clone(), NOW, rng);
    let mut group = group.unwrap().apply_unsaved();
    let mut extensions = group.head().context_extensions().unwrap().clone();
    extensions.set(GREASE, Vec::new());
    let step = group.commit().extensions(extensions).stage_confirmed(NOW, rng).unwrap();
    drop(step.apply_unsaved());
    let info = group.head().group_info(NOW).unwrap();
    let own = eve.key_package(Lifetime::starting(NOW, 1000), rng).unwrap();
    let step = group.commit().add(own.key_package().clone()).stage_confirmed(NOW, rng).unwrap();
    let welcome = step.apply_unsaved().epoch.welcome.unwrap();
    assert_eq!(Group::join(&own, &welcome, None, world.config.clone(), NOW).map(drop), unsupported);
    let joined = Group::join_external(&eve, &info, Default::default(), world.config.clone(), NOW, rng);
    assert_eq!(joined.map(drop), unsupported);
}

/// GroupInfos, Welcomes and external commits of ours: whoever has our limits would refuse a larger one.
#[test]
fn what_nobody_would_take_is_not_made() {
    let mut world = World::new();
    let key_package = world.key_package();
    let info = world.alice.head().group_info(NOW).unwrap();
    let commit = {
        let step = world.alice.commit().add(key_package.key_package().clone());
        step.stage(NOW, &mut world.rng).unwrap().apply_unsaved()
    };
    let before = records(&world.alice);
    let epoch = world.alice.confirm(&commit.id).unwrap().apply_unsaved();
    let limited = |size: usize, records: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let config =
            Config { limits: Limits { message_size: size, ..Limits::default() }, ..world.config.clone() };
        (Group::load(records, config.clone()).unwrap(), config)
    };
    let too_large = Err(Error::Limit(Limit::MessageSize));

    let (alice, _) = limited(info.len(), &before);
    assert_eq!(alice.head().group_info(NOW).map(|info| info.len()), Ok(info.len()));
    let (alice, _) = limited(info.len() - 1, &before);
    assert_eq!(alice.head().group_info(NOW).map(drop), too_large);

    // A Welcome holds a GroupInfo, and more than it; the commit itself is smaller here.
    let welcome = epoch.welcome.unwrap().len();
    assert!(commit.message.len() < welcome);
    for (size, expected) in [(welcome, Ok(())), (welcome - 1, too_large.clone())] {
        let mut group = limited(size, &before).0;
        let add = group.commit().add(key_package.key_package().clone());
        assert_eq!(add.stage(NOW, &mut world.rng).map(drop), expected);
    }

    // An external commit is larger than the GroupInfo that leads to it, if so much travels with it.
    let join = |data: usize, size: usize, rng: &mut ChaCha20Rng| {
        let options = ExternalJoinOptions { authenticated_data: vec![7; data], ..Default::default() };
        let config = limited(size, &before).1;
        let founding = Group::join_external(&world.eve, &info, options, config, NOW, rng)?;
        Ok(founding.commit().unwrap().len())
    };
    let rng = &mut world.rng;
    let size = join(10_000, usize::MAX, rng).unwrap();
    assert_eq!(join(10_000, size, rng), Ok(size));
    assert_eq!(join(10_000, size - 1, rng).map(drop), too_large);
}

/// Who creates a group supports its extensions (s11), and is one whom others accept.
#[test]
fn a_creator_supports_what_it_asks_for() {
    let mut world = World::new();
    let mut extensions = Extensions::new();
    extensions.set(UNKNOWN, Vec::new());
    let options = NewGroupOptions { extensions, ..NewGroupOptions::default() };
    let created = Group::create(&world.eve, options, world.config.clone(), NOW, &mut world.rng).map(drop);
    assert_eq!(created, Err(Unsupported::Extension(UNKNOWN).into()));
    let stranger = Identity::generate(world.suite(), Credential::basic("stranger"), &mut world.rng).unwrap();
    let options = NewGroupOptions::default();
    let created = Group::create(&stranger, options, world.config.clone(), NOW, &mut world.rng).map(drop);
    assert_eq!(created, Err(Rule::LeafCredential.into()));
}
