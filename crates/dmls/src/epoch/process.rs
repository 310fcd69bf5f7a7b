//! Processing a commit (RFC 9420 s12.4.2): from one epoch to the next, changing neither.
//!
//! The steps are values, each made by the one before: [`PublicEpoch::transition`] checks what needs no secret,
//! [`Checked`] adds what this member knows, [`Transition::finish`] derives the child and compares the confirmation tag.

use std::sync::Arc;

use crate::codec::Encode;
use crate::crypto::{ProposalRef, Secret, SignatureKeyPair, Suite, Tag};
use crate::error::{Error, Rule};
use crate::framing::{AuthenticatedContent, Content, Sender, Verified};
use crate::key_schedule::{
    CommitConfirmation, CommitId, CommitSecret, Expanded, GroupContext, InitSecret, JoinerSecret, PskLookup,
    PskSecret, WelcomeSecret, external_init_receiver,
};
use crate::message::{Commit, Proposal, ProposalOrRef};
use crate::pprf::Puncture;
use crate::tree::{LeafIndex, MergedPath, PrivateTree, RatchetTree, UpdatePath};

use super::{CommitSummary, Committer, Epoch, OwnUpdate, Proposed, Provisional, PublicEpoch, Rules};

/// Where a valid commit leads.
#[derive(Debug)]
pub(crate) enum ProcessedCommit {
    /// To a child.
    Child {
        epoch: Box<Epoch>,
        summary: CommitSummary,
        /// What deriving the child must erase in the parent.
        puncture: Option<Puncture>,
    },
    /// Out of the group: its epoch can't be computed, so its confirmation tag is no more than a claim.
    RemovesUs { summary: CommitSummary },
}

/// The public effect of a commit, the same for members and for observers: all that can be checked without a secret holds.
pub(crate) struct Transition<'c> {
    suite: Suite,
    pub committer: LeafIndex,
    pub provisional: Provisional,
    path: Option<MergedPath<'c>>,
    /// With the new tree, still with the old confirmed transcript hash.
    provisional_context: GroupContext,
    /// Final.
    pub context: GroupContext,
    /// As the committer claims it.
    pub tag: Tag,
    pub summary: CommitSummary,
}

/// A commit that passed all checks but that of its confirmation tag, with what this member has to follow it.
pub(crate) struct Checked<'a> {
    parent: &'a Epoch,
    rules: Rules<'a>,
    /// Of ours, if the commit holds one.
    own_update: Option<OwnUpdate>,
    pub transition: Transition<'a>,
}

/// What leads into the epoch that a commit makes.
pub(crate) struct CommitKeys {
    /// What we know of the new tree.
    pub private: PrivateTree,
    pub commit: CommitSecret,
    pub init: InitSecret,
    pub psk: PskSecret,
}

/// The secrets of a new epoch.
pub(crate) struct DerivedEpoch {
    pub expanded: Expanded,
    pub joiner: JoinerSecret,
    pub welcome: WelcomeSecret,
}

impl DerivedEpoch {
    /// The last part of the ladder, the same for every commit.
    pub(crate) fn derive(
        rules: Rules<'_>,
        suite: &Suite,
        context: &GroupContext,
        init: &InitSecret,
        commit: &CommitSecret,
        psk: &PskSecret,
    ) -> Self {
        let config = rules.config;
        let joiner = JoinerSecret::derive(suite, init, commit, context);
        let intermediate = joiner.with_psk(suite, psk);
        let epoch_secret = intermediate.epoch_secret(suite, context);
        for (label, secret) in [
            ("init_secret", init.as_bytes()),
            ("commit_secret", commit.as_bytes()),
            ("psk_secret", psk.as_bytes()),
            ("joiner_secret", joiner.as_bytes()),
            ("epoch_secret", epoch_secret.as_bytes()),
        ] {
            config.log(label, secret);
        }
        let welcome = intermediate.welcome_secret(suite);
        let expanded = epoch_secret.expand(suite, config.schedule);
        config.log("dmls_epoch", expanded.keys.id.as_bytes());
        Self { expanded, joiner, welcome }
    }
}

/// The proposals of a commit, those by reference looked up.
pub(crate) fn resolve<'a>(
    commit: &'a Commit,
    sender: Sender,
    stored: impl Fn(&ProposalRef) -> Option<(&'a Proposal, Sender)>,
) -> Result<Vec<Proposed<'a>>, Rule> {
    let resolve = |item: &'a ProposalOrRef| match item {
        ProposalOrRef::Proposal(proposal) => Ok(Proposed { proposal, sender, reference: None }),
        ProposalOrRef::Reference(_) if sender == Sender::NewMemberCommit => Err(Rule::ExternalReference),
        ProposalOrRef::Reference(reference) => {
            let (proposal, sender) = stored(reference).ok_or(Rule::ProposalUnknown)?;
            Ok(Proposed { proposal, sender, reference: Some(reference) })
        }
    };
    commit.proposals.iter().map(resolve).collect()
}

