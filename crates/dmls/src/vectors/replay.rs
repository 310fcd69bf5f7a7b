//! Playing a member of a transcript: what only that member could know is given from outside.

use std::sync::Arc;

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::crypto::{HpkePrivateKey, Secret, SignatureKeyPair, Suite};
use crate::epoch::{CommitKeys, Epoch, OwnUpdate, Rules, StoredProposal, Transition, resolve};
use crate::error::{Error, RecordsError, Rule};
use crate::forks::Edge;
use crate::framing::{Content, MlsMessage};
use crate::group::{
    Decision, DmlsMessage, Effect, Founding, Group, NewEpoch, Outcome, PendingCommit, Root, Step,
    next_proposal_order,
};
use crate::key_schedule::{CommitSecret, EpochSecret, GroupContext, InitSecret, PskLookup};
use crate::time::Time;
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
    config: Config,
    context: &[u8],
    tree: &[u8],
    epoch_secret: Secret,
    leaf: Secret,
    signer: SignatureKeyPair,
    now: Time,
) -> Result<Founding, Error> {
    let context = GroupContext::from_bytes(context)?;
    let suite = config.provider.suite(context.cipher_suite).ok_or(RecordsError::Missing("the suite"))?;
    let tree = RatchetTree::from_bytes(tree, config.limits.members)?;
    if tree.tree_hash(&suite) != context.tree_hash {
        return Err(Rule::TreeHash.into());
    }
    let expanded = EpochSecret(epoch_secret).expand(&suite, config.schedule);
    let (confirmed, _) = expanded.confirm_own(&suite, context);
    let private = PrivateTree::new(LeafIndex(0), HpkePrivateKey(leaf));
    // Its first GroupInfo is not in the transcript.
    let epoch = Epoch::new(confirmed, tree, private, Arc::new(signer), None, None);
    Ok(Group::begin(config, Root::default(), Box::new(epoch), now))
}

/// An external commit that was made already, with the epoch that it makes.
pub(super) struct ExternalReplay {
    pending: PendingCommit,
}

/// Processes an external commit as the one who made it.
pub(super) fn external_commit(
    config: &Config,
    now: Time,
    group_info: &[u8],
    message: &[u8],
    secrets: CommitterSecrets,
    signer: SignatureKeyPair,
) -> Result<ExternalReplay, Error> {
    let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(group_info)? else {
        return Err(Rule::MessageKind.into());
    };
    let bytes = message.to_vec();
    let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(message)?;
    let rules = Rules::received(config);
    let suite = info.suite(rules)?;
    let public = info.verify(rules, suite, None)?.into_public();
    let MlsMessage::PublicMessage(commit) = message.clone() else { return Err(Rule::MessageKind.into()) };
    let content = public.verify(commit.into_content()?)?;
    let list = resolve(content.commit()?, content.get().content.sender, |_| None)?;
    let transition = public.transition(rules, &content, &list)?;
    let (private, last) = secrets.open(&suite, &transition)?;
    let psks = PskLookup(&|id| crate::group::joiner_psk(config, id));
    let keys = CommitKeys {
        private,
        commit: CommitSecret::derive(&suite, Some(&last)),
        init: InitSecret(secrets.init.ok_or(RecordsError::Missing("the init secret"))?),
        psk: psks.psk_secret(&suite, &transition.provisional.psks)?,
    };
    let (commit, removes) = (transition.summary.clone(), transition.provisional.removed.clone());
    let id = message.commit_id(&suite);
    let tag = transition.tag.clone();
    let epoch = transition.finish(rules, keys, Arc::new(signer), id.clone())?;
    let pending = PendingCommit {
        message: bytes,
        authenticated_data: Vec::new(),
        welcome: None,
        parent: Some(dmls_epoch),
        edge: Edge { commit: id, tag, committer: removes.first().copied(), removes },
        commit,
        made: now,
        input: None,
        references: Vec::new(),
        given_up: false,
        epoch,
    };
    Ok(ExternalReplay { pending })
}

impl ExternalReplay {
    /// Begins a graph with it.
    pub(super) fn begin(self, config: Config) -> Founding {
        let PendingCommit { parent, edge, commit, made, epoch, .. } = self.pending;
        let root = Root { parent, edge: Some(edge), commit: Some(commit), ..Root::default() };
        Group::begin(config, root, epoch, made)
    }

    /// Adds it to a graph that we have.
    pub(super) fn rejoin(self, group: &mut Group) -> Result<Step<'_, NewEpoch>, Error> {
        Ok(group.decide_at_once(self.pending)?.into_step(group))
    }
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
        now: Time,
    ) -> Result<Step<'_, Outcome>, Error> {
        let (message, epoch, opened) = self.reopen(message)?;
        let id = message.commit_id(self.suite());
        let rules = Rules::received(self.config());
        let checked = epoch.check(rules, &opened.content)?;
        let psk = self.with_psks(&epoch.id, |psks| checked.psk_secret(psks))?;
        let (private, last) = match secrets {
            Some(secrets) => {
                let (private, last) = secrets.open(self.suite(), &checked.transition)?;
                (private, Some(last))
            }
            None => checked.open_path()?,
        };
        let edge = self.edge(epoch, id.clone(), opened.content.get())?;
        let processed = checked.finish(private, last, psk, id)?;
        let decision = self.decide_processed(epoch, edge, processed, Vec::new(), now)?;
        let advance = opened.advance.map(|advance| Effect::Advance(epoch.id.clone(), advance));
        Ok(decision.after(advance).into_step(self))
    }

    /// Stores a proposal that we sent ourselves.
    pub(super) fn replay_proposal(
        &mut self,
        message: &[u8],
        leaf: Option<Secret>,
    ) -> Result<Step<'_, ()>, Error> {
        let (message, epoch, opened) = self.reopen(message)?;
        let content = opened.content.get();
        let Content::Proposal(proposal) = &content.content.content else {
            return Err(Rule::MessageKind.into());
        };
        let reference = self.suite().proposal_ref(&content.to_bytes());
        let stored = StoredProposal {
            proposal: proposal.clone(),
            sender: content.content.sender,
            order: next_proposal_order(epoch),
            own_update: leaf
                .map(|leaf| OwnUpdate { encryption: Arc::new(HpkePrivateKey(leaf)), signer: None }),
            message: matches!(message, MlsMessage::PublicMessage(_)).then(|| message.to_bytes()),
        };
        let id = epoch.id.clone();
        let advance = opened.advance.map(|advance| Effect::Advance(id.clone(), advance));
        let store = Effect::StoreProposal(id, reference, Box::new(stored));
        Ok(Decision::new((), advance.into_iter().chain([store]).collect()).into_step(self))
    }
}
