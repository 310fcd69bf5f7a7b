//! Validation of leaves (RFC 9420 s7.3) and of whole trees (s12.4.3.1).

use crate::credential::{AuthenticationService, Operation, Presented};
use crate::crypto::{CryptoError, Suite};
use crate::error::Rule;
use crate::extension::{Extensions, RequiredCapabilities};
use crate::registry::ProtocolVersion;
use crate::time::{Lifetime, Time};

use super::subtree::{Content, Subtree};
use super::tree_hash::below;
use super::{LeafIndex, LeafNode, LeafNodeSource, LeafPlace, RatchetTree};

/// For whom something is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// For ourselves, now: what we create, add, commit or join. Our clock and our opinions count, and what RFC 9420 asks of
    /// senders.
    Own(Time),
    /// For the group: what others made. Whoever refuses what the other members accept is split off, so only that counts which
    /// RFC 9420 asks of receivers and all of them see alike: GroupContext, tree and message.
    Received,
}

impl Judge {
    /// The time, where it counts.
    pub(crate) fn now(self) -> Option<Time> {
        match self {
            Self::Own(now) => Some(now),
            Self::Received => None,
        }
    }
}

/// A leaf that a [`LeafValidator`] judged valid for its place: nothing else comes into a tree, but for whole trees that are
/// validated when they are there.
#[derive(Clone, Copy)]
pub(crate) struct ValidLeaf<'a>(&'a LeafNode);

impl<'a> ValidLeaf<'a> {
    pub(super) fn get(self) -> &'a LeafNode {
        self.0
    }

    /// For those who test or replay trees apart from groups.
    #[cfg(any(test, feature = "vectors"))]
    pub(crate) fn unchecked(leaf: &'a LeafNode) -> Self {
        Self(leaf)
    }
}

/// Validates leaves for one group. What concerns other members (unique keys, credential types) is checked on the
/// tree, after all changes.
#[derive(Clone, Copy)]
pub(crate) struct LeafValidator<'a> {
    pub suite: &'a Suite,
    pub group_id: &'a [u8],
    /// Of the GroupContext.
    pub extensions: &'a Extensions,
    pub judge: Judge,
    /// In seconds.
    pub max_lifetime: u64,
    pub auth: &'a dyn AuthenticationService,
}

impl LeafValidator<'_> {
    /// The leaf of a key package; [`crate::key_package`] judges the rest.
    pub(crate) fn key_package_leaf<'l>(
        &self,
        leaf: &'l LeafNode,
        operation: Operation,
    ) -> Result<ValidLeaf<'l>, Rule> {
        let LeafNodeSource::KeyPackage(lifetime) = &leaf.source else { return Err(Rule::LeafSource) };
        self.check_lifetime(lifetime)?;
        // s7.3: "If the LeafNode appears in a message being sent by the client [..] the client MUST verify that the current
        // time is within the range". On receipt "this check is not mandatory because the LeafNode might have expired in the
        // time between when the message was sent and when it was received".
        if self.judge.now().is_some_and(|now| !lifetime.contains(now)) {
            return Err(Rule::LeafLifetime);
        }
        // The signature of such a leaf does not cover its place.
        self.check(leaf, LeafIndex(0), None, operation)
    }

    /// A leaf in an Update proposal, for the member at `index` whose leaf is `old`.
    pub(crate) fn update<'l>(
        &self,
        leaf: &'l LeafNode,
        index: LeafIndex,
        old: &LeafNode,
    ) -> Result<ValidLeaf<'l>, Rule> {
        if leaf.source != LeafNodeSource::Update {
            return Err(Rule::LeafSource);
        }
        self.check(leaf, index, Some(old), Operation::Update)
    }

    /// A leaf in an update path, for the committer at `index`; `old` is what it replaces, which only a joiner lacks.
    ///
    /// RFC 9420 s7.5: "it MUST adhere to the same restrictions as LeafNodes used in Update proposals".
    pub(crate) fn commit<'l>(
        &self,
        leaf: &'l LeafNode,
        index: LeafIndex,
        old: Option<&LeafNode>,
    ) -> Result<ValidLeaf<'l>, Rule> {
        if !matches!(leaf.source, LeafNodeSource::Commit(_)) {
            return Err(Rule::LeafSource);
        }
        let operation = if old.is_some() { Operation::Commit } else { Operation::ExternalCommit };
        self.check(leaf, index, old, operation)
    }

    /// A leaf in the tree of a group that we join, or create: by its operation. That its lifetime is over does not count: a
    /// member who never commits would close the group to newcomers one day.
    pub(crate) fn in_tree<'l>(
        &self,
        leaf: &'l LeafNode,
        index: LeafIndex,
        operation: Operation,
    ) -> Result<ValidLeaf<'l>, Rule> {
        if let LeafNodeSource::KeyPackage(lifetime) = &leaf.source {
            self.check_lifetime(lifetime)?;
        }
        self.check(leaf, index, None, operation)
    }

    /// "Applications MUST define a maximum total lifetime that is acceptable for a LeafNode, and reject any LeafNode where the
    /// total lifetime is longer than this duration" (s7.2).
    fn check_lifetime(&self, lifetime: &Lifetime) -> Result<(), Rule> {
        let is_longer = lifetime.seconds().is_some_and(|seconds| seconds > self.max_lifetime);
        if is_longer { Err(Rule::LeafLifetimeLength) } else { Ok(()) }
    }

    /// What holds for every leaf, the cheap checks first; `old` is the leaf of the same member that it replaces.
    fn check<'l>(
        &self,
        leaf: &'l LeafNode,
        index: LeafIndex,
        old: Option<&LeafNode>,
        operation: Operation,
    ) -> Result<ValidLeaf<'l>, Rule> {
        if old.is_some_and(|old| old.encryption_key == leaf.encryption_key) {
            return Err(Rule::LeafKeyUnchanged);
        }
        self.check_capabilities(leaf, operation)?;
        self.suite.check_hpke_public_key(&leaf.encryption_key).map_err(|_| Rule::LeafEncryptionKey)?;
        let place = LeafPlace { group_id: self.group_id, leaf: index };
        leaf.verify_signature(self.suite, place).map_err(|e| match e {
            CryptoError::InvalidKey => Rule::LeafSignatureKey,
            _ => Rule::LeafSignature,
        })?;
        self.check_credential(leaf, old, operation)?;
        Ok(ValidLeaf(leaf))
    }

    fn check_capabilities(&self, leaf: &LeafNode, operation: Operation) -> Result<(), Rule> {
        let capabilities = &leaf.capabilities;
        if !capabilities.supports_credential(leaf.credential.credential_type()) {
            return Err(Rule::LeafOwnCredential);
        }
        // s11.1: "all members of the group need to support the cipher suite and protocol version in use". That is for those who
        // bring a client in: s7.3 does not ask receivers to look, and of a member, that it takes part shows it.
        use Operation::{Add, AddItself, Create, ExternalCommit};
        let do_we_bring_it_in =
            self.judge != Judge::Received && matches!(operation, Create | Add | AddItself | ExternalCommit);
        if do_we_bring_it_in
            && !(capabilities.versions.contains(&ProtocolVersion::MLS10)
                && capabilities.cipher_suites.contains(&self.suite.code()))
        {
            return Err(Rule::LeafSuite);
        }
        if !capabilities.support_all(&leaf.extensions) {
            return Err(Rule::LeafExtensions);
        }
        let required = self.extensions.content::<RequiredCapabilities>();
        let required = required.map_err(|_| Rule::ExtensionContent)?;
        if required.is_some_and(|required| !capabilities.meets(&required)) {
            return Err(Rule::LeafRequiredCapabilities);
        }
        if capabilities.support_all(self.extensions) { Ok(()) } else { Err(Rule::LeafGroupExtensions) }
    }

    /// "Whenever a new credential is introduced in the group, it MUST be validated with the AS" (s5.3.1); one that was there
    /// with this key is not new.
    fn check_credential(
        &self,
        leaf: &LeafNode,
        old: Option<&LeafNode>,
        operation: Operation,
    ) -> Result<(), Rule> {
        let is_known =
            |old: &LeafNode| old.credential == leaf.credential && old.signature_key == leaf.signature_key;
        if old.is_some_and(is_known) {
            return Ok(());
        }
        let presented = self.presented(leaf, operation);
        let is_valid = self.auth.is_valid(&presented)
            && old.is_none_or(|old| self.auth.is_successor(&old.credential, &presented));
        if is_valid { Ok(()) } else { Err(Rule::LeafCredential) }
    }

    /// A leaf's credential, for the authentication service.
    pub(crate) fn presented<'a>(&'a self, leaf: &'a LeafNode, operation: Operation) -> Presented<'a> {
        Presented {
            credential: &leaf.credential,
            signature_key: &leaf.signature_key,
            group_id: self.group_id,
            operation,
            now: self.judge.now(),
        }
    }
}

