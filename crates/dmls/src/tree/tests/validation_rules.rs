//! Leaves and key packages: each rule, broken once, at each stage where it counts.

use super::*;
use crate::credential::{AuthenticationService, Operation, Presented};
use crate::crypto::HpkePublicKey;
use crate::error::Rule;
use crate::extension::RequiredCapabilities;
use crate::key_package::KeyPackage;
use crate::registry::{ExtensionType, ProposalType};

const EXTENSION: ExtensionType = ExtensionType(0xf001);
const PROPOSAL: ProposalType = ProposalType(0xf002);

/// Refuses one name.
struct Refusing;

impl AuthenticationService for Refusing {
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        presented.credential.identity() != Some(b"mallory")
    }
}

/// How a leaf arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    KeyPackage,
    Update,
    Commit,
    Tree,
}

use Stage::{Commit, KeyPackage as InKeyPackage, Tree, Update};

const STAGES: [Stage; 4] = [InKeyPackage, Update, Commit, Tree];

struct Scene {
    client: Client,
    old: LeafNode,
    extensions: Extensions,
    judge: Judge,
}

impl Scene {
    fn new() -> Self {
        let mut rng = rng(7);
        let client = Client::new(&mut rng);
        let old = LeafNode { encryption_key: vec![1].into(), ..client.leaf.clone() };
        Self { client, old, extensions: Extensions::new(), judge: Judge::Own(NOW) }
    }

    /// Validates a leaf that was changed and then signed as it should be.
    fn check(&self, stage: Stage, change: impl FnOnce(&mut LeafNode)) -> Result<(), Rule> {
        self.check_unsigned(stage, |leaf| {
            leaf.source = match stage {
                InKeyPackage | Tree => leaf.source.clone(),
                Update => LeafNodeSource::Update,
                Commit => LeafNodeSource::Commit(vec![1]),
            };
            change(leaf);
            sign(leaf, &self.client.signer, 3);
        })
    }

    fn check_unsigned(&self, stage: Stage, change: impl FnOnce(&mut LeafNode)) -> Result<(), Rule> {
        let suite = suite();
        let validator =
            LeafValidator { auth: &Refusing, judge: self.judge, ..validator(&suite, &self.extensions) };
        let mut leaf = self.client.leaf.clone();
        change(&mut leaf);
        match stage {
            InKeyPackage => self.key_package(leaf, |_| {}).validate(&validator, Operation::Add).map(drop),
            Update => validator.update(&leaf, LeafIndex(3), &self.old).map(drop),
            Commit => {
                let with_old = validator.commit(&leaf, LeafIndex(3), Some(&self.old));
                // A joiner has no leaf to replace; to it, every credential is new, and the suite is to be listed.
                let judge = Judge::Received;
                let joining = LeafValidator { judge, ..validator }.commit(&leaf, LeafIndex(3), None);
                let is_mallory = leaf.credential.identity() == Some(b"mallory");
                assert!(with_old.is_err() || is_mallory || joining.is_ok());
                with_old.map(drop)
            }
            Tree => validator.in_tree(&leaf, LeafIndex(3), Operation::Join).map(drop),
        }
    }

    fn key_package(&self, leaf_node: LeafNode, change: impl FnOnce(&mut KeyPackage)) -> KeyPackage {
        let mut key_package = KeyPackage {
            version: ProtocolVersion::MLS10,
            cipher_suite: CipherSuite::X25519_AES128,
            init_key: HpkePublicKey::from(vec![2; 32]),
            leaf_node,
            extensions: Extensions::new(),
            signature: Default::default(),
        };
        change(&mut key_package);
        key_package.sign(&suite(), self.client.signer.private()).unwrap();
        key_package
    }

    fn check_key_package(&self, change: impl FnOnce(&mut KeyPackage)) -> Result<(), Rule> {
        let suite = suite();
        let validator = LeafValidator { judge: self.judge, ..validator(&suite, &self.extensions) };
        self.key_package(self.client.leaf.clone(), change).validate(&validator, Operation::Add).map(drop)
    }
}

#[test]
fn valid_leaves_are_valid() {
    for stage in STAGES {
        assert_eq!(Scene::new().check(stage, |_| {}), Ok(()), "{stage:?}");
    }
}

