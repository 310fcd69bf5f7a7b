//! The tree against a plain model, and every rule broken once.

mod model;
mod private_rules;
mod properties;
mod sharing;
mod tree_rules;
mod validation_rules;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_core::CryptoRng;

use super::*;
use crate::credential::Credential;
use crate::crypto::{HpkePrivateKey, Provider, SignatureKeyPair, Suite};
use crate::danger::AcceptAnyCredential;
use crate::extension::{Capabilities, Extensions};
use crate::registry::{CipherSuite, CredentialType, ProtocolVersion};
use crate::time::{Lifetime, Time};

const GROUP: &[u8] = b"group";
const NOW: Time = Time(1_000);
const MAX_LEAVES: u32 = 1 << 12;

fn suite() -> Suite {
    Provider::default().suite(CipherSuite::X25519_AES128).unwrap()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn capabilities() -> Capabilities {
    Capabilities {
        versions: vec![ProtocolVersion::MLS10],
        cipher_suites: vec![CipherSuite::X25519_AES128],
        credentials: vec![CredentialType::BASIC],
        ..Capabilities::default()
    }
}

/// A client with a leaf for a KeyPackage.
struct Client {
    signer: SignatureKeyPair,
    leaf_private: HpkePrivateKey,
    leaf: LeafNode,
}

impl Client {
    fn new(rng: &mut dyn CryptoRng) -> Self {
        let signer = SignatureKeyPair::generate(&suite(), rng).unwrap();
        let pair = suite().generate_key_pair(rng).unwrap();
        let mut leaf = LeafNode {
            encryption_key: pair.public,
            signature_key: signer.public().clone(),
            credential: Credential::basic(&signer.public().as_bytes()[..4]),
            capabilities: capabilities(),
            source: LeafNodeSource::KeyPackage(Lifetime { not_before: Time(900), not_after: Time(1_100) }),
            extensions: Extensions::new(),
            signature: Default::default(),
        };
        sign(&mut leaf, &signer, 0);
        Self { signer, leaf_private: pair.private, leaf }
    }
}

fn sign(leaf: &mut LeafNode, signer: &SignatureKeyPair, index: u32) {
    let place = LeafPlace { group_id: GROUP, leaf: LeafIndex(index) };
    leaf.sign(&suite(), signer.private(), place).unwrap();
}

fn validator<'a>(suite: &'a Suite, extensions: &'a Extensions) -> LeafValidator<'a> {
    LeafValidator {
        suite,
        group_id: GROUP,
        extensions,
        judge: Judge::Own(NOW),
        max_lifetime: 200,
        auth: &AcceptAnyCredential,
    }
}

/// One for members of the group, whatever they look like; what it borrows lives as long as the test.
fn judge() -> LeafValidator<'static> {
    validator(Box::leak(Box::new(suite())), Box::leak(Box::default()))
}

/// A group whose tree has no blanks: each member was added by the one before, in a commit with a path.
struct Group {
    tree: RatchetTree,
    clients: Vec<Client>,
    private: Vec<PrivateTree>,
    rng: ChaCha20Rng,
}

impl Group {
    fn new(members: u32) -> Self {
        let mut rng = rng(u64::from(members));
        let first = Client::new(&mut rng);
        let tree = RatchetTree::new(ValidLeaf::unchecked(&first.leaf));
        let private = vec![PrivateTree::new(LeafIndex(0), first.leaf_private.duplicate())];
        let mut group = Self { tree, clients: vec![first], private, rng };
        for committer in 0..members - 1 {
            let client = Client::new(&mut group.rng);
            group.commit(committer, Some(client));
        }
        group
    }

    /// A commit with a path, which may add a member. Everyone processes it.
    fn commit(&mut self, committer: u32, added: Option<Client>) {
        let mut new = Vec::new();
        if let Some(client) = &added {
            let (tree, leaf) = self.tree.add(ValidLeaf::unchecked(&client.leaf), MAX_LEAVES).unwrap();
            self.tree = tree;
            new.push(leaf);
        }
        let path = self.path(committer);
        let update = path.encrypt(&suite(), b"context", &new, &mut self.rng).unwrap();
        let sender = LeafIndex(committer);
        let merged = update.merge(&judge(), &self.tree, sender, MAX_LEAVES, &new).unwrap();
        for private in self.private.iter_mut().filter(|private| private.leaf != sender) {
            let opened = merged.decrypt(&suite(), private, b"context");
            *private = opened.unwrap().0;
        }
        self.private[committer as usize] = path.private.duplicate();
        if let Some(client) = added {
            let (secret, key) = (path.secret_for(new[0]), client.leaf_private.duplicate());
            let joined = PrivateTree::from_welcome(&suite(), merged.tree(), new[0], key, sender, secret);
            self.private.push(joined.unwrap());
            self.clients.push(client);
        }
        self.tree = merged.tree().clone();
    }

    fn path(&mut self, committer: u32) -> NewPath {
        let leaf = LeafIndex(committer);
        let template = self.tree.leaf(leaf).unwrap().clone();
        let signer = self.clients[committer as usize].signer.private();
        NewPath::generate(&judge(), &self.tree, leaf, template, signer, MAX_LEAVES, &mut self.rng).unwrap()
    }
}
