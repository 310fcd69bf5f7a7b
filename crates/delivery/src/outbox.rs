//! What must reach another server, in order, and is kept until it has.

use std::collections::BTreeMap;

use dmls::codec::DecodeError;

use crate::codec::record;
use crate::ids::{GroupName, ServerId};
use crate::message::Parcel;
use crate::records::{Kept, Writer, read};

const ROW: u8 = b'o';
const NEXT: u8 = b'n';

/// A row: of which group, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) group: GroupName,
    pub(crate) parcel: Parcel,
}

record!(Row { group, parcel });

struct Place {
    peer: ServerId,
    number: u64,
}

record!(Place { peer, number });

/// One list for each peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outboxes(BTreeMap<ServerId, Outbox>);

#[derive(Clone, Debug, Default)]
struct Outbox {
    next: u64,
    rows: BTreeMap<u64, Row>,
}

impl Outboxes {
    pub(crate) fn load(kept: &Kept) -> Result<Self, DecodeError> {
        let mut outboxes = Self::default();
        for (peer, next) in read::<ServerId, u64>(kept, &[], NEXT)? {
            outboxes.0.entry(peer).or_default().next = next;
        }
        for (Place { peer, number }, row) in read(kept, &[], ROW)? {
            outboxes.0.entry(peer).or_default().rows.insert(number, row);
        }
        Ok(outboxes)
    }

    /// A row that is the same as the last one is not added again.
    pub(crate) fn push(&mut self, peer: ServerId, row: Row, out: &mut Writer<'_>) {
        let outbox = self.0.entry(peer).or_default();
        if outbox.rows.last_key_value().is_some_and(|(_, last)| *last == row) {
            return;
        }
        outbox.next += 1;
        out.put(NEXT, &peer, &outbox.next);
        out.put(ROW, &Place { peer, number: outbox.next }, &row);
        outbox.rows.insert(outbox.next, row);
    }

    /// What comes next.
    pub(crate) fn first(&self, peer: ServerId) -> Option<(u64, &Row)> {
        self.0.get(&peer)?.rows.first_key_value().map(|(number, row)| (*number, row))
    }

    /// It has arrived there.
    pub(crate) fn acknowledge(&mut self, peer: ServerId, number: u64, out: &mut Writer<'_>) {
        let Some(outbox) = self.0.get_mut(&peer) else { return };
        if outbox.rows.remove(&number).is_some() {
            out.delete(ROW, &Place { peer, number });
        }
    }

    /// Nothing goes there any more.
    pub(crate) fn refuse(&mut self, peer: ServerId, out: &mut Writer<'_>) {
        let Some(outbox) = self.0.get_mut(&peer) else { return };
        for number in std::mem::take(&mut outbox.rows).into_keys() {
            out.delete(ROW, &Place { peer, number });
        }
    }

    /// How many rows wait.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(|outbox| outbox.rows.len()).sum()
    }
}
