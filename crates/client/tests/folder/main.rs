//! A folder as a network: real files, real processes, and what others do to both.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "processes, threads and time are what is tested")]

mod common;
mod hostile;
mod merging;
mod opening;
mod processes;
mod receiving;
mod sweeping;
mod watching;