impl PublicEpoch {
    /// Everything about a commit that needs no secret: proposals, path, tree, contexts. `list` are its proposals.
    pub(crate) fn transition<'c>(
        &self,
        rules: Rules<'_>,
        content: &'c Verified,
        list: &[Proposed<'_>],
    ) -> Result<Transition<'c>, Error> {
        let commit = content.commit()?;
        let content = content.get();
        let tag = content.auth.confirmation_tag.clone().ok_or(Rule::ConfirmationTag)?;
        if tag.as_bytes().len() != self.suite.nh() {
            return Err(Rule::ConfirmationTag.into());
        }
        let path = commit.path.as_ref();
        let sender = content.content.sender;
        let committer = match (sender, path) {
            (Sender::Member(leaf), _) => Committer::Member(leaf),
            (Sender::NewMemberCommit, Some(path)) => Committer::Joiner(&path.leaf_node),
            (Sender::NewMemberCommit, None) => return Err(Rule::PathMissing.into()),
            _ => return Err(Rule::Sender.into()),
        };
        let provisional = self.apply_proposals(rules, committer, list)?;
        if provisional.needs_path && path.is_none() {
            return Err(Rule::PathMissing.into());
        }
        let committer = match committer {
            Committer::Member(leaf) => leaf,
            Committer::Joiner(_) => provisional.tree.first_blank(),
        };
        let path = path.map(|path| self.merge_path(rules, &provisional, committer, path)).transpose()?;
        let tree = path.as_ref().map_or(&provisional.tree, MergedPath::tree);
        let provisional_context = self.provisional_context(&provisional, tree);
        let context = self.next_context(provisional_context.clone(), content);
        let external = sender == Sender::NewMemberCommit;
        let summary = CommitSummary::new(self, committer, external, &provisional, tree);
        Ok(Transition {
            suite: self.suite,
            committer,
            provisional,
            path,
            provisional_context,
            context,
            tag,
            summary,
        })
    }

    /// Validates the update path and applies it (RFC 9420 s12.4.2).
    fn merge_path<'c>(
        &self,
        rules: Rules<'_>,
        provisional: &Provisional,
        committer: LeafIndex,
        path: &'c UpdatePath,
    ) -> Result<MergedPath<'c>, Error> {
        let validator = self.validator(rules, &provisional.extensions);
        let max_leaves = self.max_members(rules);
        let new_leaves = provisional.new_leaves();
        let merged = path
            .merge(&validator, &provisional.tree, committer, max_leaves, &new_leaves)
            .map_err(|error| self.too_many_members(error))?;
        merged.tree().check_credential_support()?;
        Ok(merged)
    }
}

impl Transition<'_> {
    /// After the update path.
    pub(crate) fn tree(&self) -> &RatchetTree {
        self.path.as_ref().map_or(&self.provisional.tree, MergedPath::tree)
    }

    /// The public part of the child, for those who have no secrets: its confirmation tag is a claim.
    pub(crate) fn public_child(&self) -> PublicEpoch {
        PublicEpoch::new(self.suite, self.context.clone(), self.tree().clone(), self.tag.clone())
    }

    /// Derives the child and compares the confirmation tag.
    pub(crate) fn finish(
        self,
        rules: Rules<'_>,
        keys: CommitKeys,
        signer: Arc<SignatureKeyPair>,
        commit_id: CommitId,
    ) -> Result<Box<Epoch>, Error> {
        let CommitKeys { private, commit, init, psk } = keys;
        let derived = DerivedEpoch::derive(rules, &self.suite, &self.context, &init, &commit, &psk);
        let tree = self.tree().clone();
        let confirmed = derived.expanded.confirm(&self.suite, self.context, &self.tag)?;
        let reinit = self.provisional.reinit;
        Ok(Box::new(Epoch::new(confirmed, tree, private, signer, reinit, Some(commit_id))))
    }
}

impl Epoch {
    /// The first proposal that a commit refers to and that we have not seen. A joiner's commit may refer to none, and what comes
    /// after the end of the group is not waited for.
    pub(crate) fn missing_proposal(&self, content: &AuthenticatedContent) -> Option<ProposalRef> {
        let Content::Commit(commit) = &content.content.content else { return None };
        if content.content.sender == Sender::NewMemberCommit || self.reinit.is_some() {
            return None;
        }
        commit.proposals.iter().find_map(|item| match item {
            ProposalOrRef::Reference(r) if !self.proposals.contains_key(r) => Some(r.clone()),
            _ => None,
        })
    }

