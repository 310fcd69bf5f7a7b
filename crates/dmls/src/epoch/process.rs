//! Processing a commit (RFC 9420 s12.4.2): from one epoch to the next, changing neither.

use std::sync::Arc;

use crate::crypto::{HpkePrivateKey, ProposalRef, Secret, Tag};
use crate::error::{Error, Rule};
use crate::framing::{AuthenticatedContent, Content, Sender, Verified};
use crate::key_schedule::{
    CommitConfirmation, CommitSecret, Expanded, GroupContext, InitSecret, JoinerSecret, PskLookup, PskSecret,
    WelcomeSecret, external_init_receiver,
};
use crate::message::{Commit, Proposal, ProposalOrRef};
use crate::pprf::Puncture;
use crate::tree::{LeafIndex, PrivateTree, RatchetTree, UpdatePath};

use super::{CommitSummary, Committer, Epoch, Proposed, Provisional, PublicEpoch, Rules};

/// A commit that is valid, with all that follows from it.
#[derive(Debug)]
pub(crate) struct ProcessedCommit {
    pub tag: Tag,
    pub summary: CommitSummary,
    /// `None`: it removes us, and its epoch can't be computed.
    pub child: Option<Box<Epoch>>,
    /// What deriving the child must erase in the parent.
    pub puncture: Option<Puncture>,
}

/// How the keys of an update path become known.
pub(crate) enum PathKeys {
    /// By decryption.
    Decrypt,
    /// They are ours: the leaf's private key and the first path secret.
    #[cfg(feature = "vectors")]
    Own { leaf: HpkePrivateKey, first: Secret, init: Option<InitSecret> },
}

/// The public effect of a commit: the same for members and for observers.
pub(crate) struct PublicTransition {
    pub committer: LeafIndex,
    pub provisional: Provisional,
    /// After the update path.
    pub tree: RatchetTree,
    /// With the new tree, still with the old confirmed transcript hash.
    pub provisional_context: GroupContext,
    /// Final.
    pub context: GroupContext,
}

/// The secrets of a new epoch.
pub(crate) struct DerivedEpoch {
    pub expanded: Expanded,
    pub joiner: JoinerSecret,
    pub welcome: WelcomeSecret,
}

