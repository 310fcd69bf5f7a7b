//! The puncturable pseudorandom function that derives the init secrets of child epochs (draft s5).
//!
//! A secret tree of depth `8 * Nh` (reading R1: the bits of the input walk from the root, the most significant bit
//! first, 0 to the left), derived as in RFC 9420 s9 (reading R2). An evaluation derives the leaf of its input; the
//! puncture that belongs to it replaces the last stored node above that leaf by the copath below, so that the leaf
//! can't be derived again while all others can.
//!
//! What is stored: the punctured inputs in order, and the secrets of the live nodes from left to right, without a
//! word about which node each is. The inputs say that: the live nodes are what hangs off the paths to them.

#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{MAX_NH, Secret, Suite, TreeKdf};

/// The function with its punctures. Not `Clone`: a copy would be one that was not punctured.
pub(crate) struct Pprf {
    nh: usize,
    /// Punctured inputs, ascending, `nh` bytes each. Public: they are in the commits.
    inputs: Vec<u8>,
    /// Secrets of the live nodes, from left to right, `nh` bytes each.
    secrets: Zeroizing<Vec<u8>>,
}

/// What makes one input impossible to evaluate again.
pub(crate) struct Puncture {
    input: Vec<u8>,
    /// Depth of the node that was live above the input.
    depth: usize,
    /// The copath below that node, from the top.
    copath: Zeroizing<Vec<u8>>,
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

impl Pprf {
    /// The function of a root secret, not punctured.
    pub(crate) fn new(root: Secret) -> Self {
        Self { nh: root.len(), inputs: Vec::new(), secrets: Zeroizing::new(root.as_bytes().to_vec()) }
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
        let mut copath = Zeroizing::new(vec![0; below * self.nh]);
        node[..self.nh].copy_from_slice(self.secret(place.index));
        for (depth, sibling) in (place.depth..).zip(copath.chunks_exact_mut(self.nh)) {
            let (parent, child_part) = (&node[..self.nh], &mut child[..self.nh]);
            match bit(input, depth) {
                0 => kdf.children(parent, child_part, sibling),
                _ => kdf.children(parent, sibling, child_part),
            }
            std::mem::swap(&mut node, &mut child);
        }
        let leaf = Secret::new(node[..self.nh].to_vec());
        let puncture = Puncture { input: input.to_vec(), depth: place.depth, copath };
        Ok((suite.derive_secret(&leaf, "pprf"), puncture))
    }

    /// Punctures.
    ///
    /// The puncture must come from this function. Others may have been applied since it was computed: it is cut to
    /// what is still live, and one that was applied already does nothing.
    pub(crate) fn apply(&mut self, puncture: Puncture) {
        if let Some(after) = self.after(&puncture) {
            *self = after;
        }
    }

    /// The encoding that the function will have once `puncture` is applied, to be stored before that is done.
    pub(crate) fn record_after(&self, puncture: &Puncture) -> Zeroizing<Vec<u8>> {
        self.after(puncture).as_ref().unwrap_or(self).record()
    }

    /// The encoding, in memory that is erased.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        // The two headers have at most 4 bytes each. Memory that doesn't grow leaves no copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(1 + 8 + self.inputs.len() + self.secrets.len()));
        self.encode(&mut out);
        out
    }

    /// Length of its inputs and secrets in bytes.
    pub(crate) fn nh(&self) -> usize {
        self.nh
    }

    /// How many node secrets are stored.
    pub(crate) fn live_nodes(&self) -> usize {
        self.secrets.len() / self.nh
    }

    /// How many inputs were punctured.
    pub(crate) fn punctures(&self) -> usize {
        self.inputs.len() / self.nh
    }

    /// The function with one more puncture; `None` if it has that one already.
    fn after(&self, puncture: &Puncture) -> Option<Self> {
        let place = self.place(&puncture.input)?;
        let bits = 8 * self.nh;
        // A node above the one that was live then can't be live now.
        let skipped = place.depth.checked_sub(puncture.depth).expect("a puncture is applied to its own PPRF");
        let copath = &puncture.copath[skipped * self.nh..];
        let sibling = |depth: usize| &copath[(depth - place.depth) * self.nh..][..self.nh];

        let mut secrets = Zeroizing::new(Vec::with_capacity(self.secrets.len() - self.nh + copath.len()));
        secrets.extend_from_slice(&self.secrets[..place.index * self.nh]);
        for depth in (place.depth..bits).filter(|depth| bit(&puncture.input, *depth) == 1) {
            secrets.extend_from_slice(sibling(depth));
        }
        for depth in (place.depth..bits).rev().filter(|depth| bit(&puncture.input, *depth) == 0) {
            secrets.extend_from_slice(sibling(depth));
        }
        secrets.extend_from_slice(&self.secrets[(place.index + 1) * self.nh..]);

        let mut inputs = self.inputs.clone();
        let at = place.gap * self.nh;
        inputs.splice(at..at, puncture.input.iter().copied());
        Some(Self { nh: self.nh, inputs, secrets })
    }

