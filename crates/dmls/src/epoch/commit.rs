//! Creating a commit and its Welcome (RFC 9420 s12.4.1).

use std::collections::BTreeSet;

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::{ProposalRef, Secret};
use crate::error::{Error, Usage};
use crate::framing::{Content, MlsMessage, Sender};
use crate::identity::Identity;
use crate::key_schedule::{CommitId, CommitSecret, JoinerSecret, PskLookup, WelcomeSecret};
use crate::message::{
    Commit, EncryptedGroupSecrets, GroupSecrets, Proposal, ProposalOrRef, Welcome, WelcomeKeys,
};
use crate::pprf::Puncture;
use crate::secret_tree::Advance;
use crate::tree::{LeafIndex, NewPath, PrivateTree, RatchetTree};

use super::process::DerivedEpoch;
use super::{CommitSummary, Committer, Epoch, Proposed, Provisional, Recipient, Rules};

/// What to commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitRequest {
    /// By value.
    pub proposals: Vec<Proposal>,
    /// By reference; those stored that fit, if `None`.
    pub references: Option<Vec<ProposalRef>>,
    pub authenticated_data: Vec<u8>,
    /// Who we are from then on, if that changes.
    pub identity: Option<Identity>,
    /// Leave the path out where the RFC allows it.
    pub omit_path: bool,
}

/// A commit of ours, with all that follows from it.
#[derive(Debug)]
pub(crate) struct StagedOwnCommit {
    pub id: CommitId,
    pub message: MlsMessage,
    pub summary: CommitSummary,
    pub child: Box<Epoch>,
    pub welcome: Option<Welcome>,
    pub puncture: Option<Puncture>,
    /// The handshake key that encrypted the message.
    pub advance: Option<Advance>,
}

/// The new tree with our private keys in it.
struct NewTree {
    tree: RatchetTree,
    private: PrivateTree,
    path: Option<NewPath>,
}

