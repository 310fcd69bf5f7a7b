//! What waits for a device until it has read it (federation.md s6).

use std::collections::BTreeMap;

use dmls::codec::DecodeError;

use crate::codec::record;
use crate::ids::{Device, GroupName};
use crate::message::Item;
use crate::records::{Kept, Writer, read};

const ROW: u8 = b'q';
const NEXT: u8 = b'd';

/// One item of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Of which group.
    pub group: GroupName,
    /// What.
    pub item: Item,
}

record!(Queued { group, item });

struct Place {
    device: Device,
    number: u64,
}

record!(Place { device, number });

#[derive(Clone, Debug, Default)]
struct Queue {
    next: u64,
    rows: BTreeMap<u64, Queued>,
}

/// One queue for each device. Numbers only rise; a device acknowledges up to one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues(BTreeMap<Device, Queue>);

impl Queues {
    pub(crate) fn load(kept: &Kept) -> Result<Self, DecodeError> {
        let mut queues = Self::default();
        for (device, next) in read::<Device, u64>(kept, &[], NEXT)? {
            queues.0.entry(device).or_default().next = next;
        }
        for (Place { device, number }, row) in read(kept, &[], ROW)? {
            queues.0.entry(device).or_default().rows.insert(number, row);
        }
        Ok(queues)
    }

    pub(crate) fn push(&mut self, device: Device, queued: Queued, out: &mut Writer<'_>) {
        let queue = self.0.entry(device).or_default();
        queue.next += 1;
        out.put(NEXT, &device, &queue.next);
        out.put(ROW, &Place { device, number: queue.next }, &queued);
        queue.rows.insert(queue.next, queued);
    }

    /// What was not acknowledged, in order.
    pub(crate) fn waiting(&self, device: &Device) -> impl Iterator<Item = (u64, &Queued)> {
        self.0.get(device).into_iter().flat_map(|queue| &queue.rows).map(|(number, queued)| (*number, queued))
    }

    pub(crate) fn acknowledge(&mut self, device: Device, up_to: u64, out: &mut Writer<'_>) {
        let Some(queue) = self.0.get_mut(&device) else { return };
        while let Some(entry) = queue.rows.first_entry().filter(|entry| *entry.key() <= up_to) {
            out.delete(ROW, &Place { device, number: *entry.key() });
            entry.remove();
        }
    }

    /// Forgets what waits of a group and can be told again: its queues begin again. Messages stay: whoever sent them was told that they
    /// had arrived.
    pub(crate) fn clear(&mut self, group: &GroupName, out: &mut Writer<'_>) {
        let is_told_again =
            |item: &Item| matches!(item, Item::Commit { .. } | Item::Final { .. } | Item::Flushed { .. });
        for (device, queue) in &mut self.0 {
            let gone = queue.rows.iter();
            let gone = gone.filter(|(_, queued)| queued.group == *group && is_told_again(&queued.item));
            for number in gone.map(|(number, _)| *number).collect::<Vec<_>>() {
                out.delete(ROW, &Place { device: *device, number });
                queue.rows.remove(&number);
            }
        }
    }
}
