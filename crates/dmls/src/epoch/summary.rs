//! What a commit does, for people and policies.

use crate::codec::wire_struct;
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