impl DerivedEpoch {
    /// The last part of the ladder, the same for every way into an epoch.
    pub(crate) fn derive(
        rules: Rules<'_>,
        public: &PublicEpoch,
        context: &GroupContext,
        init: &InitSecret,
        commit: &CommitSecret,
        psk: &PskSecret,
    ) -> Self {
        let (suite, config) = (&public.suite, rules.config);
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
        config.log("dmls_epoch", expanded.id.as_bytes());
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
    /// Everything about a commit that needs no secret: proposals, path, tree, contexts.
    pub(crate) fn transition(
        &self,
        rules: Rules<'_>,
        content: &AuthenticatedContent,
        commit: &Commit,
        list: &[Proposed<'_>],
    ) -> Result<PublicTransition, Error> {
        let path = commit.path.as_ref();
        let committer = match (content.content.sender, path) {
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
        let tree = match path {
            Some(path) => self.merge_path(rules, &provisional, committer, path)?,
            None => provisional.tree.clone(),
        };
        let provisional_context = self.provisional_context(&provisional, &tree);
        let context = self.next_context(provisional_context.clone(), content);
        Ok(PublicTransition { committer, provisional, tree, provisional_context, context })
    }

    /// Validates the update path and applies it (RFC 9420 s12.4.2).
    fn merge_path(
        &self,
        rules: Rules<'_>,
        provisional: &Provisional,
        committer: LeafIndex,
        path: &UpdatePath,
    ) -> Result<RatchetTree, Error> {
        let validator = self.validator(rules, &provisional.extensions);
        let tree = path.merge(&validator, &provisional.tree, committer, rules.config.limits.members)?;
        tree.check_credential_support()?;
        path.check_ciphertexts(&tree, committer, &provisional.new_leaves())?;
        Ok(tree)
    }
}

impl Epoch {
    /// The proposals of a commit, those by reference looked up.
    fn resolve<'a>(&'a self, commit: &'a Commit, sender: Sender) -> Result<Vec<Proposed<'a>>, Rule> {
        resolve(commit, sender, |reference| {
            self.proposals.get(reference).map(|stored| (&stored.proposal, stored.sender))
        })
    }

    /// The first proposal that a commit refers to and that we have not seen. A joiner's commit may refer to none.
    pub(crate) fn missing_proposal(&self, content: &AuthenticatedContent) -> Option<ProposalRef> {
        let Content::Commit(commit) = &content.content.content else { return None };
        if content.content.sender == Sender::NewMemberCommit {
            return None;
        }
        commit.proposals.iter().find_map(|item| match item {
            ProposalOrRef::Reference(r) if !self.proposals.contains_key(r) => Some(r.clone()),
            _ => None,
        })
    }

    /// Processes a commit whose signature was verified.
    pub(crate) fn process_commit(
        &self,
        rules: Rules<'_>,
        content: &Verified,
        psks: PskLookup<'_>,
        keys: PathKeys,
    ) -> Result<ProcessedCommit, Error> {
        let content = content.get();
        let Content::Commit(commit) = &content.content.content else { return Err(Rule::Sender.into()) };
        if self.reinit.is_some() {
            return Err(Rule::GroupEnded.into());
        }
        let tag = content.auth.confirmation_tag.clone().ok_or(Rule::ConfirmationTag)?;
        let list = self.resolve(commit, content.content.sender)?;
        let transition = self.public().transition(rules, content, commit, &list)?;
        let summary = CommitSummary::new(self.public(), &transition, content.content.sender);

        // Also where the committer is a new self of ours, at the leaf that this removal vacates: its keys are not here.
        if transition.provisional.removed.contains(&self.own_leaf()) && keys.are_unknown() {
            return Ok(ProcessedCommit { tag, summary, child: None, puncture: None });
        }
        let psk = psks.psk_secret(self.suite(), &transition.provisional.psks)?;
        let own_init = keys.own_init();
        let (private, last_path_secret) =
            self.path_secrets(&transition, commit.path.as_ref(), &list, keys)?;
        let (init, puncture) = match (own_init, &transition.provisional.external_init) {
            (Some(init), _) => (init, None),
            (None, Some(kem_output)) => {
                let pair = self.secrets.external.key_pair(self.suite())?;
                let init = external_init_receiver(self.suite(), &pair, kem_output);
                (init.map_err(|_| Rule::ExternalInitPlace)?, None)
            }
            (None, None) => self.child_init(rules, last_path_secret.as_ref(), &transition.context)?,
        };
        let commit_secret = CommitSecret::derive(self.suite(), last_path_secret.as_ref());
        let derived =
            DerivedEpoch::derive(rules, self.public(), &transition.context, &init, &commit_secret, &psk);
        let expected = derived
            .expanded
            .secrets
            .confirmation_key
            .tag(self.suite(), &transition.context.confirmed_transcript_hash);
        tag.verify(&expected).map_err(|_| Rule::ConfirmationTag)?;

        let public = self.public().child(transition.context, transition.tree, tag.clone());
        let child =
            Epoch::new(public, derived.expanded, private, self.signer.clone(), transition.provisional.reinit);
        Ok(ProcessedCommit { tag, summary, child: Some(Box::new(child)), puncture })
    }

    /// The private keys of the new tree, and `path_secret[n]`.
    fn path_secrets(
        &self,
        transition: &PublicTransition,
        path: Option<&UpdatePath>,
        list: &[Proposed<'_>],
        keys: PathKeys,
    ) -> Result<(PrivateTree, Option<Secret>), Error> {
        let provisional = &transition.provisional;
        let Some(path) = path else {
            let private =
                self.private.after_proposals(&self.public().tree, &provisional.tree, self.own_update(list));
            return Ok((private, None));
        };
        match keys {
            PathKeys::Decrypt => {
                let private = self.private.after_proposals(
                    &self.public().tree,
                    &provisional.tree,
                    self.own_update(list),
                );
                let (private, secret) = path.decrypt(
                    self.suite(),
                    &provisional.tree,
                    &transition.tree,
                    &private,
                    transition.committer,
                    &provisional.new_leaves(),
                    &crate::codec::Encode::to_bytes(&transition.provisional_context),
                )?;
                Ok((private, Some(secret)))
            }
            #[cfg(feature = "vectors")]
            PathKeys::Own { leaf, first, .. } => {
                let (private, secret) = PrivateTree::from_first_path_secret(
                    self.suite(),
                    &transition.tree,
                    transition.committer,
                    leaf,
                    &first,
                )?;
                Ok((private, Some(secret)))
            }
        }
    }

    /// The private key of our new leaf, if the list holds an Update of ours.
    fn own_update(&self, list: &[Proposed<'_>]) -> Option<Arc<HpkePrivateKey>> {
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

impl PathKeys {
    fn are_unknown(&self) -> bool {
        matches!(self, Self::Decrypt)
    }

    fn own_init(&self) -> Option<InitSecret> {
        match self {
            Self::Decrypt => None,
            #[cfg(feature = "vectors")]
            Self::Own { init, .. } => init.as_ref().map(|init| InitSecret(init.0.duplicate())),
        }
    }
}
