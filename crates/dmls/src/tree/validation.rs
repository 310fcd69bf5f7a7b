//! Validation of leaves (RFC 9420 s7.3), of key packages (s10.1) and of whole trees (s12.4.3.1).

use crate::credential::AuthenticationService;
use crate::crypto::Suite;
use crate::error::Rule;
use crate::extension::{Extensions, RequiredCapabilities};
use crate::key_package::KeyPackage;
use crate::registry::ProtocolVersion;
use crate::time::{Lifetime, Time};

use super::subtree::{Content, Subtree};
use super::tree_hash::below;
use super::{LeafIndex, LeafNode, LeafNodeSource, LeafPlace, RatchetTree};

/// Whether the current time must be within the lifetime of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifetimeCheck {
    /// "it is RECOMMENDED that the client verifies that the current time is within the range" (s7.3).
    Now,
    /// Only its length counts. "This check is not mandatory because the LeafNode might have expired in the time between
    /// when the message was sent and when it was received" (s7.3); and a member who never commits would otherwise close
    /// the group to newcomers one day.
    LengthOnly,
}

/// Validates leaves for one group. What concerns other members (unique keys, credential types) is checked on the
/// tree, after all changes.
#[derive(Clone, Copy)]
pub(crate) struct LeafValidator<'a> {
    pub suite: &'a Suite,
    pub group_id: &'a [u8],
    /// Of the GroupContext.
    pub extensions: &'a Extensions,
    pub now: Time,
    /// Of key packages.
    pub lifetimes: LifetimeCheck,
    /// In seconds.
    pub max_lifetime: u64,
    pub auth: &'a dyn AuthenticationService,
}

impl LeafValidator<'_> {
    /// A key package, downloaded or in an Add proposal (RFC 9420 s10.1).
    pub(crate) fn key_package(&self, key_package: &KeyPackage) -> Result<(), Rule> {
        let leaf = &key_package.leaf_node;
        if key_package.version != ProtocolVersion::MLS10 || key_package.cipher_suite != self.suite.code() {
            return Err(Rule::KeyPackageVersion);
        }
        if leaf.encryption_key == key_package.init_key {
            return Err(Rule::KeyPackageInitKey);
        }
        let LeafNodeSource::KeyPackage(lifetime) = &leaf.source else { return Err(Rule::LeafSource) };
        self.check_lifetime(lifetime, self.lifetimes)?;
        if !leaf.capabilities.support_all(&key_package.extensions) {
            return Err(Rule::KeyPackageExtensions);
        }
        // The signature of such a leaf does not cover its place.
        self.check(leaf, LeafIndex(0))?;
        key_package.verify_signature(self.suite).map_err(|_| Rule::KeyPackageSignature)
    }

    /// A leaf in an Update proposal, for the member at `index` whose leaf is `old`.
    pub(crate) fn update(&self, leaf: &LeafNode, index: LeafIndex, old: &LeafNode) -> Result<(), Rule> {
        if leaf.source != LeafNodeSource::Update {
            return Err(Rule::LeafSource);
        }
        self.check_replacement(leaf, old)?;
        self.check(leaf, index)
    }

    /// A leaf in an update path, for the committer at `index`; `old` is what it replaces, which only a joiner lacks.
    ///
    /// RFC 9420 s7.5: "it MUST adhere to the same restrictions as LeafNodes used in Update proposals".
    pub(crate) fn commit(
        &self,
        leaf: &LeafNode,
        index: LeafIndex,
        old: Option<&LeafNode>,
    ) -> Result<(), Rule> {
        if !matches!(leaf.source, LeafNodeSource::Commit(_)) {
            return Err(Rule::LeafSource);
        }
        if let Some(old) = old {
            self.check_replacement(leaf, old)?;
        }
        self.check(leaf, index)
    }

    /// A leaf in a tree that we join.
    pub(crate) fn in_tree(
        &self,
        leaf: &LeafNode,
        index: LeafIndex,
        lifetimes: LifetimeCheck,
    ) -> Result<(), Rule> {
        if let LeafNodeSource::KeyPackage(lifetime) = &leaf.source {
            self.check_lifetime(lifetime, lifetimes)?;
        }
        self.check(leaf, index)
    }

    fn check_replacement(&self, leaf: &LeafNode, old: &LeafNode) -> Result<(), Rule> {
        if leaf.encryption_key == old.encryption_key {
            return Err(Rule::LeafKeyUnchanged);
        }
        if !self.auth.is_successor(&old.credential, &leaf.credential) {
            return Err(Rule::LeafCredential);
        }
        Ok(())
    }

    /// "Applications MUST define a maximum total lifetime that is acceptable for a LeafNode" (s7.2).
    fn check_lifetime(&self, lifetime: &Lifetime, check: LifetimeCheck) -> Result<(), Rule> {
        let seconds = lifetime.seconds().ok_or(Rule::LeafLifetime)?;
        if seconds > self.max_lifetime {
            return Err(Rule::LeafLifetimeLength);
        }
        if check == LifetimeCheck::Now && !lifetime.contains(self.now) {
            return Err(Rule::LeafLifetime);
        }
        Ok(())
    }

    /// What holds for every leaf, the cheap checks first.
    fn check(&self, leaf: &LeafNode, index: LeafIndex) -> Result<(), Rule> {
        let capabilities = &leaf.capabilities;
        if !capabilities.supports_credential(leaf.credential.credential_type()) {
            return Err(Rule::LeafOwnCredential);
        }
        // s11.1: "all members of the group need to support the cipher suite and protocol version in use".
        if !capabilities.versions.contains(&ProtocolVersion::MLS10)
            || !capabilities.cipher_suites.contains(&self.suite.code())
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
        if !capabilities.support_all(self.extensions) {
            return Err(Rule::LeafGroupExtensions);
        }
        let place = LeafPlace { group_id: self.group_id, leaf: index };
        leaf.verify_signature(self.suite, place).map_err(|_| Rule::LeafSignature)?;
        if !self.auth.is_valid(&leaf.credential, &leaf.signature_key) {
            return Err(Rule::LeafCredential);
        }
        Ok(())
    }
}

impl RatchetTree {
    /// Validates the tree of a group that we join (RFC 9420 s12.4.3.1); its tree hash is compared by the caller.
    pub(crate) fn validate(
        &self,
        validator: &LeafValidator<'_>,
        lifetimes: LifetimeCheck,
    ) -> Result<(), Rule> {
        self.check_parent_nodes(validator.suite)?;
        self.check_credential_support()?;
        self.leaves().try_for_each(|(index, leaf)| validator.in_tree(leaf, index, lifetimes))
    }

    /// What the parent nodes of a tree that we join must fulfil, and that no key is there twice.
    pub(crate) fn check_parent_nodes(&self, suite: &Suite) -> Result<(), Rule> {
        check_unmerged_leaves(&self.root, &[])?;
        self.check_unique_keys()?;
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
