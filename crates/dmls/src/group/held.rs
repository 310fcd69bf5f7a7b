//! Messages that came too early.

use std::collections::BTreeMap;

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::config::Limits;
use crate::crypto::ProposalRef;
use crate::key_schedule::EpochId;

use super::outcome::Held;

/// A message with what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldMessage {
    pub waits_for: Held,
    pub message: Vec<u8>,
    /// The place in the order of arrival.
    pub order: u64,
}

wire_struct!(HeldMessage { waits_for, message, order });

impl Encode for Held {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Epoch(id) => {
                out.push(1);
                id.encode(out);
            }
            Self::Number(number) => {
                out.push(2);
                number.encode(out);
            }
            Self::Proposal { epoch, reference } => {
                out.push(3);
                epoch.encode(out);
                reference.encode(out);
            }
        }
    }
}

impl Decode for Held {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => EpochId::decode(r).map(Self::Epoch),
            2 => u64::decode(r).map(Self::Number),
            3 => Ok(Self::Proposal { epoch: EpochId::decode(r)?, reference: ProposalRef::decode(r)? }),
            _ => Err(DecodeError::at(start, "1, 2 or 3 (what a message waits for)")),
        }
    }
}

/// All of them, by the hash of the message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldMessages {
    messages: BTreeMap<Vec<u8>, HeldMessage>,
    bytes: usize,
}

impl HeldMessages {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &HeldMessage)> {
        self.messages.iter().map(|(hash, held)| (&hash[..], held))
    }

    pub(crate) fn get(&self, hash: &[u8]) -> Option<&HeldMessage> {
        self.messages.get(hash)
    }

    pub(crate) fn next_order(&self) -> u64 {
        self.messages.values().map(|held| held.order.saturating_add(1)).max().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, hash: Vec<u8>, held: HeldMessage) {
        self.bytes += held.message.len();
        if let Some(replaced) = self.messages.insert(hash, held) {
            self.bytes -= replaced.message.len();
        }
    }

    pub(crate) fn remove(&mut self, hash: &[u8]) {
        if let Some(removed) = self.messages.remove(hash) {
            self.bytes -= removed.message.len();
        }
    }

    /// Those that must go to make room for another, the oldest first. `None` if there is no room even so.
    ///
    /// What is held is not authenticated: whoever can send garbage could fill any room. Dropping the oldest lets
    /// garbage wash out; the delivery service or the sender can deliver again what was dropped.
    pub(crate) fn make_room(&self, waits_for: &Held, length: usize, limits: &Limits) -> Option<Vec<Vec<u8>>> {
        if length > limits.held_bytes / 2 || limits.held_messages == 0 || limits.held_per_epoch == 0 {
            return None;
        }
        let mut oldest: Vec<_> = self.messages.iter().collect();
        oldest.sort_by_key(|(_, held)| held.order);
        let mut same = oldest.iter().filter(|(_, held)| held.waits_for == *waits_for).count();
        let (mut count, mut bytes) = (self.len(), self.bytes);
        let mut evicted = Vec::new();
        for (hash, held) in oldest {
            let full = count >= limits.held_messages || bytes + length > limits.held_bytes;
            let crowded = same >= limits.held_per_epoch && held.waits_for == *waits_for;
            if full || crowded {
                count -= 1;
                bytes -= held.message.len();
                same -= usize::from(held.waits_for == *waits_for);
                evicted.push(hash.clone());
            }
        }
        Some(evicted)
    }

    /// The oldest whose wait is over.
    pub(crate) fn ready(&self, is_over: impl Fn(&Held) -> bool) -> Option<(&[u8], &HeldMessage)> {
        let over = self.messages.iter().filter(|(_, held)| is_over(&held.waits_for));
        over.min_by_key(|(_, held)| held.order).map(|(hash, held)| (&hash[..], held))
    }

    /// How many wait for what `is_over` says is there.
    pub(crate) fn count(&self, is_over: impl Fn(&Held) -> bool) -> usize {
        self.messages.values().filter(|held| is_over(&held.waits_for)).count()
    }
}
