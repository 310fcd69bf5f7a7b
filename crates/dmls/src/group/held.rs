//! Messages that came too early.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::config::Limits;
use crate::crypto::ProposalRef;
use crate::key_schedule::EpochId;

use super::outcome::WaitsFor;

/// A message with what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldMessage {
    pub waits_for: WaitsFor,
    pub message: Vec<u8>,
    /// The hash of the message.
    pub hash: Vec<u8>,
    /// Whether its epoch has a number that we had passed when it came: it is of a branch that we don't know.
    pub passed: bool,
}

wire_struct!(HeldMessage { waits_for, message, hash, passed });

impl Encode for WaitsFor {
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
            Self::Room { epoch, reference } => {
                out.push(4);
                epoch.encode(out);
                reference.encode(out);
            }
        }
    }
}

impl Decode for WaitsFor {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => EpochId::decode(r).map(Self::Epoch),
            2 => u64::decode(r).map(Self::Number),
            3 => Ok(Self::Proposal { epoch: EpochId::decode(r)?, reference: ProposalRef::decode(r)? }),
            4 => Ok(Self::Room { epoch: EpochId::decode(r)?, reference: ProposalRef::decode(r)? }),
            _ => Err(DecodeError::at(start, "1 to 4 (what a message waits for)")),
        }
    }
}

/// All of them, by the order of arrival. Each operation takes O(log n).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldMessages {
    messages: BTreeMap<u64, HeldMessage>,
    by_hash: BTreeMap<Vec<u8>, u64>,
    waiting: BTreeMap<WaitsFor, BTreeSet<u64>>,
    /// Those whose wait is over.
    ready: BTreeSet<u64>,
    bytes: usize,
    passed: usize,
}

