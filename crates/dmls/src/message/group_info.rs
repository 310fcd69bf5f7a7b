//! GroupInfo (RFC 9420 s12.4.3): what a joiner learns of an epoch.

use crate::codec::{Encode, wire_struct};
use crate::crypto::{CryptoError, Signature, SignaturePrivateKey, SignaturePublicKey, Suite, Tag};
use crate::extension::Extensions;
use crate::key_schedule::GroupContext;
use crate::tree::LeafIndex;

/// The public state of an epoch, signed by a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupInfo {
    /// The epoch.
    pub group_context: GroupContext,
    /// For joiners: ratchet_tree, external_pub and others.
    pub extensions: Extensions,
    /// Of the commit that made the epoch.
    pub confirmation_tag: Tag,
    /// Who signed.
    pub signer: LeafIndex,
    /// Over all of the above.
    pub signature: Signature,
}

wire_struct!(GroupInfo { group_context, extensions, confirmation_tag, signer, signature });

impl GroupInfo {
    /// GroupInfoTBS.
    fn to_be_signed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.group_context.encode(&mut out);
        self.extensions.encode(&mut out);
        self.confirmation_tag.encode(&mut out);
        self.signer.encode(&mut out);
        out
    }

    pub(crate) fn sign(&mut self, suite: &Suite, key: &SignaturePrivateKey) -> Result<(), CryptoError> {
        self.signature = suite.sign_with_label(key, "GroupInfoTBS", &self.to_be_signed())?;
        Ok(())
    }

    pub(crate) fn verify_signature(
        &self,
        suite: &Suite,
        key: &SignaturePublicKey,
    ) -> Result<(), CryptoError> {
        suite.verify_with_label(key, "GroupInfoTBS", &self.to_be_signed(), &self.signature)
    }
}
