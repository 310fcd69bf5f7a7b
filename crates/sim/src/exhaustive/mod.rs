//! Every history of a small world: the states of real servers ([`dmls_delivery::Server`]) and of the network between them, breadth first.
//!
//! A state is the servers (what they have kept, and the ballots that they lead), the frames under way, and what has been used of the
//! bounds. From each state everything is done that may happen: a server starts a ballot with any view, any frame arrives, a server stops
//! and starts again from its records, a client submits a commit. What must hold is asked in each state (`invariants`), and whether all
//! comes together when the network is repaired (`heal`).
//!
//! # What is left out, and why nothing is lost by it
//!
//! - *Loss, delay, reordering.* A frame under way may arrive in any order or never: one that is lost differs in nothing from one that
//!   waits for ever. Only copies are counted ([`Bounds::copies`]).
//! - *Bodies* are at all servers as soon as a commit is submitted. They are asked for by name and are the same everywhere; asking changes
//!   nothing at who is asked; and a message that waits for a body is one that arrives later. A server decides nothing by a body that
//!   is neither certified nor voted for.
//! - *Outboxes.* A row stands for a frame that is never lost. Rows arrive in any order here, which is more than can happen.
//!   Their acknowledgements only empty the outbox.
//! - *Flushes* and the questions for them: a flush says that a commit is final, which the row before it says to the same servers; the
//!   watermark is what devices follow, and no server decides by it. (`heal` delivers them.)
//! - *Outbid* ends a ballot that gets no votes and says how high ballots are. A ballot may be left alone anyway, and a server may start one
//!   with any number that follows its own highest or the highest of all: others below it may have been started and lost.
//! - *Dead frames* (`network`) are those which change nothing any more, now and later; they are taken away.
//! - *Queues of devices* and times: no server decides by a queue; `devices` are none here, so that no one is waited for.
//!
//! Servers are not exchanged for each other: ties are broken by their numbers. So both orders of tags are tried ([`Bounds::falling`]).

mod actions;
mod bounds;
mod commits;
mod fingerprint;
mod heal;
mod invariants;
mod model;
mod network;
mod search;

pub use bounds::{Bounds, Hunt, LARGE, Offer, QUICK, bounds, hunts};
pub use search::{Found, Report, search};
