//! Live peers: other implementations of RFC 9420 behind one small trait, to be judged by them and measured
//! beside them.
//!
//! - [`Peer`] is one client in one group, every message as the bytes of an `MLSMessage` (RFC 9420 s6).
//! - [`DmlsPeer`], [`OpenMlsPeer`] and [`MlsRsPeer`] are that over the three libraries.
//! - [`scenario`] takes any mix of peers through what a group can live through, and checks that they agree.
//!
//! ```
//! use dmls_bench::{Config, DmlsPeer, MlsRsPeer, OpenMlsPeer, Peer, scenario};
//!
//! let peers: Vec<Box<dyn Peer>> = vec![
//!     Box::new(OpenMlsPeer::new(Config::new(1, b"alice"))?),
//!     Box::new(MlsRsPeer::new(Config::new(1, b"bob"))?),
//!     Box::new(DmlsPeer::new(Config::new(1, b"carol"), dmls::Provider::default())?),
//! ];
//! scenario::run(peers, b"a group")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dmls_peer;
mod mls_rs_peer;
mod openmls_peer;
mod peer;
pub mod scenario;

pub use dmls_peer::DmlsPeer;
pub use mls_rs_peer::MlsRsPeer;
pub use openmls_peer::OpenMlsPeer;
pub use peer::{Committed, Config, Peer, Received};
