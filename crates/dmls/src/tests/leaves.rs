//! Leaves, key packages, trees and update paths (RFC 9420 s7, s10), wherever they come in: as a member's Add, Update and commit, by
//! an external commit, in the tree of a group that is joined.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::refusals;
use super::world::{ALICE, BOB, MALLORY, NOW, World, commit};
use crate::codec::Encode;
use crate::credential::Credential;
use crate::crypto::HpkePublicKey;
use crate::error::Error;
use crate::framing::MlsMessage;
use crate::group::Outcome;
use crate::key_package::KeyPackage;
use crate::message::Proposal;
use crate::registry::{CipherSuite, CredentialType, ExtensionType, ProtocolVersion};
use crate::time::{Lifetime, Time};
use crate::tree::{LeafNode, LeafNodeSource, LeafPlace, ValidLeaf};

/// A type that nobody lists.
const UNKNOWN: ExtensionType = ExtensionType(0xf0fe);

refusals! { RULES:
    encryption_key => LeafEncryptionKey, |world| everywhere(world, |leaf| leaf.encryption_key = no_key());
    signature_key => LeafSignatureKey, |world| {
        let no_key = |leaf: &mut LeafNode| leaf.signature_key = vec![0; 32].into();
        // Of an external commit, the message itself is to be verified with it, which comes first.
        let refused = everywhere_in_place(world, no_key);
        assert_eq!(refused_add(world, |world| world.add(|kp| no_key(&mut kp.leaf_node))), refused);
        let tree = world.mallory.head_epoch().public().tree.clone();
        let mut bob = tree.leaf(BOB).unwrap().clone();
        no_key(&mut bob);
        assert_eq!(world.refused_tree(tree.update(BOB, ValidLeaf::unchecked(&bob)).to_bytes()), refused);
        refused
    };
    init_key => KeyPackageInitKeyForm, |world| refused_add(world, |world| world.add(|kp| kp.init_key = no_key()));
    parent_key => ParentKey, |world| {
        let tree = &world.mallory.head_epoch().public().tree;
        let parent = tree.filtered_direct_path(ALICE).last().unwrap().node;
        let key = tree.public_key(parent).unwrap().as_bytes().to_vec();
        let mut bytes = tree.to_bytes();
        let place = bytes.windows(32).position(|window| window == key).unwrap();
        bytes[place..place + 32].fill(0);
        world.refused_tree(bytes)
    };
    path_key => PathKey, |world| {
        let external = world.external_path(|path| path.nodes[0].encryption_key = no_key());
        let external = world.refused(&external);
        let own = world.path_commit(|path| path.nodes.last_mut().unwrap().encryption_key = no_key());
        assert_eq!(world.refused(&own), external);
        external
    };
    credential => LeafCredential, |world| {
        // Mallory is nobody else either.
        let another = everywhere_in_place(world, |leaf| leaf.credential = Credential::basic("another"));
        let stranger = everywhere(world, |leaf| leaf.credential = Credential::basic("stranger"));
        assert_eq!(stranger, another);
        stranger
    };
    leaf_signature => LeafSignature, |world| {
        let add = world.add(|_| ());
        let add = match add {
            Proposal::Add(mut kp) => {
                kp.leaf_node.signature = vec![0; 64].into();
                kp.sign(&world.suite(), world.eve.signer().private()).unwrap();
                Proposal::Add(kp)
            }
            other => other,
        };
        world.refused_commit([add])
    };
    required_capabilities => LeafRequiredCapabilities, |world| {
        committed(world, |leaf| leaf.capabilities.extensions.clear())
    };
    unlisted_extension => LeafExtensions, |world| everywhere(world, |leaf| leaf.extensions.set(UNKNOWN, vec![]));
    own_credential => LeafOwnCredential, |world| {
        everywhere(world, |leaf| leaf.capabilities.credentials = vec![CredentialType::X509])
    };
    credential_of_others => LeafCredentialSupport, |world| {
        committed(world, |leaf| {
            leaf.credential = Credential::X509(vec![]);
            leaf.capabilities.credentials = vec![CredentialType::X509];
        })
    };
    suite_not_listed => LeafSuite, |world| {
        // Who makes it, or adds it, must look; who receives it has nothing to say.
        let change = |leaf: &mut LeafNode| leaf.capabilities.cipher_suites = vec![CipherSuite::P256_AES128];
        accepted_everywhere(change);
        own_add(world, |world| world.add(|kp| change(&mut kp.leaf_node)))
    };
    key_package_extension => KeyPackageExtensions, |world| {
        let add = |world: &mut World| world.add(|kp| kp.extensions.set(UNKNOWN, vec![]));
        accepted_add(&mut World::new(), add);
        own_add(world, add)
    };
    lifetime => LeafLifetime, |world| {
        let add = |world: &mut World| {
            let lifetime = Lifetime { not_before: Time(NOW.0 - 9), not_after: Time(NOW.0 - 1) };
            world.add(|kp| kp.leaf_node.source = LeafNodeSource::KeyPackage(lifetime))
        };
        accepted_add(&mut World::new(), add);
        own_add(world, add)
    };
    lifetime_too_long => LeafLifetimeLength, |world| {
        let lifetime = LeafNodeSource::KeyPackage(Lifetime { not_before: NOW, not_after: Time(u64::MAX) });
        let tree = world.tree_with(|leaf| leaf.source = lifetime.clone());
        let joined = world.refused_tree(tree);
        let added = refused_add(world, |world| world.add(|kp| kp.leaf_node.source = lifetime));
        assert_eq!(joined, added);
        added
    };
    wrong_source => LeafSource, |world| {
        let lifetime = LeafNodeSource::KeyPackage(Lifetime::starting(NOW, 9));
        let sources = [LeafNodeSource::Update, LeafNodeSource::Commit(vec![]), lifetime];
        let added = refused_add(world, |world| world.add(|kp| kp.leaf_node.source = LeafNodeSource::Update));
        for source in &sources[1..] {
            let update = world.update(|leaf| leaf.source = source.clone());
            assert_eq!(world.refused_proposal(update), added);
        }
        for source in [&sources[0], &sources[2]] {
            let committed = world.path_commit(|path| path.leaf_node.source = source.clone());
            assert_eq!(world.refused(&committed), added);
        }
        added
    };
    encryption_key_kept => LeafKeyUnchanged, |world| {
        let key = world.mallory.head_epoch().public().member(MALLORY).unwrap().encryption_key.clone();
        let update = world.update(|leaf| leaf.encryption_key = key.clone());
        let updated = world.refused_proposal(update);
        let committed = world.path_commit(|path| path.leaf_node.encryption_key = key);
        assert_eq!(world.refused(&committed), updated);
        updated
    };
    key_package_version => KeyPackageVersion, |world| {
        let suite = refused_add(world, |world| world.add(|kp| kp.cipher_suite = CipherSuite::X25519_CHACHA20));
        let version = refused_add(world, |world| world.add(|kp| kp.version = ProtocolVersion(2)));
        assert_eq!(suite, version);
        suite
    };
    key_package_signature => KeyPackageSignature, |world| refused_add(world, |world| {
        let add = world.add(|_| ());
        match add {
            Proposal::Add(mut kp) => {
                kp.signature = vec![0; 64].into();
                Proposal::Add(kp)
            }
            other => other,
        }
    });
    init_key_is_the_encryption_key => KeyPackageInitKey, |world| {
        refused_add(world, |world| world.add(|kp| kp.init_key = kp.leaf_node.encryption_key.clone()))
    };
    encryption_key_of_another => DuplicateEncryptionKey, |world| {
        let key = world.mallory.head_epoch().public().member(BOB).unwrap().encryption_key.clone();
        let add = world.add(|kp| kp.leaf_node.encryption_key = key);
        world.refused_commit([add])
    };
    path_too_short => PathLength, |world| {
        let short = world.path_commit(|path| drop(path.nodes.pop()));
        world.refused(&short)
    };
    path_key_of_another => PathKeyReuse, |world| {
        let key = world.mallory.head_epoch().public().member(BOB).unwrap().encryption_key.clone();
        let reused = world.path_commit(|path| path.nodes[0].encryption_key = key);
        world.refused(&reused)
    };
    path_parent_hash => PathParentHash, |world| {
        let forged = world.path_commit(|path| path.leaf_node.source = LeafNodeSource::Commit(vec![1; 32]));
        world.refused(&forged)
    };
    path_ciphertexts => PathCiphertexts, |world| {
        let forged = world.path_commit(|path| drop(path.nodes[0].encrypted_path_secret.pop()));
        world.refused(&forged)
    };
    path_secret => PathSecret, |world| {
        let forged = world.path_commit(|path| {
            let sealed = path.nodes.iter_mut().flat_map(|node| &mut node.encrypted_path_secret);
            sealed.for_each(|sealed| sealed.ciphertext[0] ^= 1);
        });
        world.refused(&forged)
    };
}

