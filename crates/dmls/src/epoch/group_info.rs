//! GroupInfo of an epoch (RFC 9420 s12.4.3): making it, and verifying one that arrived.

use crate::codec::Encode;
use crate::crypto::{HpkePublicKey, Suite};
use crate::error::{Error, Limit, Rule, Unsupported};
use crate::extension::{Extensions, ExternalPub, Ruleset};
use crate::key_schedule::{CommitId, EpochId};
use crate::message::GroupInfo;
use crate::registry::{ExtensionType, ProtocolVersion};
use crate::tree::{LeafIndex, RatchetTree};

use super::public::check_context_extensions;
use super::{Epoch, PublicEpoch, Rules};

/// For whom a GroupInfo of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// Those whom the commit adds, in its Welcome.
    Welcomed,
    /// Everybody else: joiners by external commits.
    Anyone,
    /// A delivery service that follows the group and has the tree.
    Server,
}

/// A GroupInfo of which everything public is verified: tree, leaves, signature, extensions.
#[derive(Debug)]
pub(crate) struct VerifiedGroupInfo {
    public: PublicEpoch,
    signer: LeafIndex,
    external_pub: Option<HpkePublicKey>,
    dmls_epoch: Option<EpochId>,
    commit_id: Option<CommitId>,
}

impl GroupInfo {
    /// The suite that it needs, if this build has it.
    pub(crate) fn suite(&self, rules: Rules<'_>) -> Result<Suite, Unsupported> {
        let code = self.group_context.cipher_suite;
        rules.config.provider.suite(code).ok_or(Unsupported::CipherSuite(code))
    }

    /// Verifies everything public (RFC 9420 s12.4.3.1). `tree` is needed where it has none.
    pub(crate) fn verify(
        self,
        rules: Rules<'_>,
        suite: Suite,
        tree: Option<&[u8]>,
    ) -> Result<VerifiedGroupInfo, Error> {
        let context = &self.group_context;
        if context.version != ProtocolVersion::MLS10 || context.cipher_suite != suite.code() {
            return Err(Rule::GroupInfoSuite.into());
        }
        check_context_extensions(rules, &context.group_id, &context.extensions)?;
        let bytes = tree.or(self.extensions.data(ExtensionType::RATCHET_TREE)).ok_or(Rule::TreeMissing)?;
        let max_members = rules.config.limits.members;
        // Who could not follow the group to the size that it may have would be split off one day.
        if Ruleset::of(&context.extensions)?.is_some_and(|ruleset| ruleset.members > max_members) {
            return Err(Limit::TreeSize.into());
        }
        let tree = RatchetTree::from_bytes(bytes, max_members)?;
        if tree.tree_hash(&suite) != context.tree_hash {
            return Err(Rule::TreeHash.into());
        }
        let signer = tree.leaf(self.signer).ok_or(Rule::GroupInfoSigner)?;
        self.verify_signature(&suite, &signer.signature_key).map_err(|_| Rule::GroupInfoSignature)?;
        let external_pub = self.extensions.content::<ExternalPub>()?.map(|content| content.external_pub);
        // Elsewhere these private-use types mean something else, or nothing.
        let is_marked = rules.config.wants_extension();
        let name = |of| if is_marked { self.name(&suite, of) } else { Ok(None) };
        let dmls_epoch = name(ExtensionType::DMLS_EPOCH)?.map(EpochId::from);
        let commit_id = name(ExtensionType::COMMIT_ID)?.map(CommitId::from);
        let public = PublicEpoch::new(suite, self.group_context, tree, self.confirmation_tag);
        public.tree.validate(&public.validator(rules, &public.context.extensions))?;
        Ok(VerifiedGroupInfo { public, signer: self.signer, external_pub, dmls_epoch, commit_id })
    }

    /// An extension of R13 or R15: as long as a hash, if it is there.
    pub(crate) fn name(&self, suite: &Suite, extension_type: ExtensionType) -> Result<Option<&[u8]>, Rule> {
        match self.extensions.data(extension_type) {
            Some(name) if name.len() != suite.nh() => Err(Rule::GroupInfoName),
            name => Ok(name),
        }
    }
}

impl VerifiedGroupInfo {
    pub(crate) fn public(&self) -> &PublicEpoch {
        &self.public
    }

    pub(crate) fn into_public(self) -> PublicEpoch {
        self.public
    }

    /// Who signed it.
    pub(crate) fn signer(&self) -> LeafIndex {
        self.signer
    }

    /// The key for external commits, if they are offered.
    pub(crate) fn external_pub(&self) -> Option<&HpkePublicKey> {
        self.external_pub.as_ref()
    }

    /// The epoch's name, where it is said (R13).
    pub(crate) fn dmls_epoch(&self) -> Option<&EpochId> {
        self.dmls_epoch.as_ref()
    }

    /// The commit that made the epoch, where it is said (R15).
    pub(crate) fn commit_id(&self) -> Option<&CommitId> {
        self.commit_id.as_ref()
    }
}

impl Epoch {
    /// A signed GroupInfo of this epoch. In groups with the extension of R9 it names the epoch and the commit that made it
    /// (R13, R15).
    pub(crate) fn group_info(&self, rules: Rules<'_>, recipient: Recipient) -> Result<GroupInfo, Error> {
        let mut extensions = Extensions::new();
        let with_tree = match recipient {
            Recipient::Welcomed => rules.config.ratchet_tree_in_welcome,
            Recipient::Anyone => true,
            Recipient::Server => false,
        };
        if with_tree {
            extensions.set(ExtensionType::RATCHET_TREE, self.public().tree.to_bytes());
        }
        if self.public().offers_external_joins(rules.config) {
            let pair = self.secrets.external.key_pair(self.suite())?;
            extensions.set_content(&ExternalPub { external_pub: pair.public });
        }
        if rules.config.wants_extension() {
            extensions.set(ExtensionType::DMLS_EPOCH, self.id.as_bytes().to_vec());
            if let Some(commit_id) = &self.commit_id {
                extensions.set(ExtensionType::COMMIT_ID, commit_id.as_bytes().to_vec());
            }
        }
        let mut group_info = GroupInfo {
            group_context: self.context().clone(),
            extensions,
            confirmation_tag: self.public().confirmation_tag.clone(),
            signer: self.own_leaf(),
            signature: Default::default(),
        };
        group_info.sign(self.suite(), self.signer.private())?;
        // MLSMessage: version and wire format.
        rules.config.limits.check_message(2 + 2 + group_info.encoded_length())?;
        Ok(group_info)
    }
}
