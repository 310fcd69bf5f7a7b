//! What a commit does, for people and policies.

use crate::codec::{Encode, wire_struct};
use crate::credential::Credential;
use crate::crypto::KeyPackageRef;
use crate::crypto::SignaturePublicKey;
use crate::message::ReInit;
use crate::tree::{LeafIndex, LeafNode, RatchetTree};

use super::{Provisional, PublicEpoch};

/// A member of an epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its place.
    pub leaf: LeafIndex,
    /// Who it is.
    pub credential: Credential,
    /// Verifies what it signs: compare its fingerprint.
    pub signature_key: SignaturePublicKey,
}

wire_struct!(Member { leaf, credential, signature_key });

impl Member {
    pub(crate) fn new(leaf: LeafIndex, node: &LeafNode) -> Self {
        Self { leaf, credential: node.credential.clone(), signature_key: node.signature_key.clone() }
    }
}

/// A member whom a commit adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Added {
    /// The member.
    pub member: Member,
    /// The KeyPackage by which it was added: it is used up.
    pub key_package: KeyPackageRef,
}

wire_struct!(Added { member, key_package });

/// What a commit does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitSummary {
    /// Who committed; of an external commit, the joiner at its new leaf.
    pub committer: Member,
    /// Whether the committer joined by it.
    pub external: bool,
    /// Whom it adds.
    pub added: Vec<Added>,
    /// Whom it removes, as they were.
    pub removed: Vec<Member>,
    /// Whose leaf it replaces by an Update proposal.
    pub updated: Vec<Member>,
    /// Whether it replaces the extensions of the GroupContext.
    pub extensions_changed: bool,
    /// How many pre-shared keys it mixes in.
    pub psks: u32,
    /// The group that takes this one's place.
    pub reinit: Option<ReInit>,
}

wire_struct!(CommitSummary {
    committer,
    external,
    added,
    removed,
    updated,
    extensions_changed,
    psks,
    reinit,
});

/// What is kept of a commit where the state of its epoch is gone: not more than 8 KiB, whatever the commit did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCommit {
    /// Who committed.
    pub committer: LeafIndex,
    /// Who that is, unless the credential is unusually large.
    pub credential: Option<Credential>,
    /// Whether the committer joined by it.
    pub external: bool,
    /// Whom it adds: the first of them.
    pub added: Vec<Added>,
    /// How many it adds.
    pub added_count: u32,
    /// Whom it removes: the first of them.
    pub removed: Vec<Member>,
    /// How many it removes.
    pub removed_count: u32,
    /// How many leaves it replaces by Update proposals.
    pub updated_count: u32,
    /// Whether it replaces the extensions of the GroupContext.
    pub extensions_changed: bool,
    /// How many pre-shared keys it mixes in.
    pub psks: u32,
    /// Whether it ends the group.
    pub reinit: bool,
}

wire_struct!(KnownCommit {
    committer,
    credential,
    external,
    added,
    added_count,
    removed,
    removed_count,
    updated_count,
    extensions_changed,
    psks,
    reinit,
});

/// How many of those whom a commit adds, and of those whom it removes, a [`KnownCommit`] lists.
const LISTED: usize = 64;
/// Bytes of each of these lists: two of them and a credential stay below 8 KiB. A basic credential takes some 20, beside 50 for a
/// KeyPackageRef and the leaf, so that few lists are cut by it.
const LIST_BYTES: usize = 3 << 10;
/// Bytes of the committer's credential.
const CREDENTIAL_BYTES: usize = 1 << 10;

