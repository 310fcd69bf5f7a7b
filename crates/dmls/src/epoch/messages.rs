//! Opening and sealing messages of an epoch (RFC 9420 s6, s15).

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::config::Config;
use crate::error::{Error, Limit, Rule, Usage};
use crate::framing::{
    AuthenticatedContent, Content, FramedContent, MlsMessage, PrivateMessage, PublicMessage, Sender,
    SenderData, Verified,
};
use crate::key_schedule::{KeySchedule, MembershipKey};
use crate::registry::WireFormat;
use crate::secret_tree::{Advance, RatchetLimits, SecretTreeError};

use super::{Epoch, Reading};

/// A message that was opened and whose sender is verified.
pub(crate) struct Opened {
    pub content: Verified,
    /// What reading it uses up.
    pub advance: Option<Advance>,
}

/// A message of ours.
pub(crate) struct Outgoing {
    pub message: MlsMessage,
    /// What sending it uses up.
    pub advance: Option<Advance>,
}

/// Whether a message claims to be our own.
pub(crate) enum Claim {
    Own,
    Other,
}

impl From<SecretTreeError> for Error {
    fn from(e: SecretTreeError) -> Self {
        match e {
            SecretTreeError::UnknownLeaf => Rule::Sender.into(),
            SecretTreeError::KeyUsed => Rule::MessageKeyUsed.into(),
            SecretTreeError::TooOld => Rule::MessageKeyTooOld.into(),
            SecretTreeError::TooFarAhead => Limit::ForwardRatchet.into(),
            SecretTreeError::Exhausted => Usage::SenderGenerations.into(),
        }
    }
}

impl Reading {
    /// Whether we sent this message: its content can't be read again, the key is gone.
    pub(crate) fn claim(&self, message: &MlsMessage) -> Result<Claim, Rule> {
        let own = match message {
            MlsMessage::PublicMessage(m) => m.content.sender == Sender::Member(self.own_leaf),
            MlsMessage::PrivateMessage(m) => {
                m.sender_data(&self.public.suite, &self.sender_data)?.leaf_index == self.own_leaf
            }
            _ => false,
        };
        Ok(if own { Claim::Own } else { Claim::Other })
    }

    /// Opens a PrivateMessage.
    pub(crate) fn open_private(&self, config: &Config, message: PrivateMessage) -> Result<Opened, Error> {
        let suite = &self.public.suite;
        self.public.check_place(&message.group_id, message.epoch)?;
        let sender_data = message.sender_data(suite, &self.sender_data)?;
        self.public.member(sender_data.leaf_index)?;
        let limits = RatchetLimits {
            max_forward: config.limits.forward_generations,
            max_kept: config.limits.kept_generations,
        };
        let ratchet = message.content_type.ratchet();
        let (key, advance) =
            self.messages.key(suite, sender_data.leaf_index, ratchet, sender_data.generation, limits)?;
        let content = message.unprotect(suite, sender_data, &key)?;
        Ok(Opened { content: self.public.verify(content)?, advance: Some(advance) })
    }

    /// Opens a PublicMessage.
    pub(crate) fn open_public(&self, key: &MembershipKey, message: PublicMessage) -> Result<Opened, Error> {
        let public = &self.public;
        public.check_place(&message.content.group_id, message.content.epoch)?;
        let content = message.unprotect(&public.suite, key, &public.context)?;
        Ok(Opened { content: public.verify(content)?, advance: None })
    }
}

impl Epoch {
    /// Opens a message of this epoch.
    pub(crate) fn open(&self, config: &Config, message: MlsMessage) -> Result<Opened, Error> {
        match message {
            MlsMessage::PrivateMessage(m) => self.reading.open_private(config, m),
            MlsMessage::PublicMessage(m) => self.reading.open_public(&self.secrets.membership_key, *m),
            _ => Err(Rule::MessageKind.into()),
        }
    }

    /// How our commits and proposals travel.
    pub(crate) fn handshake_format(&self, config: &Config) -> WireFormat {
        self.public().handshake_format(config)
    }

    /// Signs content of ours.
    pub(crate) fn sign(
        &self,
        wire_format: WireFormat,
        authenticated_data: Vec<u8>,
        content: Content,
    ) -> Result<AuthenticatedContent, Error> {
        let framed = FramedContent {
            group_id: self.context().group_id.clone(),
            epoch: self.context().epoch,
            sender: Sender::Member(self.own_leaf()),
            authenticated_data,
            content,
        };
        let key = self.signer.private();
        Ok(AuthenticatedContent::sign(self.suite(), key, wire_format, framed, self.context())?)
    }

    /// Protects signed content of ours.
    pub(crate) fn protect(
        &self,
        config: &Config,
        content: AuthenticatedContent,
        rng: &mut dyn CryptoRng,
    ) -> Result<Outgoing, Error> {
        let suite = self.suite();
        if content.wire_format == WireFormat::PUBLIC_MESSAGE {
            let message =
                PublicMessage::protect(suite, &self.secrets.membership_key, content, self.context())?;
            self.check_size(config, message.encoded_length())?;
            return Ok(Outgoing { message: MlsMessage::PublicMessage(Box::new(message)), advance: None });
        }
        let ratchet = content.content.content.content_type().ratchet();
        let (generation, key, advance) = self.reading.messages.next_key(suite, self.own_leaf(), ratchet)?;
        let mut reuse_guard = [0; 4];
        rng.fill_bytes(&mut reuse_guard);
        let sender_data = SenderData { leaf_index: self.own_leaf(), generation, reuse_guard };
        let message = PrivateMessage::protect(
            suite,
            &self.reading.sender_data,
            &content,
            sender_data,
            &key,
            config.padding,
        )?;
        self.check_size(config, message.encoded_length())?;
        Ok(Outgoing { message: MlsMessage::PrivateMessage(message), advance: Some(advance) })
    }

    /// A message as it travels.
    fn check_size(&self, config: &Config, message: usize) -> Result<(), Limit> {
        // MLSMessage: version and wire format; DMLSMessage: the epoch.
        let epoch = if config.schedule == KeySchedule::Dmls { self.id.encoded_length() } else { 0 };
        config.limits.check_message(2 + 2 + message + epoch)
    }
}
