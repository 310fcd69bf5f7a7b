//! What everybody can know of an epoch: context, tree, transcript.

use crate::config::Config;
use crate::credential::{Operation, Presented};
use crate::crypto::{SignaturePublicKey, Suite, Tag};
use crate::error::{Error, Rule};
use crate::extension::{ExternalSender, ExternalSenders};
use crate::framing::{AuthenticatedContent, Content, FramedContent, Sender, Verified};
use crate::key_schedule::{GroupContext, confirmed_transcript_hash, interim_transcript_hash};
use crate::message::Proposal;
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
        Self { suite, context, tree, confirmation_tag, interim_transcript_hash: interim }
    }

    /// The member at a leaf.
    pub(crate) fn member(&self, leaf: LeafIndex) -> Result<&LeafNode, Rule> {
        self.tree.leaf(leaf).ok_or(Rule::Sender)
    }

    /// The validator of leaves in this group, under the extensions of a given epoch of it.
    pub(crate) fn validator<'a>(
        &'a self,
        rules: Rules<'a>,
        extensions: &'a crate::extension::Extensions,
    ) -> LeafValidator<'a> {
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
        provisional.confirmed_transcript_hash = confirmed_transcript_hash(
            &self.suite,
            &self.interim_transcript_hash,
            commit.wire_format,
            &commit.content,
            &commit.auth.signature,
        );
        provisional
    }
}

/// Decodes and checks what a GroupContext may hold (RFC 9420 s13.4, s11.1; R9).
pub(crate) fn check_context_extensions(
    rules: Rules<'_>,
    group_id: &[u8],
    extensions: &crate::extension::Extensions,
) -> Result<(), Error> {
    use crate::extension::RequiredCapabilities;
    use crate::registry::ExtensionType;

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
    let required = required.is_some_and(|r| r.extension_types.contains(&ExtensionType::DMLS));
    if marked != config.wants_extension() || marked && !required {
        return Err(Rule::KeySchedule.into());
    }
    Ok(())
}
