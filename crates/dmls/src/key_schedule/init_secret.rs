//! Where an epoch's init_secret comes from: RFC 9420 s8 (linear), draft s4 (punctured), or an external init (s8.3).

use zeroize::Zeroizing;

use crate::codec::{DecodeError, Encode};
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

secret_type! {
    /// The input of the PPRF for one child (draft s4). Kept with an own commit that is not confirmed, it gives the
    /// puncture when that is needed; it is of no use to who has no PPRF.
    pub(crate) struct ChildInput;
}

/// What the children of an epoch start from.
#[derive(Debug)]
pub(crate) enum NextInit {
    /// The one init_secret of RFC 9420.
    Linear(InitSecret),
    /// The PPRF keyed by `parent_init_secret`, which stands for the draft's base_init_secret (R6).
    Punctured(Pprf),
}

impl ChildInput {
    /// The input that a puncture is for.
    pub(crate) fn of(puncture: &Puncture) -> Self {
        Self(Secret::new(puncture.input().to_vec()))
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl CommitConfirmation {
    /// Without an update path `path_secret[n]` is Nh zero bytes (R4).
    pub(crate) fn derive(suite: &Suite, last_path_secret: Option<&Secret>) -> Self {
        match last_path_secret {
            Some(secret) => Self(suite.derive_secret(secret, "conf")),
            None => Self(suite.derive_secret(&Secret::zero(suite.nh()), "conf")),
        }
    }

    /// The input for the child that this commit makes. The context is the child's, with its final
    /// confirmed_transcript_hash (R3).
    pub(crate) fn child_input(&self, suite: &Suite, context: &impl Encode) -> ChildInput {
        ChildInput(suite.expand_with_label(&self.0, "child_init", &context.to_bytes(), suite.nh()))
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
    pub(crate) fn child(
        &self,
        suite: &Suite,
        confirmation: &CommitConfirmation,
        context: &impl Encode,
    ) -> Result<(InitSecret, Option<Puncture>), Rule> {
        match self {
            Self::Linear(secret) => Ok((InitSecret(secret.0.duplicate()), None)),
            Self::Punctured(_) => {
                let (secret, puncture) = self.evaluate(suite, &confirmation.child_input(suite, context))?;
                Ok((secret, Some(puncture)))
            }
        }
    }

    /// `DeriveFSSecret(prf_key, input)`, and what it must erase in today's state, whatever other children erased since
    /// the input was computed. The RFC's key schedule has no inputs.
    pub(crate) fn evaluate(&self, suite: &Suite, input: &ChildInput) -> Result<(InitSecret, Puncture), Rule> {
        let Self::Punctured(pprf) = self else { return Err(Rule::KeySchedule) };
        match pprf.evaluate(suite, input.as_bytes()) {
            Ok((secret, puncture)) => Ok((InitSecret(secret), puncture)),
            Err(PprfError::Punctured) => Err(Rule::Punctured),
            // Of another suite: Nh bytes were expanded.
            Err(PprfError::InputLength) => Err(Rule::KeySchedule),
        }
    }

    /// Everything, for storage: the end of each key, and the value.
    pub(crate) fn records(&self) -> Vec<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        match self {
            Self::Linear(secret) => vec![(Vec::new(), Zeroizing::new(secret.as_bytes().to_vec()))],
            Self::Punctured(pprf) => pprf.records(),
        }
    }

    /// From what [`NextInit::records`] gave, changed by what each [`Puncture::records`] gave.
    pub(crate) fn from_records<'a>(
        suite: &Suite,
        schedule: KeySchedule,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, DecodeError> {
        match schedule {
            KeySchedule::Dmls => Pprf::from_records(suite.nh(), records).map(Self::Punctured),
            KeySchedule::Rfc9420 => {
                let mut records = records.into_iter();
                match (records.next(), records.next()) {
                    (Some(([], value)), None) if value.len() == suite.nh() => {
                        Ok(Self::Linear(InitSecret(Secret::new(value.to_vec()))))
                    }
                    _ => Err(DecodeError::at(0, "one init_secret of the length of a hash")),
                }
            }
        }
    }

    /// Erases what a child was derived from.
    pub(crate) fn apply(&mut self, puncture: Puncture) {
        if let Self::Punctured(pprf) = self {
            pprf.apply(puncture);
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
