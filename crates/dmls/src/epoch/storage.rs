//! Epochs in storage. The tree is apart, under the tree hash of the context; so are the PPRF, the secret tree and the
//! proposals, which change.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{Secret, SignatureKeyPair, Suite, Tag};
use crate::error::{Error, RecordsError};
use crate::framing::Sender;
use crate::key_schedule::{CommitId, EpochId, EpochSecrets, GroupContext, NextInit, SenderDataSecret};
use crate::message::{Proposal, ReInit};
use crate::secret_tree::SecretTree;
use crate::tree::{LeafIndex, PrivateTree, RatchetTree};

use super::{Epoch, PublicEpoch, Reading, StoredProposal};

/// Memory that is erased and does not grow while it is written, for all but unusual epochs.
fn buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(4096))
}

const EPOCH: &str = "an epoch";

impl Reading {
    fn encode_fixed(&self, out: &mut Vec<u8>) {
        self.public.context.encode(out);
        self.public.confirmation_tag.encode(out);
        self.own_leaf.encode(out);
        self.sender_data.encode(out);
    }

    /// The fixed part of an epoch that can only be read.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        let mut out = buffer();
        false.encode(&mut out);
        self.encode_fixed(&mut out);
        out
    }
}

impl Epoch {
    /// The fixed part of an epoch.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        let mut out = buffer();
        true.encode(&mut out);
        self.reading.encode_fixed(&mut out);
        self.secrets.encode(&mut out);
        self.private.encode(&mut out);
        self.signer.private().encode(&mut out);
        self.reinit.encode(&mut out);
        self.commit_id.encode(&mut out);
        out
    }
}

/// The fixed part of an epoch, as it was stored.
pub(crate) struct StoredEpoch {
    pub context: GroupContext,
    confirmation_tag: Tag,
    own_leaf: LeafIndex,
    sender_data: SenderDataSecret,
    /// `None` if it can only be read.
    pub processing: Option<StoredProcessing>,
}

/// What processes and makes commits.
pub(crate) struct StoredProcessing {
    secrets: EpochSecrets,
    private: PrivateTree,
    signer: Secret,
    reinit: Option<ReInit>,
    commit_id: Option<CommitId>,
}

impl StoredEpoch {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let is_full = bool::decode(r)?;
        Ok(Self {
            context: Decode::decode(r)?,
            confirmation_tag: Decode::decode(r)?,
            own_leaf: Decode::decode(r)?,
            sender_data: Decode::decode(r)?,
            processing: is_full.then(|| StoredProcessing::decode(r)).transpose()?,
        })
    }

    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self, RecordsError> {
        let mut r = Reader::new(bytes);
        let stored = Self::decode(&mut r).map_err(|e| RecordsError::Malformed(EPOCH, e))?;
        r.finish().map_err(|e| RecordsError::Malformed(EPOCH, e))?;
        Ok(stored)
    }

    /// The epoch that can only be read.
    pub(crate) fn into_reading(
        self,
        suite: Suite,
        tree: RatchetTree,
        messages: SecretTree,
    ) -> (Reading, Option<StoredProcessing>) {
        let public = PublicEpoch::new(suite, self.context, tree, self.confirmation_tag);
        let reading = Reading { public, own_leaf: self.own_leaf, sender_data: self.sender_data, messages };
        (reading, self.processing)
    }
}

impl StoredProcessing {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            secrets: Decode::decode(r)?,
            private: Decode::decode(r)?,
            signer: Decode::decode(r)?,
            reinit: Decode::decode(r)?,
            commit_id: Decode::decode(r)?,
        })
    }

    /// The whole epoch.
    pub(crate) fn into_epoch(
        self,
        id: EpochId,
        reading: Reading,
        next_init: NextInit,
        proposals: BTreeMap<crate::crypto::ProposalRef, StoredProposal>,
    ) -> Result<Epoch, Error> {
        if self.private.leaf != reading.own_leaf {
            return Err(RecordsError::Inconsistent(EPOCH).into());
        }
        let signer = Arc::new(SignatureKeyPair::from_private(&reading.public.suite, self.signer)?);
        Ok(Epoch {
            id,
            reading,
            secrets: self.secrets,
            next_init,
            private: self.private,
            signer,
            proposals,
            reinit: self.reinit,
            commit_id: self.commit_id,
        })
    }
}

impl StoredProposal {
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        let mut out = buffer();
        self.proposal.encode(&mut out);
        self.sender.encode(&mut out);
        self.order.encode(&mut out);
        self.own_update.is_some().encode(&mut out);
        if let Some(private) = &self.own_update {
            private.encode(&mut out);
        }
        self.message.encode(&mut out);
        out
    }

    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self, RecordsError> {
        let decode = |r: &mut Reader<'_>| {
            Ok(Self {
                proposal: Proposal::decode(r)?,
                sender: Sender::decode(r)?,
                order: u32::decode(r)?,
                own_update: bool::decode(r)?.then(|| Decode::decode(r).map(Arc::new)).transpose()?,
                message: Decode::decode(r)?,
            })
        };
        let mut r = Reader::new(bytes);
        let malformed = |e| RecordsError::Malformed("a proposal", e);
        let stored = decode(&mut r).map_err(malformed)?;
        r.finish().map_err(malformed)?;
        Ok(stored)
    }
}
