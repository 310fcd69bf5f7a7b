//! Creating a commit and its Welcome (RFC 9420 s12.4.1).

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::{ProposalRef, Secret};
use crate::error::{Error, Usage};
use crate::framing::{Content, MlsMessage};
use crate::identity::Identity;
use crate::key_schedule::{CommitId, CommitSecret, JoinerSecret, PskLookup, WelcomeSecret};
use crate::message::{
    Commit, EncryptedGroupSecrets, GroupSecrets, Proposal, ProposalOrRef, Welcome, WelcomeKeys,
};
use crate::pprf::Puncture;
use crate::secret_tree::Advance;
use crate::tree::{NewPath, PrivateTree, RatchetTree};

use super::process::DerivedEpoch;
use super::public::check_context_extensions;
use super::references::Chosen;
use super::{CommitSummary, Epoch, Proposed, Provisional, Recipient, Rules};

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
    /// Stored proposals that could not be in it, each with the reason.
    pub left_out: Vec<(ProposalRef, Error)>,
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
        for proposal in &request.proposals {
            // The group ends by it: we ask for no successor that we could not make.
            if let Proposal::ReInit(reinit) = proposal {
                self.public().check_reinit(reinit)?;
                check_context_extensions(rules, &reinit.group_id, &reinit.extensions)?;
            }
        }
        let mut chosen = self.choose(rules, &request, psks)?;
        match self.make_commit(rules, &request, &chosen, psks, rng) {
            Err(Error::Crypto(_))
                if request.references.is_none() && self.leave_out_unusable(rules, &mut chosen, rng)? =>
            {
                self.make_commit(rules, &request, &chosen, psks, rng)
            }
            made => made,
        }
    }

    fn make_commit(
        &self,
        rules: Rules<'_>,
        request: &CommitRequest,
        chosen: &Chosen<'_>,
        psks: PskLookup<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<StagedOwnCommit, Error> {
        let Chosen { list, provisional, left_out } = chosen;
        let with_path = provisional.needs_path || !request.omit_path || request.identity.is_some();

        // The tree with the update path, and the path encrypted under the provisional context.
        let new = self.new_tree(rules, provisional, with_path, request.identity.as_ref(), rng)?;
        let provisional_context = self.public().provisional_context(provisional, &new.tree);
        let context_bytes = provisional_context.to_bytes();
        let path = match &new.path {
            Some(path) => Some(path.encrypt(self.suite(), &context_bytes, &provisional.new_leaves(), rng)?),
            None => None,
        };
        let proposals = list.iter().map(Proposed::to_wire).collect();
        let content = Content::Commit(Box::new(Commit { proposals, path }));
        let authenticated_data = request.authenticated_data.clone();
        let mut content = self.sign(self.handshake_format(rules.config), authenticated_data, content)?;
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
        let summary = CommitSummary::new(self.public(), self.own_leaf(), false, provisional, &tree);
        // What this epoch says is signed with the old key, what its child says with the new one.
        let signer = request.identity.as_ref().map_or(&self.signer, Identity::signer).clone();
        let child = Epoch::new(confirmed, tree, private, signer, reinit, Some(id.clone()));
        let welcome =
            child.welcome(rules, provisional, path.as_ref(), derived.joiner, &derived.welcome, rng)?;
        Ok(StagedOwnCommit {
            id,
            message: outgoing.message,
            summary,
            child: Box::new(child),
            welcome,
            puncture,
            advance: outgoing.advance,
            left_out: left_out.clone(),
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
            self.public().max_members(rules),
            rng,
        )?;
        Ok(NewTree { tree: path.tree.clone(), private: path.private.duplicate(), path: Some(path) })
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
        let welcome = Welcome { cipher_suite: suite.code(), secrets, encrypted_group_info };
        // MLSMessage: version and wire format.
        rules.config.limits.check_message(2 + 2 + welcome.encoded_length())?;
        Ok(Some(welcome))
    }
}

impl Proposed<'_> {
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
