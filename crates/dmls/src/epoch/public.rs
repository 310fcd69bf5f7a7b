//! What everybody can know of an epoch: context, tree, transcript.

use crate::config::Config;
use crate::credential::{Operation, Presented};
use crate::crypto::{SignaturePublicKey, Suite, Tag};
use crate::error::{Error, Limit, Rule};
use crate::extension::{
    Extensions, ExternalJoins, ExternalSender, ExternalSenders, HandshakeFormat, RequiredCapabilities,
    Ruleset,
};
use crate::framing::{AuthenticatedContent, Content, FramedContent, Sender, Verified};
use crate::key_schedule::{GroupContext, confirmed_transcript_hash, interim_transcript_hash};
use crate::message::{Proposal, ReInit};
use crate::registry::{ExtensionType, WireFormat};
use crate::time::Time;
use crate::tree::{Judge, LeafIndex, LeafNode, LeafValidator, RatchetTree};

use super::Provisional;

/// The public part of an epoch.
#[derive(Clone, Debug)]
pub(crate) struct PublicEpoch {
    pub suite: Suite,
    pub context: GroupContext,
    pub tree: RatchetTree,
    pub confirmation_tag: Tag,
    pub interim_transcript_hash: Vec<u8>,
    /// What its children are judged by, if the group has one (R16).
    pub ruleset: Option<Ruleset>,
}

/// What validation depends on besides the group: the application's decisions, and for whom we judge.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub config: &'a Config,
    pub judge: Judge,
}

impl<'a> Rules<'a> {
    /// For what we make or join.
    pub(crate) fn new(config: &'a Config, now: Time) -> Self {
        Self { config, judge: Judge::Own(now) }
    }

    /// For what others made. A commit may come late, and a member who refuses it for that is lost to its branch.
    pub(crate) fn received(config: &'a Config) -> Self {
        Self { config, judge: Judge::Received }
    }
}

impl PublicEpoch {
    pub(crate) fn new(suite: Suite, context: GroupContext, tree: RatchetTree, confirmation_tag: Tag) -> Self {
        let interim = interim_transcript_hash(&suite, &context.confirmed_transcript_hash, &confirmation_tag);
        // It was read when the context was accepted, and never changes.
        let ruleset = Ruleset::of(&context.extensions).ok().flatten();
        Self { suite, context, tree, confirmation_tag, interim_transcript_hash: interim, ruleset }
    }

    /// The most leaves that a tree may have: as the ruleset says, the same for all; else as this client says.
    pub(crate) fn max_members(&self, rules: Rules<'_>) -> u32 {
        self.ruleset.as_ref().map_or(rules.config.limits.members, |ruleset| ruleset.members)
    }

    /// Whose fault a tree is that would have more leaves: with a ruleset, that of whoever makes it.
    pub(crate) fn too_many_members(&self, error: Error) -> Error {
        match error {
            Error::Limit(Limit::TreeSize) if self.ruleset.is_some() => Rule::Members.into(),
            error => error,
        }
    }

    /// How members' commits and proposals travel.
    pub(crate) fn handshake_format(&self, config: &Config) -> WireFormat {
        let is_private = match &self.ruleset {
            Some(ruleset) => ruleset.handshake == HandshakeFormat::PRIVATE,
            None => config.encrypt_handshake,
        };
        if is_private { WireFormat::PRIVATE_MESSAGE } else { WireFormat::PUBLIC_MESSAGE }
    }

    /// Whether a GroupInfo offers external joins.
    pub(crate) fn offers_external_joins(&self, config: &Config) -> bool {
        let none = |ruleset: &Ruleset| ruleset.external_joins == ExternalJoins::NONE;
        self.ruleset.as_ref().map_or(config.offer_external_joins, |ruleset| !none(ruleset))
    }

    /// Whether somebody may join it by an external commit (R16). A group without a ruleset takes what RFC 9420 takes.
    pub(crate) fn allows_external_joins(&self) -> bool {
        self.ruleset.as_ref().is_none_or(|ruleset| ruleset.external_joins != ExternalJoins::NONE)
    }