impl RatchetTree {
    /// Validates the tree of a group that we join (RFC 9420 s12.4.3.1); its tree hash is compared by the caller.
    pub(crate) fn validate(&self, validator: &LeafValidator<'_>) -> Result<(), Rule> {
        self.check_parent_nodes(validator.suite)?;
        self.leaves()
            .try_for_each(|(index, leaf)| validator.in_tree(leaf, index, Operation::Join).map(drop))?;
        self.check_credential_support()
    }

    /// What the parent nodes of a tree that we join must fulfil, and that no key is there twice.
    pub(crate) fn check_parent_nodes(&self, suite: &Suite) -> Result<(), Rule> {
        check_unmerged_leaves(&self.root, &[])?;
        self.check_unique_keys()?;
        for parent in self.subtrees().filter_map(Subtree::parent_node) {
            suite.check_hpke_public_key(&parent.encryption_key).map_err(|_| Rule::ParentKey)?;
        }
        self.check_parent_hashes(suite)
    }

    /// "Verify that the credential type is supported by all members of the group" (s7.3), for all leaves at once.
    pub(crate) fn check_credential_support(&self) -> Result<(), Rule> {
        let Some(summary) = self.root.credentials() else { return Ok(()) };
        let supported = summary.used.iter().all(|used| summary.supported.binary_search(used).is_ok());
        if supported { Ok(()) } else { Err(Rule::LeafCredentialSupport) }
    }
}

/// Each unmerged leaf is there, below its node, and unmerged in every non-blank node between; the lists are sorted.
///
/// `expected` are the unmerged leaves of the nearest non-blank node above, as far as they are below this one.
fn check_unmerged_leaves(subtree: &Subtree, expected: &[LeafIndex]) -> Result<(), Rule> {
    let unmerged = match subtree.content() {
        Content::Blank if expected.is_empty() => return Ok(()),
        Content::Blank => return Err(Rule::UnmergedLeaves),
        Content::Leaf(_) => return Ok(()),
        Content::Parent { node: None, .. } => expected,
        Content::Parent { node: Some(node), .. } => {
            let own = &node.unmerged_leaves[..];
            if !own.is_sorted_by(|one, next| one < next)
                || below(subtree.index(), own).len() != own.len()
                || !expected.iter().all(|leaf| own.binary_search(leaf).is_ok())
            {
                return Err(Rule::UnmergedLeaves);
            }
            own
        }
    };
    for child in subtree.stored_children().into_iter().flatten() {
        check_unmerged_leaves(child, below(child.index(), unmerged))?;
    }
    Ok(())
}