#[test]
fn what_holds_at_every_stage() {
    for stage in STAGES {
        let scene = Scene::new();
        let check = |change: fn(&mut LeafNode)| scene.check(stage, change).unwrap_err();
        assert_eq!(check(|leaf| leaf.capabilities.credentials.clear()), Rule::LeafOwnCredential);
        assert_eq!(check(|leaf| leaf.extensions.set(EXTENSION, vec![])), Rule::LeafExtensions);
        // Default types need not be listed.
        let default = scene.check(stage, |leaf| leaf.extensions.set(ExtensionType::APPLICATION_ID, vec![]));
        assert_eq!(default, Ok(()));
        let unsigned = scene.check(stage, |_| {}).and_then(|()| {
            scene.check_unsigned(stage, |leaf| {
                leaf.source = match stage {
                    Update => LeafNodeSource::Update,
                    Commit => LeafNodeSource::Commit(vec![]),
                    InKeyPackage | Tree => leaf.source.clone(),
                };
                leaf.extensions.set(ExtensionType::APPLICATION_ID, vec![]);
            })
        });
        assert_eq!(unsigned, Err(Rule::LeafSignature), "{stage:?}");
    }
}

/// What RFC 9420 asks of those who make a leaf or add it, and not of those who receive it.
#[test]
fn what_counts_only_when_we_act() {
    let mut scene = Scene::new();
    for (judge, refused) in [(Judge::Own(NOW), true), (Judge::Received, false)] {
        scene.judge = judge;
        let expect = |rule| if refused { Err(rule) } else { Ok(()) };
        let add = |change: fn(&mut LeafNode)| scene.check(InKeyPackage, change);
        assert_eq!(add(|leaf| leaf.capabilities.versions.clear()), expect(Rule::LeafSuite));
        assert_eq!(add(|leaf| leaf.capabilities.cipher_suites.clear()), expect(Rule::LeafSuite));
        // Of members, that they take part shows what they support.
        for stage in [Update, Commit, Tree] {
            let member = scene.check(stage, |leaf| leaf.capabilities.cipher_suites.clear());
            assert_eq!(member, Ok(()), "{stage:?}");
        }
        let extensions = scene.check_key_package(|kp| kp.extensions.set(EXTENSION, vec![]));
        assert_eq!(extensions, expect(Rule::KeyPackageExtensions));
        for (from, to) in [(NOW.0 + 1, NOW.0 + 9), (NOW.0 - 9, NOW.0 - 1), (NOW.0 + 1, NOW.0 - 1)] {
            let lifetime = Lifetime { not_before: Time(from), not_after: Time(to) };
            let source = LeafNodeSource::KeyPackage(lifetime);
            let checked = scene.check(InKeyPackage, |leaf| leaf.source = source.clone());
            assert_eq!(checked, expect(Rule::LeafLifetime));
            assert_eq!(scene.check(Tree, |leaf| leaf.source = source), Ok(()));
        }
    }
}

/// Its maximum is the application's, the same for all (s7.2), so it counts for what others made, too.
#[test]
fn a_lifetime_that_is_too_long() {
    let mut scene = Scene::new();
    for judge in [Judge::Own(NOW), Judge::Received] {
        scene.judge = judge;
        for (stage, to, result) in [InKeyPackage, Tree].into_iter().flat_map(|stage| {
            [(stage, NOW.0 + 100, Ok(())), (stage, NOW.0 + 101, Err(Rule::LeafLifetimeLength))]
        }) {
            let lifetime = Lifetime { not_before: Time(NOW.0 - 100), not_after: Time(to) };
            let checked = scene.check(stage, |leaf| leaf.source = LeafNodeSource::KeyPackage(lifetime));
            assert_eq!(checked, result, "{stage:?} {judge:?}");
        }
    }
}

#[test]
fn the_authentication_service_decides() {
    for stage in STAGES {
        let scene = Scene::new();
        let refused = scene.check(stage, |leaf| leaf.credential = Credential::basic("mallory"));
        assert_eq!(refused, Err(Rule::LeafCredential), "{stage:?}");
    }
    for stage in [Update, Commit] {
        // What is in the group already is not new: nobody asks again. A new key is.
        let mut scene = Scene::new();
        scene.old.credential = Credential::basic("mallory");
        assert_eq!(scene.check(stage, |leaf| leaf.credential = Credential::basic("mallory")), Ok(()));
        scene.old.signature_key = vec![1; 32].into();
        let refused = scene.check(stage, |leaf| leaf.credential = Credential::basic("mallory"));
        assert_eq!(refused, Err(Rule::LeafCredential), "{stage:?}");
        // One who replaces a leaf must be who was there.
        let refused = Scene::new().check(stage, |leaf| leaf.credential = Credential::basic("another"));
        assert_eq!(refused, Err(Rule::LeafCredential), "{stage:?}");
    }
}