/// The first that fit.
fn bounded<T: Encode + Clone>(list: &[T]) -> Vec<T> {
    let mut room = LIST_BYTES;
    let mut fits = |item: &&T| {
        let left = room.checked_sub(item.to_bytes().len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    list.iter().take_while(|item| fits(item)).take(LISTED).cloned().collect()
}

impl CommitSummary {
    /// What is kept of it for long.
    pub fn known(&self) -> KnownCommit {
        let credential = &self.committer.credential;
        KnownCommit {
            committer: self.committer.leaf,
            credential: Some(credential.clone()).filter(|c| c.to_bytes().len() <= CREDENTIAL_BYTES),
            external: self.external,
            added: bounded(&self.added),
            added_count: self.added.len() as u32,
            removed: bounded(&self.removed),
            removed_count: self.removed.len() as u32,
            updated_count: self.updated.len() as u32,
            extensions_changed: self.extensions_changed,
            psks: self.psks,
            reinit: self.reinit.is_some(),
        }
    }
}

fn members(tree: &RatchetTree, leaves: impl Iterator<Item = LeafIndex>) -> Vec<Member> {
    leaves.filter_map(|leaf| Some(Member::new(leaf, tree.leaf(leaf)?))).collect()
}

impl CommitSummary {
    /// `tree` is the one after the update path.
    pub(crate) fn new(
        parent: &PublicEpoch,
        committer: LeafIndex,
        external: bool,
        provisional: &Provisional,
        tree: &RatchetTree,
    ) -> Self {
        let committer = members(tree, std::iter::once(committer)).pop();
        let added = members(tree, provisional.added.iter().map(|(leaf, _)| *leaf)).into_iter();
        let references = provisional.added.iter().map(|(_, added)| added.reference.clone());
        Self {
            committer: committer.expect("the committer has a leaf in the new tree"),
            external,
            added: added.zip(references).map(|(member, key_package)| Added { member, key_package }).collect(),
            removed: members(&parent.tree, provisional.removed.iter().copied()),
            updated: members(tree, provisional.updated.iter().copied()),
            extensions_changed: provisional.extensions != parent.context.extensions,
            psks: provisional.psks.len() as u32,
            reinit: provisional.reinit.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decode;
    use crate::extension::Extensions;
    use crate::registry::{CipherSuite, ProtocolVersion};

    /// A commit that adds, removes and updates many whose credentials have `size` bytes.
    fn summary(count: u32, size: usize) -> CommitSummary {
        let member = |leaf| Member {
            leaf: LeafIndex(leaf),
            credential: Credential::basic(vec![7; size]),
            signature_key: vec![7; 32].into(),
        };
        let added = |leaf| Added { member: member(leaf), key_package: vec![leaf as u8; 64].into() };
        let mut extensions = Extensions::new();
        extensions.set(crate::registry::ExtensionType(0xF0FF), vec![0; 20_000]);
        CommitSummary {
            committer: member(0),
            external: false,
            added: (0..count).map(added).collect(),
            removed: (0..count).map(member).collect(),
            updated: (0..count).map(member).collect(),
            extensions_changed: true,
            psks: u32::MAX,
            reinit: Some(ReInit {
                group_id: vec![0; 10_000],
                version: ProtocolVersion::MLS10,
                cipher_suite: CipherSuite::X25519_AES128,
                extensions,
            }),
        }
    }

    #[test]
    fn what_is_kept_for_long_is_bounded() {
        for (count, size) in [(0, 10), (10_000, 0), (10_000, 12), (100, 900), (100, 1 << 20), (1, 1 << 20)] {
            let summary = summary(count, size);
            let known = summary.known();
            let bytes = known.to_bytes();
            assert!(bytes.len() <= 8 << 10, "{count} of {size}: {}", bytes.len());
            assert_eq!(KnownCommit::from_bytes(&bytes), Ok(known.clone()));
            assert_eq!([known.added_count, known.removed_count, known.updated_count], [count; 3]);
            assert!(known.reinit && known.extensions_changed);
            assert!(summary.added.starts_with(&known.added) && summary.removed.starts_with(&known.removed));
            assert_eq!(known.credential.is_some(), size < 1 << 10);
        }
        // What is usual is there as a whole.
        let usual = summary(40, 5).known();
        assert_eq!((usual.added.len(), usual.removed.len()), (27, 40));
        assert_eq!(summary(1000, 5).known().removed.len(), 64);
    }
}