impl HeldMessages {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &HeldMessage)> {
        self.messages.iter().map(|(order, held)| (*order, held))
    }

    pub(crate) fn get(&self, order: u64) -> Option<&HeldMessage> {
        self.messages.get(&order)
    }

    /// The place of a message that is held already.
    pub(crate) fn find(&self, hash: &[u8]) -> Option<u64> {
        self.by_hash.get(hash).copied()
    }

    /// Whether something waits for exactly this.
    pub(crate) fn waits(&self, waits_for: &WaitsFor) -> bool {
        self.waiting.contains_key(waits_for)
    }

    /// How many are of branches that we don't know.
    pub(crate) fn passed(&self) -> usize {
        self.passed
    }

    /// How many wait for exactly this.
    pub(crate) fn count(&self, waits_for: &WaitsFor) -> usize {
        self.waiting.get(waits_for).map_or(0, BTreeSet::len)
    }

    pub(crate) fn next_order(&self) -> u64 {
        self.messages.last_key_value().map_or(0, |(order, _)| order.saturating_add(1))
    }

    pub(crate) fn insert(&mut self, order: u64, held: HeldMessage) {
        self.bytes += held.message.len();
        self.passed += usize::from(held.passed);
        self.by_hash.insert(held.hash.clone(), order);
        self.waiting.entry(held.waits_for.clone()).or_default().insert(order);
        self.messages.insert(order, held);
    }

    pub(crate) fn remove(&mut self, order: u64) {
        let Some(removed) = self.messages.remove(&order) else { return };
        self.bytes -= removed.message.len();
        self.passed -= usize::from(removed.passed);
        self.by_hash.remove(&removed.hash);
        self.ready.remove(&order);
        self.stop_waiting(&removed.waits_for, order);
    }

    fn stop_waiting(&mut self, waits_for: &WaitsFor, order: u64) {
        if let Some(orders) = self.waiting.get_mut(waits_for) {
            orders.remove(&order);
            if orders.is_empty() {
                self.waiting.remove(waits_for);
            }
        }
    }

    /// What waits for this is ready.
    pub(crate) fn wake(&mut self, waits_for: &WaitsFor) {
        if let Some(orders) = self.waiting.remove(waits_for) {
            self.ready.extend(orders);
        }
    }

    /// What waits for an epoch with at most this number is ready (RFC 9420 groups).
    pub(crate) fn wake_numbers(&mut self, number: u64) {
        let due = self.waiting.range(WaitsFor::Number(0)..=WaitsFor::Number(number));
        let due: Vec<_> = due.map(|(waits_for, _)| waits_for.clone()).collect();
        due.iter().for_each(|waits_for| self.wake(waits_for));
    }

    /// What waits for a proposal, or for room, in an epoch that is gone is ready: it is told that it comes too late.
    pub(crate) fn wake_epoch(&mut self, epoch: &EpochId) {
        let due: Vec<_> = self.waiting_in(epoch).map(|(waits_for, _)| waits_for.clone()).collect();
        due.iter().for_each(|waits_for| self.wake(waits_for));
    }

    /// What waits for a proposal, or for room, in an epoch.
    fn waiting_in<'a>(
        &'a self,
        epoch: &'a EpochId,
    ) -> impl Iterator<Item = (&'a WaitsFor, &'a BTreeSet<u64>)> {
        let reference = || ProposalRef::from(Vec::new());
        let first = [
            WaitsFor::Proposal { epoch: epoch.clone(), reference: reference() },
            WaitsFor::Room { epoch: epoch.clone(), reference: reference() },
        ];
        first.into_iter().flat_map(move |first| {
            let kind = std::mem::discriminant(&first);
            let is_same = move |waits_for: &WaitsFor| {
                std::mem::discriminant(waits_for) == kind && waits_for.is_in(epoch)
            };
            self.waiting.range(first..).take_while(move |(waits_for, _)| is_same(waits_for))
        })
    }

    /// Those that must go to make room for another, the oldest first. `None` if there is no room even so. `again` is the place of
    /// the message itself, if it was held until now.
    ///
    /// What is held is not authenticated: whoever can send garbage could fill any room. Dropping the oldest lets
    /// garbage wash out; the delivery service or the sender can deliver again what was dropped, and it is told.
    pub(crate) fn make_room(
        &self,
        waits_for: &WaitsFor,
        length: usize,
        again: Option<u64>,
        limits: &Limits,
    ) -> Option<Vec<u64>> {
        if length > limits.held_bytes / 2 || limits.held_messages == 0 || limits.held_per_epoch == 0 {
            return None;
        }
        let mut evicted: Vec<_> = again.into_iter().collect();
        let same: Vec<_> = match waits_for {
            WaitsFor::Proposal { epoch, .. } | WaitsFor::Room { epoch, .. } => {
                self.waiting_in(epoch).map(|(_, orders)| orders).collect()
            }
            _ => self.waiting.get(waits_for).into_iter().collect(),
        };
        let is_crowded = same.iter().map(|orders| orders.len()).sum::<usize>() >= limits.held_per_epoch;
        evicted.extend(same.into_iter().filter_map(BTreeSet::first).min().filter(|_| is_crowded));
        let size = |order: &u64| self.messages.get(order).map_or(0, |held| held.message.len());
        let mut bytes = self.bytes - evicted.iter().map(size).sum::<usize>();
        for (order, held) in &self.messages {
            if self.len() - evicted.len() < limits.held_messages && bytes + length <= limits.held_bytes {
                break;
            }
            if !evicted.contains(order) {
                bytes -= held.message.len();
                evicted.push(*order);
            }
        }
        evicted.retain(|order| Some(*order) != again);
        Some(evicted)
    }

    /// The oldest whose wait is over.
    pub(crate) fn ready(&self) -> Option<(u64, &HeldMessage)> {
        let order = self.ready.first()?;
        Some((*order, self.messages.get(order)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(number: u64) -> HeldMessage {
        let message = number.to_be_bytes().to_vec();
        HeldMessage { waits_for: WaitsFor::Number(number), hash: message.clone(), message, passed: false }
    }

    #[test]
    fn the_oldest_go_first_and_only_as_many_as_must() {
        let mut all = HeldMessages::default();
        (0..10).for_each(|number| all.insert(number, held(number)));
        let limits = Limits { held_messages: 10, held_per_epoch: 1, held_bytes: 1000, ..Limits::default() };
        assert_eq!(all.make_room(&WaitsFor::Number(99), 8, None, &limits), Some(vec![0]));
        // Its own epoch is crowded: then that one goes, and there is room.
        assert_eq!(all.make_room(&WaitsFor::Number(5), 8, None, &limits), Some(vec![5]));
        // One that is held again drives nobody out.
        assert_eq!(all.make_room(&WaitsFor::Number(99), 8, Some(3), &limits), Some(vec![]));
        let limits = Limits { held_bytes: 80, ..limits };
        assert_eq!(all.make_room(&WaitsFor::Number(99), 24, None, &limits), Some(vec![0, 1, 2]));
        assert_eq!(all.make_room(&WaitsFor::Number(99), 41, None, &limits), None);
    }

    #[test]
    fn what_is_ready_comes_in_order_and_once() {
        let mut all = HeldMessages::default();
        [3, 1, 2].into_iter().zip(0..).for_each(|(number, order)| all.insert(order, held(number)));
        assert_eq!(all.ready(), None);
        all.wake_numbers(2);
        assert_eq!(all.ready().map(|(order, _)| order), Some(1));
        all.remove(1);
        assert_eq!(all.ready().map(|(order, _)| order), Some(2));
        all.remove(2);
        assert_eq!(all.ready(), None);
        assert_eq!((all.len(), all.find(&3_u64.to_be_bytes())), (1, Some(0)));
    }
}
