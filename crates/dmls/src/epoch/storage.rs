//! Epochs in storage. The tree is apart, under the tree hash of the context; so are the PPRF, the secret tree and the
//! proposals, which change.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{CryptoError, HpkePrivateKey, Secret, SignatureKeyPair, Suite, Tag, to_secret_bytes};
use crate::error::{Error, RecordsError};
use crate::framing::Sender;
use crate::key_schedule::{CommitId, EpochId, EpochSecrets, GroupContext, NextInit, SenderDataSecret};
use crate::message::{Proposal, ReInit};
use crate::secret_tree::SecretTree;
use crate::tree::{LeafIndex, PrivateTree, RatchetTree};

use super::{Epoch, OwnUpdate, PublicEpoch, Reading, StoredProposal};

const EPOCH: &str = "an epoch";

impl Reading {
    fn fixed(&self) -> [&dyn Encode; 4] {
        [&self.public.context, &self.public.confirmation_tag, &self.own_leaf, &self.sender_data]
    }

    /// The fixed part of an epoch that can only be read.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        let mut parts: Vec<&dyn Encode> = vec![&false];
        parts.extend(self.fixed());
        to_secret_bytes(&parts)
    }
}

impl Epoch {
    /// The fixed part of an epoch.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        let mut parts: Vec<&dyn Encode> = vec![&true];
        parts.extend(self.reading.fixed());
        let processing: [&dyn Encode; 5] =
            [&self.secrets, &self.private, self.signer.private(), &self.reinit, &self.commit_id];
        parts.extend(processing);
        to_secret_bytes(&parts)
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
        to_secret_bytes(&[&self.proposal, &self.sender, &self.order, &self.own_update, &self.message])
    }

    pub(crate) fn from_record(suite: &Suite, bytes: &[u8]) -> Result<Self, RecordsError> {
        const WHAT: &str = "a proposal";
        let mut r = Reader::new(bytes);
        let mut decode = || -> Result<_, DecodeError> {
            let proposal = Proposal::decode(&mut r)?;
            let (sender, order) = (Sender::decode(&mut r)?, u32::decode(&mut r)?);
            let own_update = Option::<StoredUpdate>::decode(&mut r)?;
            let message = Decode::decode(&mut r)?;
            r.finish()?;
            Ok((Self { proposal, sender, order, own_update: None, message }, own_update))
        };
        let (stored, own_update) = decode().map_err(|e| RecordsError::Malformed(WHAT, e))?;
        let own_update = own_update.map(|update| update.into_own_update(suite)).transpose();
        Ok(Self { own_update: own_update.map_err(|_| RecordsError::Inconsistent(WHAT))?, ..stored })
    }
}

impl Encode for OwnUpdate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encryption.encode(out);
        self.signer.is_some().encode(out);
        if let Some(signer) = &self.signer {
            signer.private().encode(out);
        }
    }

    fn encoded_length(&self) -> usize {
        let signer = self.signer.as_ref().map_or(0, |signer| signer.private().encoded_length());
        self.encryption.encoded_length() + 1 + signer
    }
}

/// The same as it was stored, where the signature key lacks its public half.
struct StoredUpdate {
    encryption: HpkePrivateKey,
    signer: Option<Secret>,
}

impl Decode for StoredUpdate {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { encryption: Decode::decode(r)?, signer: Decode::decode(r)? })
    }
}

impl StoredUpdate {
    fn into_own_update(self, suite: &Suite) -> Result<OwnUpdate, CryptoError> {
        let signer = self.signer.map(|signer| SignatureKeyPair::from_private(suite, signer)).transpose()?;
        Ok(OwnUpdate { encryption: Arc::new(self.encryption), signer: signer.map(Arc::new) })
    }
}
