//! The delivery service of decentralized MLS (draft s6.1) as a state machine.
//!
//! Servers queue messages for their devices, and agree on the order of commits with all servers that they reach. Where the network
//! breaks each side goes on by itself; when it heals, the higher confirmation tag decides, and what all have voted for is final.
//!
//! [`Server`] has no clock, no network and no disk: [`Server::handle`] takes an [`Input`] and gives [`Effects`], which let frames out only after what
//! they promise was written. Trees and signatures are behind [`Epochs`]; [`GroupEpochs`] are
//! the real ones.

mod codec;
mod commit;
mod effects;
mod epochs;
mod frame;
mod group;
mod ids;
mod link;
mod message;
#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only simulators set one"))]
mod mutant;
mod outbox;
mod queue;
mod records;
mod roster;
mod server;
#[cfg(feature = "testing")]
pub mod testing;

pub use commit::{Body, Commit, Epochs, Joiner, Ranking};
pub use effects::{Alarm, Effects, Sendable};
pub use epochs::{
    GroupEpochs, Home, HomeRule, Invalid, Part, RULES, Records, ServerKeys, Unfit, decode_bundle,
    encode_bundle,
};
pub use frame::{Content, Frame, Position};
pub use group::{Damaged, Refused};
pub use ids::{Ballot, Device, GroupName, Incarnation, MessageName, Millis, ServerId};
pub use link::{Announcement, LinkEvent, LinkFrame, Reach};
pub use message::{Candidate, Digest, Item, Message, Parcel, Testimony, Verdict};
pub use records::{Kept, Writes, replay_into};
pub use roster::{Approval, BadRecord, Change, Operator, Record, Roster, RosterHash};
pub use server::{Input, Server, Status, kept_groups};