    /// Processes a commit; `commit_id` is its name.
    pub(crate) fn process_commit(
        &self,
        rules: Rules<'_>,
        content: &Verified,
        commit_id: CommitId,
        psks: PskLookup<'_>,
    ) -> Result<ProcessedCommit, Error> {
        let checked = self.check(rules, content)?;
        if checked.removes_us() {
            let Transition { summary, .. } = checked.transition;
            return Ok(ProcessedCommit::RemovesUs { summary });
        }
        let psk = checked.psk_secret(psks)?;
        let (private, last_path_secret) = checked.open_path()?;
        checked.finish(private, last_path_secret, psk, commit_id)
    }

    /// Checks all of a commit that can be checked before its secrets are known.
    pub(crate) fn check<'a>(&'a self, rules: Rules<'a>, content: &'a Verified) -> Result<Checked<'a>, Error> {
        if self.reinit.is_some() {
            return Err(Rule::GroupEnded.into());
        }
        let list = resolve(content.commit()?, content.get().content.sender, |reference| {
            self.proposals.get(reference).map(|stored| (&stored.proposal, stored.sender))
        })?;
        let transition = self.public().transition(rules, content, &list)?;
        Ok(Checked { parent: self, rules, own_update: self.own_update(&list), transition })
    }

    /// The Update of ours that the list holds.
    fn own_update(&self, list: &[Proposed<'_>]) -> Option<OwnUpdate> {
        list.iter()
            .filter(|p| {
                matches!(p.proposal, Proposal::Update(_)) && p.sender == Sender::Member(self.own_leaf())
            })
            .find_map(|p| self.proposals.get(p.reference?)?.own_update.clone())
    }

    /// The init_secret of a child by this epoch's key schedule.
    pub(super) fn child_init(
        &self,
        rules: Rules<'_>,
        last_path_secret: Option<&Secret>,
        context: &GroupContext,
    ) -> Result<(InitSecret, Option<Puncture>), Rule> {
        let confirmation = CommitConfirmation::derive(self.suite(), last_path_secret);
        if let Some(secret) = last_path_secret {
            rules.config.log("path_secret_n", secret.as_bytes());
        }
        rules.config.log("commit_confirmation", confirmation.as_bytes());
        self.next_init.child(self.suite(), &confirmation, context)
    }
}

impl Checked<'_> {
    /// Also where the committer is a new self of ours, at the leaf that this removal vacates: its keys are not here.
    pub(crate) fn removes_us(&self) -> bool {
        self.transition.provisional.removed.contains(&self.parent.own_leaf())
    }

    /// The pre-shared keys of the commit, combined.
    pub(crate) fn psk_secret(&self, psks: PskLookup<'_>) -> Result<PskSecret, Rule> {
        psks.psk_secret(self.parent.suite(), &self.transition.provisional.psks)
    }

    /// The private keys of the new tree, and `path_secret[n]` if the commit has a path.
    pub(crate) fn open_path(&self) -> Result<(PrivateTree, Option<Secret>), Rule> {
        let (parent, transition) = (self.parent, &self.transition);
        let (before, after) = (&parent.public().tree, &transition.provisional.tree);
        let own_update = self.own_update.as_ref().map(|update| update.encryption.clone());
        let private = parent.private.after_proposals(before, after, own_update);
        let Some(path) = &transition.path else { return Ok((private, None)) };
        let context = transition.provisional_context.to_bytes();
        let (private, secret) = path.decrypt(parent.suite(), &private, &context)?;
        Ok((private, Some(secret)))
    }

    /// Derives the child and compares the confirmation tag.
    pub(crate) fn finish(
        self,
        private: PrivateTree,
        last_path_secret: Option<Secret>,
        psk: PskSecret,
        commit_id: CommitId,
    ) -> Result<ProcessedCommit, Error> {
        let last_path_secret = last_path_secret.as_ref();
        let (init, puncture) = self.init(last_path_secret)?;
        let commit = CommitSecret::derive(self.parent.suite(), last_path_secret);
        let Self { parent, rules, transition, own_update } = self;
        let summary = transition.summary.clone();
        let keys = CommitKeys { private, commit, init, psk };
        let signer = own_update.and_then(|update| update.signer).unwrap_or_else(|| parent.signer.clone());
        let epoch = transition.finish(rules, keys, signer, commit_id)?;
        Ok(ProcessedCommit::Child { epoch, summary, puncture })
    }

    /// From the external init, or by the parent's key schedule.
    fn init(&self, last_path_secret: Option<&Secret>) -> Result<(InitSecret, Option<Puncture>), Error> {
        let parent = self.parent;
        let Some(kem_output) = &self.transition.provisional.external_init else {
            return Ok(parent.child_init(self.rules, last_path_secret, &self.transition.context)?);
        };
        let pair = parent.secrets.external.key_pair(parent.suite())?;
        let init = external_init_receiver(parent.suite(), &pair, kem_output);
        Ok((init.map_err(|_| Rule::ExternalInitPlace)?, None))
    }
}