    /// A group has one ruleset, or none, as long as it lives (R16).
    pub(crate) fn check_ruleset_stays(&self, extensions: &Extensions) -> Result<(), Rule> {
        // Whoever drops the extension of R9 breaks another rule.
        let is_marked = |extensions: &Extensions| extensions.contains(ExtensionType::DMLS);
        let ruleset = |extensions: &Extensions| extensions.data(ExtensionType::RULESET).map(<[u8]>::to_vec);
        let both_marked = is_marked(&self.context.extensions) && is_marked(extensions);
        if both_marked && ruleset(&self.context.extensions) != ruleset(extensions) {
            return Err(Rule::Ruleset);
        }
        Ok(())
    }

    /// The successor keeps the extension of R9 and has a ruleset, if this group has them. Refused on receipt too: who made the
    /// successor without would use another key schedule than its members, and this group has ended by then.
    pub(crate) fn check_reinit(&self, reinit: &ReInit) -> Result<(), Rule> {
        if reinit.version < self.context.version {
            return Err(Rule::ReInitVersion);
        }
        let required = reinit.extensions.content::<RequiredCapabilities>();
        let required = required.map_err(|_| Rule::ExtensionContent)?.unwrap_or_default();
        let is_marked = self.context.extensions.contains(ExtensionType::DMLS);
        for kept in [ExtensionType::DMLS, ExtensionType::RULESET].into_iter().filter(|_| is_marked) {
            let has = reinit.extensions.contains(kept) && required.extension_types.contains(&kept);
            if self.context.extensions.contains(kept) && !has {
                return Err(Rule::ReInitExtensions);
            }
        }
        Ok(())
    }

