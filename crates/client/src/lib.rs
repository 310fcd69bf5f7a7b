//! The engine of a client, and a folder as its network.

mod folder;
mod parcel;
mod transport;

pub use folder::{Folder, FolderError, Statistics, Swept, Usage, Watch};
pub use parcel::{GroupTag, Name, Parcel, Place};
pub use transport::{Fault, Flow, Transport, Why};
