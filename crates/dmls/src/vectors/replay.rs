//! Playing a member of a transcript: what only that member could know is given from outside.

use std::sync::Arc;

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::crypto::{HpkePrivateKey, Secret, SignatureKeyPair, Suite};
use crate::epoch::{CommitKeys, Epoch, Rules, Transition, resolve};
use crate::error::{Error, RecordsError, Rule, Usage};
use crate::framing::{Content, MlsMessage};
use crate::group::{Arrival, DmlsMessage, Founding, Group, Outcome, Plan, Step};
use crate::key_schedule::{CommitSecret, EpochSecret, GroupContext, InitSecret, PskLookup};
use crate::tree::{LeafIndex, PrivateTree, RatchetTree};

/// What a committer alone knows of its commit.
pub(super) struct CommitterSecrets {
    pub leaf: Secret,
    pub first: Secret,
    /// Of an external commit.
    pub init: Option<Secret>,
}

impl CommitterSecrets {
    /// The private keys that they lead to in the tree after a commit, and `path_secret[n]`.
    fn open(&self, suite: &Suite, transition: &Transition<'_>) -> Result<(PrivateTree, Secret), Rule> {
        let leaf = HpkePrivateKey(self.leaf.duplicate());
        let tree = transition.tree();
        PrivateTree::from_first_path_secret(suite, tree, transition.committer, leaf, &self.first)
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
    let (confirmed, _) = expanded.confirm_own(&suite, context);
    let private = PrivateTree::new(LeafIndex(0), HpkePrivateKey(leaf));
    // Its first GroupInfo is not in the transcript.
    let epoch = Epoch::new(confirmed, tree, private, Arc::new(signer), None, None);
    Ok(Group::begin(config, None, None, Box::new(epoch), None))
}

/// Joins by an external commit that was made already.
pub(super) fn join_external(
    config: Config,
    arrival: Arrival,
    group_info: &[u8],
    message: &[u8],
    secrets: CommitterSecrets,
    signer: SignatureKeyPair,
) -> Result<Founding, Error> {
    let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(group_info)? else {
        return Err(Usage::MessageKind.into());
    };
    let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(message)?;
    let rules = Rules::received(&config, arrival.now);
    let suite = info.suite(rules)?;
    let public = info.verify(rules, suite, None)?.into_public();
    let MlsMessage::PublicMessage(commit) = message.clone() else { return Err(Usage::MessageKind.into()) };
    let content = public.verify(commit.into_content()?)?;
    let list = resolve(content.commit()?, content.get().content.sender, |_| None)?;
    let transition = public.transition(rules, &content, &list)?;
    let (private, last) = secrets.open(&suite, &transition)?;
    let psks = PskLookup(&|id| crate::group::joiner_psk(&config, id));
    let keys = CommitKeys {
        private,
        commit: CommitSecret::derive(&suite, Some(&last)),
        init: InitSecret(secrets.init.ok_or(RecordsError::Missing("the init secret"))?),
        psk: psks.psk_secret(&suite, &transition.provisional.psks)?,
    };
    let summary = transition.summary.clone();
    let epoch = transition.finish(rules, keys, Arc::new(signer), message.commit_id(&suite))?;
    Ok(Group::begin(config, Some(dmls_epoch), Some(summary), epoch, Some(message)))
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
        let rules = Rules::received(self.config(), arrival.now);
        let checked = epoch.check(rules, &opened.content)?;
        let psk = self.with_psks(&epoch.id, |psks| checked.psk_secret(psks))?;
        let (private, last) = match secrets {
            Some(secrets) => {
                let (private, last) = secrets.open(self.suite(), &checked.transition)?;
                (private, Some(last))
            }
            None => checked.open_path()?,
        };
        let processed = checked.finish(private, last, psk, id.clone())?;
        let outcome = self.place_commit(&mut plan, epoch, id, &opened.content, processed, arrival)?;
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
