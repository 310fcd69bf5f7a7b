//! On which fork we send (draft s6, s6.1.2).

use std::cmp::Ordering;

use crate::crypto::Tag;
use crate::key_schedule::EpochId;

/// A child of the epoch at which branches part.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The child; `None` if its commit removes us, so that we can't know its name.
    pub id: Option<&'a EpochId>,
    /// The confirmation tag of the commit that made it.
    pub tag: &'a Tag,
}

/// Prefers one of two branches, by the commits with which they part. It must be a total order that depends on nothing
/// but its arguments, or members will not agree.
pub trait ForkChoice: Send + Sync {
    /// `Greater` if `one` is preferred.
    fn compare(&self, one: Candidate<'_>, other: Candidate<'_>) -> Ordering;
}

/// The draft's rule: the lexicographically higher confirmation tag wins (s6.1.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct HighestConfirmationTag;

impl ForkChoice for HighestConfirmationTag {
    fn compare(&self, one: Candidate<'_>, other: Candidate<'_>) -> Ordering {
        one.tag.as_bytes().cmp(other.tag.as_bytes())
    }
}
