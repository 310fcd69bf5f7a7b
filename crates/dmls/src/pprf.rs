//! The puncturable pseudorandom function that derives the init secrets of child epochs (draft s5).
//!
//! A secret tree of depth `8 * Nh` (reading R1: the bits of the input walk from the root, the most significant bit
//! first, 0 to the left), derived as in RFC 9420 s9 (reading R2). An evaluation derives the leaf of its input; the
//! puncture that belongs to it replaces the last stored node above that leaf by the copath below, so that the leaf
//! can't be derived again while all others can.
//!
//! What is stored: the root, until the first puncture; then the [`Copath`] of each punctured input. A puncture adds
//! one copath and takes one node away from another, however many punctures there were before, in memory as on disk.

mod copath;
mod records;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use zeroize::Zeroizing;

use crate::crypto::{MAX_NH, Secret, Suite, TreeKdf};
use copath::Copath;

/// The function with its punctures. Not `Clone`: a copy would be one that was not punctured.
pub(crate) struct Pprf {
    nh: usize,
    live: Live,
}

/// The nodes from which outputs are still to be derived.
enum Live {
    /// All outputs.
    Root(Secret),
    /// By punctured input, of `nh` bytes. An input tells nobody an output: those come from the nodes.
    Copaths(BTreeMap<Vec<u8>, Copath>),
}

/// What makes one input impossible to evaluate again.
pub(crate) struct Puncture {
    input: Vec<u8>,
    copath: Copath,
    /// The record of the node that was live above the input, without that node.
    above: (Vec<u8>, Option<Zeroizing<Vec<u8>>>),
}

impl Puncture {
    /// What can't be evaluated any more.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input
    }
}

/// Why there is no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PprfError {
    /// The input, or the secret, does not have the length of the suite's hash.
    InputLength,
    /// The input was punctured.
    Punctured,
}

impl fmt::Display for PprfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InputLength => "the input of the PPRF does not have the length of a hash",
            Self::Punctured => "the PPRF was punctured at this input",
        })
    }
}

impl std::error::Error for PprfError {}

/// The live node above an input.
struct Place<'a> {
    depth: usize,
    secret: &'a [u8],
    /// In whose copath it is; `None` for the root.
    owner: Option<(&'a Vec<u8>, &'a Copath)>,
}

impl Pprf {
    /// The function of a root secret, not punctured.
    pub(crate) fn new(root: Secret) -> Self {
        Self { nh: root.len(), live: Live::Root(root) }
    }

    /// `DeriveFSSecret(secret, input)` (draft s5). Changes nothing: that is for [`Pprf::apply`].
    pub(crate) fn evaluate(&self, suite: &Suite, input: &[u8]) -> Result<(Secret, Puncture), PprfError> {
        if input.len() != self.nh || suite.nh() != self.nh {
            return Err(PprfError::InputLength);
        }
        let place = self.place(input).ok_or(PprfError::Punctured)?;
        let below = 8 * self.nh - place.depth;

        let mut kdf = TreeKdf::new(suite.hash_algorithm());
        let mut node = Zeroizing::new([0; MAX_NH]);
        let mut child = Zeroizing::new([0; MAX_NH]);
        let mut siblings = Zeroizing::new(vec![0; below * self.nh]);
        node[..self.nh].copy_from_slice(place.secret);
        for (level, sibling) in (place.depth..).zip(siblings.chunks_exact_mut(self.nh)) {
            let (parent, child_part) = (&node[..self.nh], &mut child[..self.nh]);
            match bit(input, level) {
                0 => kdf.children(parent, child_part, sibling),
                _ => kdf.children(parent, sibling, child_part),
            }
            std::mem::swap(&mut node, &mut child);
        }
        let leaf = Secret::new(node[..self.nh].to_vec());
        let (parent, above) = match place.owner {
            None => (None, (Vec::new(), None)),
            Some((owner, copath)) => (Some(owner.clone()), copath.record_without(owner, place.depth - 1)),
        };
        let copath = Copath::new(self.nh, place.depth, parent, siblings);
        Ok((suite.derive_secret(&leaf, "pprf"), Puncture { input: input.to_vec(), copath, above }))
    }

    /// Punctures.
    ///
    /// The puncture must come from this function as it is now: one that was computed before another was applied
    /// would bring back what that one erased.
    pub(crate) fn apply(&mut self, puncture: Puncture) {
        let Puncture { input, copath, .. } = puncture;
        match (&mut self.live, &copath.parent) {
            (live @ Live::Root(_), None) => *live = Live::Copaths(BTreeMap::from([(input, copath)])),
            (Live::Copaths(copaths), Some(parent)) => {
                let above = copaths.get_mut(parent).expect("a copath is never removed");
                above.remove(copath.first_level() - 1);
                copaths.insert(input, copath);
            }
            _ => unreachable!("a puncture is applied to the function that it came from"),
        }
    }

    /// How many node secrets are stored.
    pub(crate) fn live_nodes(&self) -> usize {
        match &self.live {
            Live::Root(_) => 1,
            Live::Copaths(copaths) => copaths.values().map(Copath::live_nodes).sum(),
        }
    }

    /// How many inputs were punctured.
    pub(crate) fn punctures(&self) -> usize {
        match &self.live {
            Live::Root(_) => 0,
            Live::Copaths(copaths) => copaths.len(),
        }
    }

    /// The live node above `input`; `None` if the input was punctured.
    fn place(&self, input: &[u8]) -> Option<Place<'_>> {
        let copaths = match &self.live {
            Live::Root(root) => return Some(Place { depth: 0, secret: root.as_bytes(), owner: None }),
            Live::Copaths(copaths) => copaths,
        };
        let before = copaths.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(input))).next_back();
        let after = copaths.range::<[u8], _>((Bound::Included(input), Bound::Unbounded)).next();
        // The node hangs off the path to the punctured input that shares most with this one.
        let (nearest, common) = [before, after]
            .into_iter()
            .flatten()
            .map(|entry| (entry, common_bits(input, entry.0)))
            .max_by_key(|(_, common)| *common)?;
        if common == 8 * self.nh {
            return None;
        }
        // Of the inputs below its sibling, the first punctured one has it in its copath. Each of these steps leads
        // to a copath that begins above the last one: they are at most 8 * Nh.
        let mut owner = nearest;
        while owner.1.first_level() > common {
            let parent = owner.1.parent.as_ref().expect("the first copath begins at the root");
            owner = copaths.get_key_value(parent).expect("a copath is never removed");
        }
        Some(Place { depth: common + 1, secret: owner.1.secret(common), owner: Some(owner) })
    }
}

/// The bit that decides the way from depth `depth` to the next.
fn bit(input: &[u8], depth: usize) -> u8 {
    input[depth / 8] >> (7 - depth % 8) & 1
}

/// How many bits two inputs share from the top.
fn common_bits(one: &[u8], other: &[u8]) -> usize {
    let equal = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    8 * equal + one.iter().zip(other).nth(equal).map_or(0, |(a, b)| (a ^ b).leading_zeros() as usize)
}

impl fmt::Debug for Pprf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pprf({} punctures, {} live nodes)", self.punctures(), self.live_nodes())
    }
}

impl fmt::Debug for Puncture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Puncture(..)")
    }
}
