//! Where an epoch's init_secret comes from: RFC 9420 s8 (linear), draft s4 (punctured), or an external init (s8.3).

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{CryptoError, HpkeKeyPair, HpkePublicKey, KemOutput, Secret, Suite, secret_type};
use crate::error::Rule;
use crate::pprf::{Pprf, PprfError, Puncture};

/// Which key schedule a group uses. It never changes (DESIGN s3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySchedule {
    /// RFC 9420: one child for each epoch.
    Rfc9420,
    /// The draft: many children for each epoch, each once.
    Dmls,
}

secret_type! {
    /// `init_secret` as it enters an epoch (RFC 9420 s8).
    pub(crate) struct InitSecret;
}

secret_type! {
    /// `commit_confirmation = DeriveSecret(path_secret[n], "conf")` (draft s4).
    pub(crate) struct CommitConfirmation;
}

/// What the children of an epoch start from.
#[derive(Debug)]
pub(crate) enum NextInit {
    /// The one init_secret of RFC 9420.
    Linear(InitSecret),
    /// The PPRF keyed by `parent_init_secret`, which stands for the draft's base_init_secret (R6).
    Punctured(Pprf),
}

impl CommitConfirmation {
    /// Without an update path `path_secret[n]` is Nh zero bytes (R4).
    pub(crate) fn derive(suite: &Suite, last_path_secret: Option<&Secret>) -> Self {
        match last_path_secret {
            Some(secret) => Self(suite.derive_secret(secret, "conf")),
            None => Self(suite.derive_secret(&Secret::zero(suite.nh()), "conf")),
        }
    }
}

impl NextInit {
    pub(super) fn derive(suite: &Suite, schedule: KeySchedule, epoch_secret: &Secret) -> Self {
        match schedule {
            KeySchedule::Rfc9420 => Self::Linear(InitSecret(suite.derive_secret(epoch_secret, "init"))),
            KeySchedule::Dmls => Self::Punctured(Pprf::new(suite.derive_secret(epoch_secret, "parent_init"))),
        }
    }

    /// The init_secret of one child, and what deriving it must erase here. Changes nothing yet.
    ///
    /// ```text
    /// DeriveChildSecret(prf_key, "child_init", commit_confirmation, GroupContext_[n]) =
    ///   DeriveFSSecret(prf_key, ExpandWithLabel(commit_confirmation, "child_init", GroupContext_[n], KDF.Nh))
    /// ```
    ///
    /// The context is the child's, with its final confirmed_transcript_hash (R3).
    pub(crate) fn child(
        &self,
        suite: &Suite,
        confirmation: &CommitConfirmation,
        context: &impl Encode,
    ) -> Result<(InitSecret, Option<Puncture>), Rule> {
        match self {
            Self::Linear(secret) => Ok((InitSecret(secret.0.duplicate()), None)),
            Self::Punctured(pprf) => {
                let input =
                    suite.expand_with_label(&confirmation.0, "child_init", &context.to_bytes(), suite.nh());
                match pprf.evaluate(suite, input.as_bytes()) {
                    Ok((secret, puncture)) => Ok((InitSecret(secret), Some(puncture))),
                    Err(PprfError::Punctured) => Err(Rule::Punctured),
                    Err(PprfError::InputLength) => unreachable!("Nh bytes were expanded"),
                }
            }
        }
    }

    /// Whether it is of this key schedule and suite.
    pub(crate) fn fits(&self, suite: &Suite, schedule: KeySchedule) -> bool {
        match self {
            Self::Linear(secret) => schedule == KeySchedule::Rfc9420 && secret.0.len() == suite.nh(),
            Self::Punctured(pprf) => schedule == KeySchedule::Dmls && pprf.nh() == suite.nh(),
        }
    }

    /// The encoding, for storage.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Linear(secret) => tagged(1, &secret.to_bytes().into()),
            Self::Punctured(pprf) => tagged(2, &pprf.record()),
        }
    }

    /// The encoding once a puncture is applied.
    pub(crate) fn record_after(&self, puncture: &Puncture) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Linear(_) => self.record(),
            Self::Punctured(pprf) => tagged(2, &pprf.record_after(puncture)),
        }
    }

    /// Erases what a child was derived from.
    pub(crate) fn apply(&mut self, puncture: Puncture) {
        if let Self::Punctured(pprf) = self {
            pprf.apply(puncture);
        }
    }
}

fn tagged(tag: u8, record: &Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(1 + record.len()));
    out.push(tag);
    out.extend_from_slice(record);
    out
}

impl Decode for NextInit {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => InitSecret::decode(r).map(Self::Linear),
            2 => Pprf::decode(r).map(Self::Punctured),
            _ => Err(DecodeError::at(start, "1 (linear) or 2 (punctured)")),
        }
    }
}

/// The exporter context of an external init.
const EXTERNAL_INIT: &[u8] = b"MLS 1.0 external init secret";

/// The joiner's side of an external init: what goes into the proposal, and the init_secret, used directly (R5).
pub(crate) fn external_init_sender(
    suite: &Suite,
    external_pub: &HpkePublicKey,
    rng: &mut dyn rand_core::CryptoRng,
) -> Result<(KemOutput, InitSecret), CryptoError> {
    let (kem_output, secret) = suite.hpke_export_sender(external_pub, EXTERNAL_INIT, suite.nh(), rng)?;
    Ok((kem_output, InitSecret(secret)))
}

/// The members' side.
pub(crate) fn external_init_receiver(
    suite: &Suite,
    external: &HpkeKeyPair,
    kem_output: &KemOutput,
) -> Result<InitSecret, CryptoError> {
    suite.hpke_export_receiver(external, kem_output, EXTERNAL_INIT, suite.nh()).map(InitSecret)
}
