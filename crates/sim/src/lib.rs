//! Worlds from seeds, in which the delivery service is tried.
//!
//! A *light* world has real servers ([`dmls_delivery::Server`]) and abstract commits with random tags; clients are stubs that hold keys, process what
//! they can, and say so. Something happens for a while; then everything is mended, and it must come together. What must hold is in
//! `checks`; what must hold all the time is asked where it could break.

mod checks;
mod client;
mod command;
mod config;
mod dice;
pub mod exhaustive;
mod picture;
mod registry;
mod run;
mod script;
mod shrink;
mod world;

pub use client::Harm;
pub use command::{Options, simulate};
pub use config::{CONFIGS, Config, config};
pub use dmls::CommitId;
pub use dmls_delivery::testing::Mutant;
pub use registry::Person;
pub use run::{Outcome, events, run};
pub use script::Script;
pub use shrink::shrink;
pub use world::Violation;
