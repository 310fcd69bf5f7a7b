//! What messages carry: proposals and commits (RFC 9420 s12.1, s12.4), GroupInfo and Welcome (s12.4.3).

mod commit;
mod group_info;
mod proposal;
mod welcome;

pub use crate::key_schedule::psk::{PreSharedKeyId, Psk, ResumptionPskUsage};
pub use commit::{Commit, ProposalOrRef};
pub use group_info::GroupInfo;
pub use proposal::{Proposal, ReInit};
pub use welcome::{EncryptedGroupSecrets, Welcome};
pub(crate) use welcome::{GroupSecrets, WelcomeKeys};
