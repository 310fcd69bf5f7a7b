//! The engine of a client, and a folder as its network.

mod parcel;
mod transport;

pub use parcel::{GroupTag, Name, Parcel, Place};
pub use transport::{Fault, Flow, Transport, Why};
