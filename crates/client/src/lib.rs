//! The engine of a client: what a person wants goes in, messages come out, whatever order the network has; and a folder as a network.
//!
//! [`Client`] holds a profile's groups, people and messages. It has no clock, no network and no generator: time and randomness are arguments, a
//! [`Transport`] carries [`Parcel`]s. Everything that it decides is in one transaction with what follows from it.

mod client;
mod crowd;
mod damaged;
mod doubt;
mod entry;
mod error;
mod event;
mod folder;
mod happened;
mod inbox;
mod intake;
mod intents;
mod lost;
mod names;
mod outbox;
mod own_packages;
mod parcel;
mod payload;
mod people;
mod record;
mod settings;
mod state;
mod sync;
mod transport;
mod unsettled;
mod upkeep;
mod work;

pub use client::{Client, GroupInfo, Shown};
pub use entry::{Entry, GroupEvent, Message, Note};
pub use error::Error;
pub use event::Event;
pub use folder::{Folder, FolderError, Statistics, Swept, Usage, Watch};
pub use names::{Names, check_name};
pub use outbox::Outgoing;
pub use parcel::{GroupTag, Name, Parcel, Place};
pub use payload::{MAX_TEXT, MessageId};
pub use people::{Contact, Fingerprint};
pub use settings::Settings;
pub use sync::Synced;
pub use transport::{Fault, Flow, Transport, Why};
