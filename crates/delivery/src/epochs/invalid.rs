//! Why a bundle makes no epoch.

use std::fmt;

use dmls::LeafIndex;
use dmls::codec::DecodeError;

/// Why a bundle makes no epoch. The same for everybody who has its parent (J6): never an opinion, a clock, or a lack of room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// A part of it is larger than bundles of this version may be.
    TooLarge(Part),
    /// It does not decode.
    Malformed(DecodeError),
    /// It is of a version that the group's servers don't have.
    Version(u16),
    /// The GroupInfo has the ratchet tree in it.
    TreeInGroupInfo,
    /// It breaks a rule of MLS or of the draft, which the library names.
    Commit(dmls::Error),
    /// A leaf does not say as it should which server speaks for it.
    Home {
        /// The leaf.
        leaf: LeafIndex,
        /// What is wrong.
        rule: HomeRule,
    },
    /// Its parent was let go here: all servers have flushed an epoch after it, so no commit on it counts any more.
    Over,
    /// Somebody other than this crate's own [`crate::GroupEpochs`] says so.
    Other(&'static str),
}

/// A part of a bundle that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "they are named as in the bundle")]
pub enum Part {
    Bundle,
    Proposals,
    Proposal,
    GroupInfo,
}

/// What a home attestation must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HomeRule {
    /// There must be one.
    Missing,
    /// It must name a server with its key, and a device by 32 bytes.
    Malformed,
    /// The server that it names must have signed it, for the signature key of this leaf.
    Signature,
    /// All leaves of a server must name one key for it, before and after the commit.
    ServerKey,
    /// No two leaves may be one device.
    DeviceTwice,
}

impl Part {
    pub(super) fn check(self, size: usize, limit: usize) -> Result<(), Invalid> {
        if size > limit { Err(Invalid::TooLarge(self)) } else { Ok(()) }
    }
}

impl HomeRule {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "it has no home attestation",
            Self::Malformed => "its home attestation can't be read",
            Self::Signature => {
                "its home attestation is not signed by the server that it names, or is for another key"
            }
            Self::ServerKey => "it names another key of its server than the group has",
            Self::DeviceTwice => "its device is a member already",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the commit is invalid: ")?;
        match self {
            Self::TooLarge(part) => write!(f, "too large ({part:?})"),
            Self::Malformed(error) => write!(f, "its bundle does not decode: {error}"),
            Self::Version(version) => write!(f, "its bundle is of version {version}"),
            Self::TreeInGroupInfo => f.write_str("its GroupInfo has the ratchet tree in it"),
            Self::Commit(error) => error.fmt(f),
            Self::Home { leaf, rule } => write!(f, "leaf {}: {}", leaf.0, rule.text()),
            Self::Over => f.write_str("the epoch that it was made on is over for all"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Invalid {}

impl From<DecodeError> for Invalid {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<dmls::Error> for Invalid {
    fn from(error: dmls::Error) -> Self {
        match error {
            dmls::Error::Usage(dmls::Usage::UnknownEpoch) => Self::Over,
            error => Self::Commit(error),
        }
    }
}
