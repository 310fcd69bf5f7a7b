//! The PPRF in storage.
//!
//! ```text
//! key: empty                         the root, until the first puncture
//! key: input || uint16 level         a part of the copath of a punctured input (copath.rs)
//! ```
//!
//! The secrets are without a word about which node each is: the inputs and where their copaths begin say that.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::codec::DecodeError;
use crate::crypto::Secret;

use super::copath::Copath;
use super::{Live, Pprf, Puncture, bit, common_bits};

/// One copath, as it was stored.
struct Stored<'a> {
    input: &'a [u8],
    first: usize,
    parent: Option<Vec<u8>>,
    /// The levels of siblings that are gone.
    gone: Vec<usize>,
    /// By the level at which each begins.
    parts: BTreeMap<usize, &'a [u8]>,
}

const ROOT: &str = "a root of the length of a hash and nothing else, or copaths";
const KEY: &str = "a punctured input and a level of its path";
const PARTS: &str = "all parts of a copath, one after the other";
const FIRST: &str = "copaths that begin where those of other inputs let them";
const NODES: &str = "as many node secrets as the punctured inputs leave";

impl Pprf {
    /// Everything, for persistent storage: the end of each key, and the value.
    pub(crate) fn records(&self) -> Vec<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        match &self.live {
            Live::Root(root) => vec![(Vec::new(), Zeroizing::new(root.as_bytes().to_vec()))],
            Live::Copaths(copaths) => {
                copaths.iter().flat_map(|(input, copath)| copath.records(input)).collect()
            }
        }
    }

    /// From what [`Pprf::records`] gave, changed by what each [`Puncture::records`] gave; `nh` is the suite's.
    pub(crate) fn from_records<'a>(
        nh: usize,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, DecodeError> {
        let mut root = None;
        let mut parts: BTreeMap<&[u8], BTreeMap<usize, &[u8]>> = BTreeMap::new();
        for (key, value) in records {
            if key.is_empty() {
                root = Some(value);
                continue;
            }
            let (input, level) = key.split_last_chunk().ok_or(DecodeError::at(0, KEY))?;
            let level = usize::from(u16::from_be_bytes(*level));
            if input.len() != nh || level > 8 * nh {
                return Err(DecodeError::at(0, KEY));
            }
            parts.entry(input).or_default().insert(level, value);
        }
        let live = match root {
            Some(root) if parts.is_empty() && root.len() == nh => Live::Root(Secret::new(root.to_vec())),
            None if !parts.is_empty() => Live::Copaths(copaths(nh, parts)?),
            _ => return Err(DecodeError::at(0, ROOT)),
        };
        Ok(Self { nh, live })
    }
}

impl Puncture {
    /// What changes in persistent storage; `None` deletes. To be stored before the puncture is applied, and applied
    /// before another is computed.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Vec<u8>, Option<Zeroizing<Vec<u8>>>)> {
        let own = self.copath.records(&self.input).map(|(key, value)| (key, Some(value)));
        std::iter::once(self.above.clone()).chain(own)
    }
}

fn copaths(
    nh: usize,
    parts: BTreeMap<&[u8], BTreeMap<usize, &[u8]>>,
) -> Result<BTreeMap<Vec<u8>, Copath>, DecodeError> {
    let mut stored = Vec::with_capacity(parts.len());
    for (input, parts) in parts {
        let first = *parts.keys().next().ok_or(DecodeError::at(0, PARTS))?;
        if !parts.keys().copied().eq(Copath::record_levels(nh, first)) {
            return Err(DecodeError::at(0, PARTS));
        }
        stored.push(Stored { input, first, parent: None, gone: Vec::new(), parts });
    }
    let root = connect(&mut stored)?;
    if stored[root].first != 0 {
        return Err(DecodeError::at(0, FIRST));
    }
    stored.into_iter().map(|stored| Ok((stored.input.to_vec(), stored.copath(nh)?))).collect()
}

/// Finds whose copath each began in, for neighbours in the order of their inputs. Gives the one that was first: it is
/// the one in whose copath the siblings above are.
fn connect(inputs: &mut [Stored<'_>]) -> Result<usize, DecodeError> {
    let [first, .., last] = &*inputs else { return Ok(0) };
    let level = common_bits(first.input, last.input);
    let right = inputs.partition_point(|stored| bit(stored.input, level) == 0);
    let (left_inputs, right_inputs) = inputs.split_at_mut(right);
    let (left, right) = (connect(left_inputs)?, right + connect(right_inputs)?);
    // One of both sides had the node above the other in its copath.
    let (owner, child) = if inputs[right].first == level + 1 { (left, right) } else { (right, left) };
    if inputs[child].first != level + 1 || inputs[owner].first > level {
        return Err(DecodeError::at(0, FIRST));
    }
    inputs[child].parent = Some(inputs[owner].input.to_vec());
    inputs[owner].gone.push(level);
    Ok(owner)
}

impl Stored<'_> {
    fn copath(self, nh: usize) -> Result<Copath, DecodeError> {
        let mut secrets = Zeroizing::new(vec![0; (8 * nh - self.first) * nh]);
        for (level, part) in &self.parts {
            let levels = Copath::levels_in_record(nh, *level);
            let there: Vec<_> = levels.filter(|level| !self.gone.contains(level)).collect();
            if part.len() != there.len() * nh {
                return Err(DecodeError::at(0, NODES));
            }
            for (level, node) in there.into_iter().zip(part.chunks_exact(nh)) {
                secrets[(level - self.first) * nh..][..nh].copy_from_slice(node);
            }
        }
        let mut copath = Copath::new(nh, self.first, self.parent, secrets);
        self.gone.iter().for_each(|level| copath.remove(*level));
        Ok(copath)
    }
}