/// A path secret that decrypts, and is none.
#[test]
fn path_secret_of_another_length() {
    let refused = refused_path_secret(&mut World::new(), &[7; 31]);
    assert_eq!(refused, crate::error::Rule::PathSecret.into());
}

/// One that decrypts, and leads to other keys than those of the path.
#[test]
fn path_secret_of_another_path() {
    let refused = refused_path_secret(&mut World::new(), &[7; 32]);
    assert_eq!(refused, crate::error::Rule::PathSecretKey.into());
}

/// Mallory takes Bob's signature key for her own, which he lends her.
#[test]
fn signature_key_of_another_in_a_path() {
    let mut world = World::new();
    let signer = world.bob.signer.clone();
    let forged = world.path_commit_by(signer.private(), |path, _| {
        path.leaf_node.signature_key = signer.public().clone();
    });
    assert_eq!(world.refused(&forged), crate::error::Rule::DuplicateSignatureKey.into());
}

/// Mallory seals something else for Alice, for the same tree and so that it decrypts.
fn refused_path_secret(world: &mut World, secret: &[u8]) -> Error {
    let (suite, signer) = (world.suite(), world.mallory.head_epoch().signer.clone());
    let alice = world.mallory.head_epoch().public().member(ALICE).unwrap().encryption_key.clone();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let forged = world.path_commit_by(signer.private(), |path, context| {
        let context = context.to_bytes();
        let sealed = suite.encrypt_with_label(&alice, "UpdatePathNode", &context, secret, &mut rng).unwrap();
        // Alice is beside her.
        path.nodes[0].encrypted_path_secret = vec![sealed];
    });
    world.refused(&forged)
}