#[test]
fn the_signature_binds_to_the_place() {
    for stage in [Update, Commit] {
        let mut scene = Scene::new();
        let source = if stage == Update { LeafNodeSource::Update } else { LeafNodeSource::Commit(vec![]) };
        let leaf = &mut scene.client.leaf;
        leaf.source = source;
        for (group_id, index) in [(&b"another"[..], 3), (GROUP, 4)] {
            let place = LeafPlace { group_id, leaf: LeafIndex(index) };
            scene.client.leaf.sign(&suite(), scene.client.signer.private(), place).unwrap();
            assert_eq!(scene.check_unsigned(stage, |_| {}), Err(Rule::LeafSignature));
            assert_eq!(scene.check_unsigned(Tree, |_| {}), Err(Rule::LeafSignature));
        }
    }
}

#[test]
fn the_group_requires() {
    let required = RequiredCapabilities {
        extension_types: vec![EXTENSION],
        proposal_types: vec![PROPOSAL],
        credential_types: vec![CredentialType::X509],
    };
    for stage in STAGES {
        let mut scene = Scene::new();
        scene.extensions.set_content(&required);
        for (missing, result) in
            [(0, Ok(()))].into_iter().chain((1..4).map(|i| (i, Err(Rule::LeafRequiredCapabilities))))
        {
            let checked = scene.check(stage, |leaf| {
                let capabilities = &mut leaf.capabilities;
                capabilities.extensions.extend((missing != 1).then_some(EXTENSION));
                capabilities.proposals.extend((missing != 2).then_some(PROPOSAL));
                capabilities.credentials.extend((missing != 3).then_some(CredentialType::X509));
            });
            assert_eq!(checked, result, "{stage:?}");
        }
        scene.extensions = Extensions::new();
        scene.extensions.set(EXTENSION, vec![]);
        assert_eq!(scene.check(stage, |_| {}), Err(Rule::LeafGroupExtensions));
        assert_eq!(scene.check(stage, |leaf| leaf.capabilities.extensions.push(EXTENSION)), Ok(()));
        scene.extensions = Extensions::new();
        scene.extensions.set(ExtensionType::REQUIRED_CAPABILITIES, vec![1, 2, 3]);
        assert_eq!(scene.check(stage, |_| {}), Err(Rule::ExtensionContent));
    }
}

#[test]
fn sources() {
    let scene = Scene::new();
    let lifetime = scene.client.leaf.source.clone();
    let sources = [
        (InKeyPackage, lifetime),
        (Update, LeafNodeSource::Update),
        (Commit, LeafNodeSource::Commit(vec![])),
    ];
    for (right, source) in sources {
        for stage in [InKeyPackage, Update, Commit] {
            let result = if stage == right { Ok(()) } else { Err(Rule::LeafSource) };
            assert_eq!(scene.check(stage, |leaf| leaf.source = source.clone()), result, "{stage:?}");
        }
        assert_eq!(scene.check(Tree, |leaf| leaf.source = source.clone()), Ok(()));
    }
}

#[test]
fn a_replaced_leaf_has_a_new_key() {
    let mut scene = Scene::new();
    scene.old.encryption_key = scene.client.leaf.encryption_key.clone();
    for stage in [Update, Commit] {
        assert_eq!(scene.check(stage, |_| {}), Err(Rule::LeafKeyUnchanged));
    }
}

#[test]
fn key_packages() {
    let scene = Scene::new();
    assert_eq!(scene.check_key_package(|_| {}), Ok(()));
    for (rule, found) in [
        (Rule::KeyPackageVersion, scene.check_key_package(|kp| kp.version = ProtocolVersion(2))),
        (Rule::KeyPackageVersion, scene.check_key_package(|kp| kp.cipher_suite = CipherSuite::P256_AES128)),
        (
            Rule::KeyPackageInitKey,
            scene.check_key_package(|kp| kp.init_key = kp.leaf_node.encryption_key.clone()),
        ),
    ] {
        assert_eq!(found, Err(rule));
    }
    let mut unsigned = scene.key_package(scene.client.leaf.clone(), |_| {});
    unsigned.init_key = vec![3; 32].into();
    let refused = unsigned.validate(&validator(&suite(), &scene.extensions), Operation::Add).map(drop);
    assert_eq!(refused, Err(Rule::KeyPackageSignature));
}