    fn secret(&self, index: usize) -> &[u8] {
        &self.secrets[index * self.nh..][..self.nh]
    }

    /// Where the live node above `input` is; `None` if the input was punctured.
    fn place(&self, input: &[u8]) -> Option<Place> {
        let inputs: Vec<&[u8]> = self.inputs.chunks_exact(self.nh).collect();
        let gap = inputs.binary_search(&input).err()?;
        let before: usize = (0..gap).map(|gap| Gap::new(&inputs, gap).nodes()).sum();
        let Gap { left, right, start } = Gap::new(&inputs, gap);
        let common = |other: Option<&[u8]>| other.map(|other| common_bits(input, other));
        let (left_fork, right_fork) = (common(left), common(right));
        // The node hangs off the path to the nearer neighbour.
        let (index, depth) = match left_fork.max(right_fork) {
            None => (0, 0),
            Some(fork) if left_fork > right_fork => (zeros(left, fork + 1), fork + 1),
            Some(fork) => (zeros(left, start) + ones(right, start) - ones(right, fork), fork + 1),
        };
        Some(Place { gap, index: before + index, depth })
    }
}

/// The live node above an input.
struct Place {
    /// How many punctured inputs are smaller.
    gap: usize,
    /// Among the live nodes.
    index: usize,
    depth: usize,
}

/// The live nodes between two neighbouring punctured inputs, or beyond the first or last.
///
/// From left to right: what hangs to the right of the path to `left`, from the bottom up, then what hangs to the left
/// of the path to `right`, from the top down; both below the node where the two paths part.
struct Gap<'a> {
    left: Option<&'a [u8]>,
    right: Option<&'a [u8]>,
    /// The first bit below the node where the paths part.
    start: usize,
}

impl<'a> Gap<'a> {
    fn new(inputs: &[&'a [u8]], gap: usize) -> Self {
        let left = gap.checked_sub(1).and_then(|i| inputs.get(i)).copied();
        let right = inputs.get(gap).copied();
        let start = match (left, right) {
            (Some(left), Some(right)) => common_bits(left, right) + 1,
            _ => 0,
        };
        Self { left, right, start }
    }

    fn nodes(&self) -> usize {
        match (self.left, self.right) {
            (None, None) => 1,
            _ => zeros(self.left, self.start) + ones(self.right, self.start),
        }
    }
}

/// The bit that decides the way from depth `depth` to the next.
fn bit(input: &[u8], depth: usize) -> u8 {
    input[depth / 8] >> (7 - depth % 8) & 1
}

/// How many bits two different inputs share from the top.
fn common_bits(one: &[u8], other: &[u8]) -> usize {
    let equal = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    8 * equal + one.iter().zip(other).nth(equal).map_or(0, |(a, b)| (a ^ b).leading_zeros() as usize)
}

/// How many bits from `start` on are 1.
fn ones(input: Option<&[u8]>, start: usize) -> usize {
    let Some([first, rest @ ..]) = input.and_then(|input| input.get(start / 8..)) else { return 0 };
    let first = first & (0xff >> (start % 8));
    (first.count_ones() + rest.iter().map(|byte| byte.count_ones()).sum::<u32>()) as usize
}

/// How many bits from `start` on are 0.
fn zeros(input: Option<&[u8]>, start: usize) -> usize {
    input.map_or(0, |bytes| 8 * bytes.len() - start - ones(input, start))
}

/// ```text
/// struct { uint8 nh; opaque inputs<V>; opaque secrets<V>; } Pprf;
/// ```
impl Encode for Pprf {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.nh as u8);
        self.inputs.encode(out);
        self.secrets.as_slice().encode(out);
    }
}

impl Decode for Pprf {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        let nh = usize::from(r.u8()?);
        if ![32, 48, 64].contains(&nh) {
            return Err(DecodeError::at(start, "the length of a hash: 32, 48 or 64"));
        }
        let start = r.position();
        let inputs = Vec::decode(r)?;
        let parts: Vec<&[u8]> = inputs.chunks(nh).collect();
        if !inputs.len().is_multiple_of(nh) || !parts.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::at(start, "different punctured inputs in ascending order"));
        }
        let start = r.position();
        let secrets = Zeroizing::new(Vec::decode(r)?);
        let nodes: usize = (0..=parts.len()).map(|gap| Gap::new(&parts, gap).nodes()).sum();
        if secrets.len() != nodes * nh {
            return Err(DecodeError::at(start, "as many node secrets as the punctured inputs leave"));
        }
        Ok(Self { nh, inputs, secrets })
    }
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