/// 32 bytes that nothing can be encrypted to.
fn no_key() -> HpkePublicKey {
    vec![0; 32].into()
}

/// A member's Add, as a proposal and by value in a commit.
fn refused_add(world: &mut World, add: impl FnOnce(&mut World) -> Proposal) -> Error {
    let add = add(world);
    let proposed = world.refused_proposal(add.clone());
    assert_eq!(world.refused_commit([add]), proposed);
    proposed
}

/// A member's Add is received, and its commit, too, up to the tag that Mallory does not compute.
fn accepted_add(world: &mut World, add: impl FnOnce(&mut World) -> Proposal) {
    let add = add(world);
    let commit = commit([add.clone()]);
    let refused = world.refused(&world.mallory_says(commit));
    assert_eq!(refused, crate::error::Rule::ConfirmationTag.into());
    assert!(matches!(world.accepted(&world.mallory_says(add)), Outcome::Proposal(_)));
}

/// What Alice says when she is to add a client herself.
fn own_add(world: &mut World, add: impl FnOnce(&mut World) -> Proposal) -> Error {
    let add = add(world);
    let proposed = world.alice.propose(add.clone(), NOW, &mut world.rng).map(drop).unwrap_err();
    let committed = world.alice.commit().proposal(add).stage(NOW, &mut world.rng).map(drop).unwrap_err();
    assert_eq!(proposed, committed);
    match committed {
        Error::Refused(rule) => rule.into(),
        other => other,
    }
}