impl Epoch {
    /// Makes a commit. Changes nothing.
    pub(crate) fn stage_commit(
        &self,
        rules: Rules<'_>,
        request: CommitRequest,
        psks: PskLookup<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<StagedOwnCommit, Error> {
        if self.reinit.is_some() {
            return Err(Usage::GroupEnded.into());
        }
        let own = Sender::Member(self.own_leaf());
        let by_value =
            || request.proposals.iter().map(|p| Proposed { proposal: p, sender: own, reference: None });
        let references = match request.references {
            Some(references) => references,
            None => self.choose_references(rules, psks, by_value().collect()),
        };
        let mut list: Vec<_> = by_value().collect();
        for reference in &references {
            let stored = self.proposals.get(reference).ok_or(Usage::UnknownProposal)?;
            // Our own by value: whether the others ever got the proposal, nobody can know after a crash.
            let reference = Some(reference).filter(|_| stored.sender != own);
            list.push(Proposed { proposal: &stored.proposal, sender: stored.sender, reference });
        }
        let provisional = self.public().apply_proposals(rules, Committer::Member(self.own_leaf()), &list)?;
        let with_path = provisional.needs_path || !request.omit_path || request.identity.is_some();

        // The tree with the update path, and the path encrypted under the provisional context.
        let new = self.new_tree(rules, &provisional, with_path, request.identity.as_ref(), rng)?;
        let provisional_context = self.public().provisional_context(&provisional, &new.tree);
        let context_bytes = provisional_context.to_bytes();
        let path = match &new.path {
            Some(path) => Some(path.encrypt(self.suite(), &context_bytes, &provisional.new_leaves(), rng)?),
            None => None,
        };
        let proposals = list.iter().map(Proposed::to_wire).collect();
        let content = Content::Commit(Box::new(Commit { proposals, path }));
        let mut content =
            self.sign(self.handshake_format(rules.config), request.authenticated_data, content)?;
        let context = self.public().next_context(provisional_context, &content);

        // The new epoch.
        let last_path_secret = new.path.as_ref().map(|path| &path.last_path_secret);
        log_committer_secrets(rules, new.path.as_ref(), &new.private);
        let psk = psks.psk_secret(self.suite(), &provisional.psks)?;
        let (init, puncture) = self.child_init(rules, last_path_secret, &context)?;
        let commit_secret = CommitSecret::derive(self.suite(), last_path_secret);
        let derived = DerivedEpoch::derive(rules, self.suite(), &context, &init, &commit_secret, &psk);
        let (confirmed, tag) = derived.expanded.confirm_own(self.suite(), context);
        content.auth.confirmation_tag = Some(tag);
        let outgoing = self.protect(rules.config, content, rng)?;
        let id = outgoing.message.commit_id(self.suite());

        let NewTree { tree, private, path } = new;
        let reinit = provisional.reinit.clone();
        let summary = CommitSummary::new(self.public(), self.own_leaf(), false, &provisional, &tree);
        // What this epoch says is signed with the old key, what its child says with the new one.
        let signer = request.identity.as_ref().map_or(&self.signer, Identity::signer).clone();
        let child = Epoch::new(confirmed, tree, private, signer, reinit, Some(id.clone()));
        let welcome =
            child.welcome(rules, &provisional, path.as_ref(), derived.joiner, &derived.welcome, rng)?;
        Ok(StagedOwnCommit {
            id,
            message: outgoing.message,
            summary,
            child: Box::new(child),
            welcome,
            puncture,
            advance: outgoing.advance,
        })
    }

    fn new_tree(
        &self,
        rules: Rules<'_>,
        provisional: &Provisional,
        with_path: bool,
        identity: Option<&Identity>,
        rng: &mut dyn CryptoRng,
    ) -> Result<NewTree, Error> {
        if !with_path {
            let private = self.private.after_proposals(&self.public().tree, &provisional.tree, None);
            return Ok(NewTree { tree: provisional.tree.clone(), private, path: None });
        }
        let own = self.own_leaf();
        let (template, signer) = match identity {
            Some(identity) => (identity.leaf_template(), identity.signer()),
            None => (self.public().member(own)?.clone(), &self.signer),
        };
        let path = NewPath::generate(
            &self.public().validator(rules, &provisional.extensions),
            &provisional.tree,
            own,
            template,
            signer.private(),
            rules.config.limits.members,
            rng,
        )?;
        Ok(NewTree { tree: path.tree.clone(), private: path.private.duplicate(), path: Some(path) })
    }

    /// The stored proposals that can be committed with the given ones: all if they fit together, else what fits,
    /// in the order that RFC 9420 s12.2 prefers.
    fn choose_references(
        &self,
        rules: Rules<'_>,
        psks: PskLookup<'_>,
        by_value: Vec<Proposed<'_>>,
    ) -> Vec<ProposalRef> {
        let own = Sender::Member(self.own_leaf());
        let mut touched: BTreeSet<LeafIndex> = by_value.iter().filter_map(Proposed::touches).collect();
        let mut stored: Vec<_> = self.proposals.iter().collect();
        // RFC 9420 s12.2: removes before updates, of those the most recent, and a reinit only if there is nothing else.
        stored.sort_by_key(|(_, s)| match s.proposal {
            Proposal::Remove(_) => (0, s.order),
            Proposal::Update(_) => (1, u32::MAX - s.order),
            Proposal::ReInit(_) => (3, s.order),
            _ => (2, s.order),
        });
        let mut candidates = Vec::new();
        for (reference, stored) in stored {
            let proposed =
                Proposed { proposal: &stored.proposal, sender: stored.sender, reference: Some(reference) };
            if proposed.touches().is_some_and(|leaf| leaf == self.own_leaf() || touched.contains(&leaf))
                || matches!(proposed.proposal, Proposal::Update(_)) && proposed.sender == own
                || matches!(proposed.proposal, Proposal::PreSharedKey(id) if (psks.0)(id).is_none())
            {
                continue;
            }
            touched.extend(proposed.touches());
            candidates.push(proposed);
        }
        let given = by_value.len();
        let mut list = by_value;
        self.add_fitting(rules, &mut list, &candidates, &mut { Self::MISFITS });
        let chosen = list[given..].iter().filter_map(|proposed| proposed.reference);
        let mut chosen: Vec<_> =
            chosen.map(|r| (self.proposals.get(r).map(|s| s.order), r.clone())).collect();
        chosen.sort();
        chosen.into_iter().map(|(_, reference)| reference).collect()
    }

    /// How many lists that don't fit are tried: each costs a verification of every leaf in it. What is left then waits for
    /// the next commit.
    const MISFITS: u32 = 32;

    /// Adds what fits: all of it, or of each half what fits.
    fn add_fitting<'a>(
        &self,
        rules: Rules<'_>,
        list: &mut Vec<Proposed<'a>>,
        rest: &[Proposed<'a>],
        misfits: &mut u32,
    ) {
        if rest.is_empty() || *misfits == 0 {
            return;
        }
        let before = list.len();
        list.extend_from_slice(rest);
        if self.public().apply_proposals(rules, Committer::Member(self.own_leaf()), list).is_ok() {
            return;
        }
        list.truncate(before);
        *misfits -= 1;
        if rest.len() > 1 {
            let (one, other) = rest.split_at(rest.len() / 2);
            self.add_fitting(rules, list, one, misfits);
            self.add_fitting(rules, list, other, misfits);
        }
    }

    /// The Welcome for those whom a commit adds; this is the epoch that it makes.
    fn welcome(
        &self,
        rules: Rules<'_>,
        provisional: &Provisional,
        path: Option<&NewPath>,
        joiner: JoinerSecret,
        welcome: &WelcomeSecret,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Welcome>, Error> {
        if provisional.added.is_empty() {
            return Ok(None);
        }
        let suite = self.suite();
        let group_info = self.group_info(rules, Recipient::Welcomed)?;
        let encrypted_group_info = WelcomeKeys::derive(suite, welcome)?.seal(suite, &group_info)?;
        let info = suite.hpke_info("Welcome", &encrypted_group_info);
        let mut secrets = Vec::with_capacity(provisional.added.len());
        for (leaf, recipient) in &provisional.added {
            let group_secrets = GroupSecrets {
                joiner_secret: joiner.duplicate(),
                path_secret: path.and_then(|path| path.secret_for(*leaf)).map(Secret::duplicate),
                psks: provisional.psks.clone(),
            };
            let plaintext = group_secrets.to_secret();
            let encrypted_group_secrets =
                suite.hpke_seal(&info, &recipient.init_key, plaintext.as_bytes(), rng)?;
            secrets.push(EncryptedGroupSecrets {
                new_member: recipient.reference.clone(),
                encrypted_group_secrets,
            });
        }
        Ok(Some(Welcome { cipher_suite: suite.code(), secrets, encrypted_group_info }))
    }
}

impl Proposed<'_> {
    /// The leaf that an update or remove concerns.
    fn touches(&self) -> Option<LeafIndex> {
        match (self.proposal, self.sender) {
            (Proposal::Update(_), Sender::Member(leaf)) => Some(leaf),
            (Proposal::Remove(leaf), _) => Some(*leaf),
            _ => None,
        }
    }

    fn to_wire(&self) -> ProposalOrRef {
        match self.reference {
            Some(reference) => ProposalOrRef::Reference(reference.clone()),
            None => ProposalOrRef::Proposal(Box::new(self.proposal.clone())),
        }
    }
}

/// What a committer alone knows of its path, for transcripts.
pub(super) fn log_committer_secrets(rules: Rules<'_>, path: Option<&NewPath>, private: &PrivateTree) {
    if let (Some(path), Some(leaf)) = (path, private.leaf_key()) {
        rules.config.log("leaf_encryption_priv", leaf.as_bytes());
        let first = path.path_secrets.first().map_or(&path.last_path_secret, |(_, secret)| secret);
        rules.config.log("path_secret_0", first.as_bytes());
    }
}