    /// The ruleset says how members' commits and proposals are framed. What comes from outside is never encrypted.
    fn check_format(&self, content: &AuthenticatedContent) -> Result<(), Rule> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        let is_handshake = !matches!(content.content.content, Content::Application(_));
        let is_private = content.wire_format == WireFormat::PRIVATE_MESSAGE;
        let should_be = ruleset.handshake == HandshakeFormat::PRIVATE;
        if matches!(content.content.sender, Sender::Member(_)) && is_handshake && is_private != should_be {
            return Err(Rule::HandshakeFormat);
        }
        Ok(())
    }

    /// The member at a leaf.
    pub(crate) fn member(&self, leaf: LeafIndex) -> Result<&LeafNode, Rule> {
        self.tree.leaf(leaf).ok_or(Rule::Sender)
    }

    /// The validator of leaves in this group, under the extensions of a given epoch of it.
    pub(crate) fn validator<'a>(&'a self, rules: Rules<'a>, extensions: &'a Extensions) -> LeafValidator<'a> {
        LeafValidator {
            suite: &self.suite,
            group_id: &self.context.group_id,
            extensions,
            judge: rules.judge,
            max_lifetime: rules.config.max_lifetime,
            auth: &*rules.config.authentication,
        }
    }

    /// The key that must verify this content, by its sender's type (RFC 9420 s6.1).
    fn sender_key<'a>(&'a self, framed: &'a FramedContent) -> Result<SignaturePublicKey, Rule> {
        match (framed.sender, &framed.content) {
            (Sender::Member(leaf), _) => Ok(self.member(leaf)?.signature_key.clone()),
            (Sender::External(index), Content::Proposal(proposal)) => {
                if matches!(proposal, Proposal::Update(_) | Proposal::ExternalInit(_)) {
                    return Err(Rule::ExternalContent);
                }
                let senders = self.context.extensions.content::<ExternalSenders>();
                let senders = senders.ok().flatten().ok_or(Rule::ExternalSender)?;
                let sender = senders.0.get(index as usize).ok_or(Rule::ExternalSender)?;
                Ok(sender.signature_key.clone())
            }
            (Sender::External(_), _) => Err(Rule::ExternalContent),
            (Sender::NewMemberProposal, Content::Proposal(Proposal::Add(key_package))) => {
                Ok(key_package.leaf_node.signature_key.clone())
            }
            (Sender::NewMemberProposal, _) => Err(Rule::NewMemberProposal),
            (Sender::NewMemberCommit, Content::Commit(commit)) => {
                let path = commit.path.as_ref().ok_or(Rule::PathMissing)?;
                Ok(path.leaf_node.signature_key.clone())
            }
            (Sender::NewMemberCommit, _) => Err(Rule::NewMemberCommit),
        }
    }

    /// Checks that content belongs to this epoch and that its sender signed it.
    pub(crate) fn verify(&self, content: AuthenticatedContent) -> Result<Verified, Rule> {
        self.check_place(&content.content.group_id, content.content.epoch)?;
        self.check_format(&content)?;
        let key = self.sender_key(&content.content)?;
        content.verify(&self.suite, &key, &self.context)
    }

    pub(crate) fn check_place(&self, group_id: &[u8], epoch: u64) -> Result<(), Rule> {
        if group_id != self.context.group_id {
            return Err(Rule::GroupId);
        }
        if epoch != self.context.epoch {
            return Err(Rule::Epoch);
        }
        Ok(())
    }

    /// The provisional GroupContext (RFC 9420 s12.4.1): new tree and extensions, old confirmed transcript hash.
    pub(crate) fn provisional_context(&self, provisional: &Provisional, tree: &RatchetTree) -> GroupContext {
        GroupContext {
            epoch: self.context.epoch.saturating_add(1),
            tree_hash: tree.tree_hash(&self.suite).to_vec(),
            extensions: provisional.extensions.clone(),
            ..self.context.clone()
        }
    }

    /// The GroupContext of the epoch that a commit makes.
    pub(crate) fn next_context(
        &self,
        mut provisional: GroupContext,
        commit: &AuthenticatedContent,
    ) -> GroupContext {
        let input = commit.transcript_input();
        provisional.confirmed_transcript_hash =
            confirmed_transcript_hash(&self.suite, &self.interim_transcript_hash, &input);
        provisional
    }
}

/// Decodes and checks what a GroupContext may hold (RFC 9420 s13.4, s11.1; R9, R16).
pub(crate) fn check_context_extensions(
    rules: Rules<'_>,
    group_id: &[u8],
    extensions: &Extensions,
) -> Result<(), Error> {
    for wrong in [ExtensionType::APPLICATION_ID, ExtensionType::RATCHET_TREE, ExtensionType::EXTERNAL_PUB] {
        if extensions.contains(wrong) {
            return Err(Rule::ExtensionContent.into());
        }
    }
    let required = extensions.content::<RequiredCapabilities>().map_err(|_| Rule::ExtensionContent)?;
    let senders = extensions.content::<ExternalSenders>().map_err(|_| Rule::ExtensionContent)?;
    let config = rules.config;
    let is_valid = |sender: &ExternalSender| {
        config.authentication.is_valid(&Presented {
            credential: &sender.credential,
            signature_key: &sender.signature_key,
            group_id,
            operation: Operation::ExternalSender,
            now: rules.judge.now(),
        })
    };
    if !senders.is_none_or(|senders| senders.0.iter().all(is_valid)) {
        return Err(Rule::ExternalSenderCredential.into());
    }

    let marked = match extensions.data(ExtensionType::DMLS) {
        Some([]) => true,
        Some(_) => return Err(Rule::ExtensionContent.into()),
        None => false,
    };
    let required = required.unwrap_or_default().extension_types;
    if marked != config.wants_extension() || marked && !required.contains(&ExtensionType::DMLS) {
        return Err(Rule::KeySchedule.into());
    }
    if Ruleset::of(extensions)?.is_some() && !required.contains(&ExtensionType::RULESET) {
        return Err(Rule::Ruleset.into());
    }
    Ok(())
}