/// A leaf that replaces Mallory's, by an update and by a commit: refused with one rule.
fn everywhere_in_place(world: &mut World, change: impl Fn(&mut LeafNode)) -> Error {
    let update = world.update(&change);
    let refused = world.refused_proposal(update);
    let committed = world.path_commit(|path| change(&mut path.leaf_node));
    assert_eq!(world.refused(&committed), refused, "in a commit");
    refused
}

/// A leaf in all the ways that there are.
fn everywhere(world: &mut World, change: impl Fn(&mut LeafNode)) -> Error {
    let refused = everywhere_in_place(world, &change);
    assert_eq!(refused_add(world, |world| world.add(|kp| change(&mut kp.leaf_node))), refused, "in an Add");
    let external = world.external_path(|path| change(&mut path.leaf_node));
    assert_eq!(world.refused(&external), refused, "in an external commit");
    let tree = world.tree_with(&change);
    assert_eq!(world.refused_tree(tree), refused, "in a tree");
    refused
}

/// A leaf under the extensions of the group, which count when a commit brings it in.
fn committed(world: &mut World, change: impl Fn(&mut LeafNode)) -> Error {
    let add = world.add(|kp| change(&mut kp.leaf_node));
    let refused = world.refused_commit([add]);
    let external = world.external_path(|path| change(&mut path.leaf_node));
    assert_eq!(world.refused(&external), refused, "in an external commit");
    refused
}

/// A leaf that receivers take, in all the ways that there are.
fn accepted_everywhere(change: impl Fn(&mut LeafNode)) {
    let mut world = World::new();
    accepted_add(&mut world, |world| world.add(|kp| change(&mut kp.leaf_node)));
    let update = world.update(&change);
    assert!(matches!(world.accepted(&world.mallory_says(update)), Outcome::Proposal(_)));
    let mut world = World::new();
    let committed = world.path_commit(|path| change(&mut path.leaf_node));
    // Its secrets are sealed for another tree: nothing public is wrong with it.
    assert_eq!(world.refused(&committed), crate::error::Rule::PathSecret.into());
    let tree = world.tree_with(&change);
    let hash = crate::tree::RatchetTree::from_bytes(&tree, 8).unwrap().tree_hash(&world.suite()).to_vec();
    let info = world.group_info(|info| {
        info.group_context.tree_hash = hash;
        info.extensions.set(ExtensionType::RATCHET_TREE, tree);
    });
    world.join_external(info).unwrap();
}

/// The signature covers the group and the place (s7.2): a leaf that was made for another is none for here.
#[test]
fn leaf_of_another_place() {
    let mut world = World::new();
    let Proposal::Update(mut leaf) = world.update(|_| ()) else { unreachable!("an update") };
    world.sign_leaf(&mut leaf, BOB, world.mallory_key());
    let refused = world.refused_proposal(Proposal::Update(leaf.clone()));
    assert_eq!(refused, crate::error::Rule::LeafSignature.into());
    let place = LeafPlace { group_id: b"another", leaf: MALLORY };
    leaf.sign(&world.suite(), world.mallory_key(), place).unwrap();
    assert_eq!(world.refused_proposal(Proposal::Update(leaf)), refused);
}

/// "The client MUST verify that the `version` field of the KeyPackage has the same value" as its message (s10).
#[test]
fn key_package_of_another_version_than_its_message() {
    let mut world = World::new();
    let mut key_package = world.key_package().key_package().clone();
    let read = |key_package: &KeyPackage| {
        KeyPackage::from_message(&MlsMessage::KeyPackage(Box::new(key_package.clone())).to_bytes())
    };
    assert_eq!(read(&key_package).as_ref(), Ok(&key_package));
    key_package.version = ProtocolVersion(2);
    assert_eq!(read(&key_package), Err(crate::error::Rule::KeyPackageVersion.into()));
}

#[test]
fn key_packages_of_ours_share_no_key() {
    let mut world = World::new();
    let keys = [(); 3].map(|()| world.key_package().key_package().clone());
    let mut keys: Vec<_> = keys.iter().flat_map(|kp| [&kp.init_key, &kp.leaf_node.encryption_key]).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}
