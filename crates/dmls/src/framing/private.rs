//! PrivateMessage (RFC 9420 s6.3).

use zeroize::Zeroizing;

use crate::codec::{Encode, Reader, wire_struct};
use crate::crypto::{CryptoError, Secret, Suite};
use crate::error::Rule;
use crate::key_schedule::SenderDataSecret;
use crate::registry::WireFormat;
use crate::secret_tree::MessageKey;

use super::{
    AuthenticatedContent, Content, ContentType, FramedContent, FramedContentAuthData, Sender, SenderData,
};

/// A message that is signed and encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrivateMessage {
    /// The group.
    pub group_id: Vec<u8>,
    /// The epoch's number.
    pub epoch: u64,
    /// What kind of content.
    pub content_type: ContentType,
    /// Authenticated, not encrypted.
    pub authenticated_data: Vec<u8>,
    /// Who sends, with which key.
    pub encrypted_sender_data: Vec<u8>,
    /// The content, its proof and padding.
    pub ciphertext: Vec<u8>,
}

wire_struct!(PrivateMessage {
    group_id,
    epoch,
    content_type,
    authenticated_data,
    encrypted_sender_data,
    ciphertext,
});

/// SenderDataAAD: group, epoch, content type. PrivateContentAAD adds the authenticated data.
fn sender_data_aad(group_id: &[u8], epoch: u64, content_type: ContentType) -> Vec<u8> {
    let mut aad = group_id.to_bytes();
    epoch.encode(&mut aad);
    content_type.encode(&mut aad);
    aad
}

/// The nonce of the ratchet with the reuse guard mixed in (s6.3.1).
fn guarded(nonce: &[u8; 12], reuse_guard: [u8; 4]) -> [u8; 12] {
    let mut guarded = *nonce;
    for (byte, guard) in guarded.iter_mut().zip(reuse_guard) {
        *byte ^= guard;
    }
    guarded
}

impl PrivateMessage {
    /// Encrypts signed content of a member. The content is padded with zeros to a multiple of `padding` bytes.
    pub(crate) fn protect(
        suite: &Suite,
        secret: &SenderDataSecret,
        content: &AuthenticatedContent,
        sender_data: SenderData,
        key: &MessageKey,
        padding: usize,
    ) -> Result<Self, CryptoError> {
        let framed = &content.content;
        let content_type = framed.content.content_type();
        let sender_data_aad = sender_data_aad(&framed.group_id, framed.epoch, content_type);
        let mut aad = sender_data_aad.clone();
        framed.authenticated_data.encode(&mut aad);

        let length = framed.content.body_length() + content.auth.encoded_length();
        let padded = length.next_multiple_of(padding.max(1));
        // It doesn't grow, so it leaves no copies behind.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(padded));
        framed.content.encode_body(&mut plaintext);
        content.auth.encode(&mut plaintext);
        debug_assert_eq!(plaintext.len(), length);
        plaintext.resize(padded, 0);

        let nonce = guarded(&key.nonce, sender_data.reuse_guard);
        let ciphertext = suite.aead_seal(&key.key, &nonce, &aad, &plaintext)?;
        let encrypted_sender_data = sender_data.seal(suite, secret, &sender_data_aad, &ciphertext)?;
        Ok(Self {
            group_id: framed.group_id.clone(),
            epoch: framed.epoch,
            content_type,
            authenticated_data: framed.authenticated_data.clone(),
            encrypted_sender_data,
            ciphertext,
        })
    }

    /// Who sent it, with which generation.
    pub(crate) fn sender_data(&self, suite: &Suite, secret: &SenderDataSecret) -> Result<SenderData, Rule> {
        let aad = sender_data_aad(&self.group_id, self.epoch, self.content_type);
        SenderData::open(suite, secret, &aad, &self.encrypted_sender_data, &self.ciphertext)
            .ok_or(Rule::SenderData)
    }

    /// Decrypts the content. Its signature is not verified yet.
    pub(crate) fn unprotect(
        self,
        suite: &Suite,
        sender_data: SenderData,
        key: &MessageKey,
    ) -> Result<AuthenticatedContent, crate::Error> {
        let mut aad = sender_data_aad(&self.group_id, self.epoch, self.content_type);
        self.authenticated_data.encode(&mut aad);
        let nonce = guarded(&key.nonce, sender_data.reuse_guard);
        let plaintext =
            suite.aead_open(&key.key, &nonce, &aad, &self.ciphertext).map_err(|_| Rule::Ciphertext)?;
        let (content, auth) = self.decode_plaintext(&plaintext)?;
        Ok(AuthenticatedContent {
            wire_format: WireFormat::PRIVATE_MESSAGE,
            content: FramedContent {
                group_id: self.group_id,
                epoch: self.epoch,
                sender: Sender::Member(sender_data.leaf_index),
                authenticated_data: self.authenticated_data,
                content,
            },
            auth,
        })
    }

    /// PrivateMessageContent: content, proof, and padding that must be all zero.
    fn decode_plaintext(&self, plaintext: &Secret) -> Result<(Content, FramedContentAuthData), crate::Error> {
        let mut r = Reader::new(plaintext.as_bytes());
        let content = Content::decode_body(self.content_type, &mut r)?;
        let auth = FramedContentAuthData::decode(self.content_type, &mut r)?;
        if r.rest().iter().any(|byte| *byte != 0) {
            return Err(Rule::Padding.into());
        }
        Ok((content, auth))
    }
}

impl ContentType {
    /// Which of a member's two ratchets encrypts it (RFC 9420 s9.1).
    pub(crate) fn ratchet(self) -> crate::secret_tree::RatchetKind {
        match self {
            Self::Application => crate::secret_tree::RatchetKind::Application,
            Self::Proposal | Self::Commit => crate::secret_tree::RatchetKind::Handshake,
        }
    }
}
