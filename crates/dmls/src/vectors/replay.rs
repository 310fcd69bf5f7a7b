//! Playing a member of a transcript: what only that member could know is given from outside.

use std::sync::Arc;

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::crypto::{HpkePrivateKey, Secret, SignatureKeyPair, Suite};
use crate::epoch::{Epoch, PathKeys, PublicEpoch, Rules};
use crate::error::{Error, RecordsError, Rule, Usage};
use crate::framing::{Content, MlsMessage};
use crate::group::{Arrival, DmlsMessage, Founding, Group, Outcome, Plan, Step};
use crate::key_schedule::{EpochSecret, GroupContext, InitSecret, PskLookup};
use crate::tree::{LeafIndex, PrivateTree, RatchetTree};

/// What a committer alone knows of its commit.
pub(super) struct CommitterSecrets {
    pub leaf: Secret,
    pub first: Secret,
    /// Of an external commit.
    pub init: Option<Secret>,
}

impl CommitterSecrets {
    fn into_keys(self) -> PathKeys {
        PathKeys::Own { leaf: HpkePrivateKey(self.leaf), first: self.first, init: self.init.map(InitSecret) }
    }
}

/// Begins as the creator of a group, in epoch 0.
pub(super) fn create(
    suite: Suite,
    config: Config,
    context: &[u8],
    tree: &[u8],
    epoch_secret: Secret,
    leaf: Secret,
    signer: SignatureKeyPair,
) -> Result<Founding, Error> {
    let context = GroupContext::from_bytes(context)?;
    let tree = RatchetTree::from_bytes(tree, config.limits.members)?;
    if tree.tree_hash(&suite) != context.tree_hash {
        return Err(Rule::TreeHash.into());
    }
    let expanded = EpochSecret(epoch_secret).expand(&suite, config.schedule);
    let tag = expanded.secrets.confirmation_key.tag(&suite, &context.confirmed_transcript_hash);
    let public = PublicEpoch::new(suite, context, tree, tag);
    let private = PrivateTree::new(LeafIndex(0), HpkePrivateKey(leaf));
    let epoch = Epoch::new(public, expanded, private, Arc::new(signer), None);
    Ok(Group::begin(config, None, None, Box::new(epoch), None))
}

/// Joins by an external commit that was made already.
pub(super) fn join_external(
    config: Config,
    group_info: &[u8],
    message: &[u8],
    secrets: CommitterSecrets,
    signer: SignatureKeyPair,
) -> Result<Founding, Error> {
    let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(group_info)? else {
        return Err(Usage::MessageKind.into());
    };
    let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(message)?;
    let suite =
        config.provider.suite(info.group_context.cipher_suite).ok_or(RecordsError::Missing("the suite"))?;
    let rules = Rules::received(&config);
    let public = crate::epoch::verify_group_info(rules, suite, &info, None)?;
    // A stand-in for the parent: nothing of its secrets is used.
    let nothing = || Secret::zero(suite.nh());
    let expanded = EpochSecret(nothing()).expand(&suite, config.schedule);
    let private = PrivateTree::new(LeafIndex(u32::MAX), HpkePrivateKey(nothing()));
    let parent = Epoch::new(public, expanded, private, Arc::new(signer), None);
    let opened = parent.open(&config, message.clone())?;
    let psks = PskLookup(&|id| crate::group::joiner_psk(&config, id));
    let processed = parent.process_commit(rules, &opened.content, psks, secrets.into_keys())?;
    let epoch = processed.child.ok_or(Rule::WelcomeLeaf)?;
    Ok(Group::begin(config, Some(dmls_epoch), Some(processed.summary), epoch, Some(message)))
}

impl Group {
    /// Opens a message that we sent ourselves: our own ratchet still has the key, for somebody else used it.
    fn reopen(&self, message: &[u8]) -> Result<(MlsMessage, &Epoch, crate::epoch::Opened), Error> {
        let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(message)?;
        let epoch = self.full(&dmls_epoch)?;
        let opened = epoch.open(self.config(), message.clone())?;
        Ok((message, epoch, opened))
    }

    /// Processes a commit that we sent ourselves.
    pub(super) fn replay_commit(
        &mut self,
        message: &[u8],
        secrets: Option<CommitterSecrets>,
        arrival: Arrival,
    ) -> Result<Step<'_, Outcome>, Error> {
        let mut plan = Plan::default();
        let (message, epoch, opened) = self.reopen(message)?;
        let id = self.commit_id(&message);
        plan.advance(&epoch.id, opened.advance);
        let keys = secrets.map_or(PathKeys::Decrypt, CommitterSecrets::into_keys);
        let outcome = self.decide_commit(&mut plan, epoch, id, &opened.content, keys, arrival)?;
        Ok(plan.into_step(self, outcome))
    }

    /// Stores a proposal that we sent ourselves.
    pub(super) fn replay_proposal(
        &mut self,
        message: &[u8],
        leaf: Option<Secret>,
    ) -> Result<Step<'_, ()>, Error> {
        let mut plan = Plan::default();
        let (_, epoch, opened) = self.reopen(message)?;
        plan.advance(&epoch.id, opened.advance);
        let content = opened.content.get();
        let Content::Proposal(proposal) = &content.content.content else {
            return Err(Usage::MessageKind.into());
        };
        let reference = self.suite().proposal_ref(&content.to_bytes());
        let own_update = leaf.map(|leaf| Arc::new(HpkePrivateKey(leaf)));
        let sender = content.content.sender;
        self.store_proposal(&mut plan, epoch, &reference, proposal.clone(), sender, own_update)?;
        Ok(plan.into_step(self, ()))
    }
}
