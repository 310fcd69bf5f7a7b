//! The key schedule (RFC 9420 s8, draft s4), as stages: each secret is a type and leads only to the next.
//!
//! ```text
//!                    init_secret_[n-1]          (linear: RFC 9420; punctured: draft s4)
//!                         |
//!  commit_secret -> KDF.Extract
//!                         |
//!              ExpandWithLabel(., "joiner", GroupContext_[n], Nh)
//!                         |
//!                    joiner_secret
//!                         |
//!     psk_secret -> KDF.Extract
//!                         +--> DeriveSecret(., "welcome") = welcome_secret
//!                         |
//!              ExpandWithLabel(., "epoch", GroupContext_[n], Nh)
//!                         |
//!                    epoch_secret --> DeriveSecret(., <label>) = <secret>
//! ```
//!
//! The context is `impl Encode` because the draft's test vectors put random bytes in its place; all others give a
//! [`GroupContext`].

mod confirmed;
mod exporter;
mod group_context;
mod init_secret;
pub(crate) mod psk;
mod transcript;

pub(crate) use confirmed::Confirmed;
pub use group_context::GroupContext;
pub use init_secret::KeySchedule;
pub(crate) use init_secret::{
    ChildInput, CommitConfirmation, InitSecret, NextInit, external_init_receiver, external_init_sender,
};
#[cfg(feature = "vectors")]
pub(crate) use psk::ResolvedPsk;
pub(crate) use psk::{PskLookup, PskSecret};
pub(crate) use transcript::{confirmed_transcript_hash, interim_transcript_hash};

use crate::codec::{Encode, opaque_type, wire_struct};
use crate::crypto::{CryptoError, HpkeKeyPair, Secret, Suite, secret_type};

opaque_type! {
    /// `dmls_epoch` (draft s2): the name of an epoch, unique also among siblings. Public.
    pub struct EpochId;
}

opaque_type! {
    /// Names a commit: the hash of its MLSMessage. Of epoch 0, which no commit made, the hash of its first
    /// MLSMessage(GroupInfo) (DESIGN s3.4, R15).
    pub struct CommitId;
}

secret_type! {
    /// `path_secret[n+1]` of the update path, or zero without one (RFC 9420 s7.4, s12.4.1).
    pub(crate) struct CommitSecret;
}

secret_type! {
    /// What a Welcome carries to new members (RFC 9420 s8).
    pub(crate) struct JoinerSecret;
}

secret_type! {
    /// Encrypts the GroupInfo in a Welcome (RFC 9420 s8).
    pub(crate) struct WelcomeSecret;
}

secret_type! {
    /// The root of an epoch's secrets; erased once they are derived (RFC 9420 s8).
    pub(crate) struct EpochSecret;
}

secret_type! {
    /// Encrypts who sent a PrivateMessage (RFC 9420 s6.3.2).
    pub(crate) struct SenderDataSecret;
}

secret_type! {
    /// The root of the secret tree (RFC 9420 s9).
    pub(crate) struct EncryptionSecret;
}

secret_type! {
    /// The root of exported secrets (RFC 9420 s8.5).
    pub(crate) struct ExporterSecret;
}

secret_type! {
    /// Gives the key pair for external commits (RFC 9420 s8.3).
    pub(crate) struct ExternalSecret;
}

secret_type! {
    /// Confirms that members reached the same epoch (RFC 9420 s8.1).
    pub(crate) struct ConfirmationKey;
}

secret_type! {
    /// Authenticates members' PublicMessages (RFC 9420 s6.2).
    pub(crate) struct MembershipKey;
}

secret_type! {
    /// Proves membership in this epoch to later ones (RFC 9420 s8.6).
    pub struct ResumptionPsk;
}

secret_type! {
    /// Two members who compare it know that they are in the same epoch (RFC 9420 s8.7).
    pub(crate) struct EpochAuthenticator;
}

secret_type! {
    /// A secret from the exporter (RFC 9420 s8.5).
    pub struct ExportedSecret;
}

/// `KDF.Extract(joiner_secret, psk_secret)`: between the joiner_secret and the epoch_secret.
pub(crate) struct Intermediate(Secret);

