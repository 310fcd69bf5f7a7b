//! An epoch as a value, and how one epoch leads to the next (RFC 9420 s11, s12, draft s4).
//!
//! [`PublicEpoch`] is what everybody can know, [`Reading`] what is needed to read its messages, [`Epoch`] all of it.
//! Of an epoch only three things change after its birth: its message ratchets, its PPRF and its stored proposals.
//! Nothing here changes them: each operation gives back what to change.

mod commit;
mod create;
mod external;
mod group_info;
mod join;
mod messages;
mod process;
mod proposals;
mod public;
mod references;
mod storage;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use commit::CommitRequest;
pub use create::NewGroupOptions;
pub(crate) use create::create;
pub(crate) use external::{ExternalRequest, join_external};
pub(crate) use group_info::{Recipient, VerifiedGroupInfo};
pub(crate) use join::join;
pub(crate) use messages::Claim;
pub(crate) use messages::Opened;
#[cfg(feature = "vectors")]
pub(crate) use process::{CommitKeys, Transition};
pub(crate) use process::{ProcessedCommit, resolve};
pub(crate) use proposals::{Committer, Proposed, Provisional};
pub(crate) use public::{PublicEpoch, Rules};
pub(crate) use storage::StoredEpoch;
pub use summary::{Added, CommitSummary, KnownCommit, Member};

use crate::crypto::{HpkePrivateKey, ProposalRef, SignatureKeyPair, Suite};
use crate::framing::Sender;
use crate::key_schedule::{
    CommitId, Confirmed, EpochId, EpochKeys, EpochSecrets, GroupContext, NextInit, SenderDataSecret,
};
use crate::message::{Proposal, ReInit};
use crate::secret_tree::SecretTree;
use crate::tree::{LeafIndex, PrivateTree, RatchetTree};

/// What is needed to read the messages of an epoch.
#[derive(Debug)]
pub(crate) struct Reading {
    pub public: PublicEpoch,
    pub own_leaf: LeafIndex,
    pub sender_data: SenderDataSecret,
    pub messages: SecretTree,
}

/// A whole epoch: it can read and send, and process and make commits.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub id: EpochId,
    /// The commit that made it; of epoch 0 its first GroupInfo (R15). Unknown where whoever let us in does not say it.
    pub commit_id: Option<CommitId>,
    pub reading: Reading,
    pub secrets: EpochSecrets,
    pub next_init: NextInit,
    pub private: PrivateTree,
    pub signer: Arc<SignatureKeyPair>,
    pub proposals: BTreeMap<ProposalRef, StoredProposal>,
    /// The commit that made this epoch ended the group (RFC 9420 s12.4.2).
    pub reinit: Option<ReInit>,
}

/// A proposal that a commit may refer to.
#[derive(Debug)]
pub(crate) struct StoredProposal {
    pub proposal: Proposal,
    pub sender: Sender,
    /// The place in the order of arrival.
    pub order: u32,
    /// Of our own Update.
    pub own_update: Option<OwnUpdate>,
    /// As it was sent, if it is public: for the delivery service that takes a commit which refers to it.
    pub message: Option<Vec<u8>>,
}

/// What an Update of ours brings into the epoch of a commit that takes it in.
#[derive(Clone, Debug)]
pub(crate) struct OwnUpdate {
    /// The private key of the new leaf.
    pub encryption: Arc<HpkePrivateKey>,
    /// What we sign with from then on, if that changes.
    pub signer: Option<Arc<SignatureKeyPair>>,
}

impl Epoch {
    /// Puts an epoch together: its secrets are confirmed for its context, and the tree is the one of that context.
    pub(crate) fn new(
        confirmed: Confirmed,
        tree: RatchetTree,
        private: PrivateTree,
        signer: Arc<SignatureKeyPair>,
        reinit: Option<ReInit>,
        commit_id: Option<CommitId>,
    ) -> Self {
        let (suite, context, tag, keys) = confirmed.into_parts();
        let EpochKeys { id, secrets, sender_data, encryption, next_init } = keys;
        let messages = SecretTree::new(encryption.0, tree.size().leaves());
        let public = PublicEpoch::new(suite, context, tree, tag);
        Self {
            id,
            commit_id,
            reading: Reading { own_leaf: private.leaf, public, sender_data, messages },
            secrets,
            next_init,
            private,
            signer,
            proposals: BTreeMap::new(),
            reinit,
        }
    }

    pub(crate) fn public(&self) -> &PublicEpoch {
        &self.reading.public
    }

    pub(crate) fn suite(&self) -> &Suite {
        &self.reading.public.suite
    }

    pub(crate) fn context(&self) -> &GroupContext {
        &self.reading.public.context
    }

    pub(crate) fn own_leaf(&self) -> LeafIndex {
        self.reading.own_leaf
    }
}