/// Everything that an epoch keeps of its epoch_secret, but for what the next epoch starts from.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct EpochSecrets {
    pub exporter: ExporterSecret,
    pub external: ExternalSecret,
    pub membership_key: MembershipKey,
    pub resumption_psk: ResumptionPsk,
    pub epoch_authenticator: EpochAuthenticator,
}

wire_struct!(EpochSecrets { exporter, external, membership_key, resumption_psk, epoch_authenticator });

/// All that comes out of an epoch_secret, before it is shown to be the right one: [`Expanded::confirm`].
pub(crate) struct Expanded {
    /// Makes the confirmation tag, and is erased.
    pub confirmation_key: ConfirmationKey,
    pub keys: EpochKeys,
}

/// What an epoch is made of.
pub(crate) struct EpochKeys {
    pub id: EpochId,
    pub secrets: EpochSecrets,
    /// Goes with the secret tree: it is needed to read messages.
    pub sender_data: SenderDataSecret,
    /// Consumed by the secret tree.
    pub encryption: EncryptionSecret,
    /// What the next epochs start from.
    pub next_init: NextInit,
}

impl CommitSecret {
    /// Without an update path: Nh zero bytes.
    pub(crate) fn zero(suite: &Suite) -> Self {
        Self(Secret::zero(suite.nh()))
    }

    /// `commit_secret = DeriveSecret(path_secret[n], "path")`, or zero.
    pub(crate) fn derive(suite: &Suite, last_path_secret: Option<&Secret>) -> Self {
        last_path_secret.map_or_else(|| Self::zero(suite), |secret| Self(suite.derive_secret(secret, "path")))
    }
}

impl JoinerSecret {
    pub(crate) fn derive(
        suite: &Suite,
        init: &InitSecret,
        commit: &CommitSecret,
        context: &impl Encode,
    ) -> Self {
        let extracted = suite.extract(&init.0, &commit.0);
        Self(suite.expand_with_label(&extracted, "joiner", &context.to_bytes(), suite.nh()))
    }

    pub(crate) fn with_psk(&self, suite: &Suite, psk: &PskSecret) -> Intermediate {
        Intermediate(suite.extract(&self.0, &psk.0))
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl Intermediate {
    pub(crate) fn welcome_secret(&self, suite: &Suite) -> WelcomeSecret {
        WelcomeSecret(suite.derive_secret(&self.0, "welcome"))
    }

    pub(crate) fn epoch_secret(&self, suite: &Suite, context: &impl Encode) -> EpochSecret {
        EpochSecret(suite.expand_with_label(&self.0, "epoch", &context.to_bytes(), suite.nh()))
    }
}

impl EpochSecret {
    /// A random one, for epoch 0 (RFC 9420 s11).
    pub(crate) fn random(suite: &Suite, rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Secret::random(suite.nh(), rng))
    }

    /// Derives everything and erases the epoch_secret.
    pub(crate) fn expand(self, suite: &Suite, schedule: KeySchedule) -> Expanded {
        let derive = |label| suite.derive_secret(&self.0, label);
        let keys = EpochKeys {
            id: derive("epoch").as_bytes().into(),
            sender_data: SenderDataSecret(derive("sender data")),
            secrets: EpochSecrets {
                exporter: ExporterSecret(derive("exporter")),
                external: ExternalSecret(derive("external")),
                membership_key: MembershipKey(derive("membership")),
                resumption_psk: ResumptionPsk(derive("resumption")),
                epoch_authenticator: EpochAuthenticator(derive("authentication")),
            },
            encryption: EncryptionSecret(derive("encryption")),
            next_init: NextInit::derive(suite, schedule, &self.0),
        };
        Expanded { confirmation_key: ConfirmationKey(derive("confirm")), keys }
    }
}

impl ExternalSecret {
    /// `external_priv, external_pub = KEM.DeriveKeyPair(external_secret)` (RFC 9420 s8.3).
    pub(crate) fn key_pair(&self, suite: &Suite) -> Result<HpkeKeyPair, CryptoError> {
        suite.derive_key_pair(&self.0)
    }
}
