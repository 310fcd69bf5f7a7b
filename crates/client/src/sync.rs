//! A client and a transport: what is to be published goes out, what is there comes in.

use rand_core::CryptoRng;

use dmls::Time;

use crate::client::Client;
use crate::error::Error;
use crate::outbox::Outgoing;
use crate::parcel::Place;
use crate::transport::{Fault, Flow, Transport};

/// What a synchronization did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Synced {
    /// How many parcels were published.
    pub published: usize,
    /// How many parcels were taken in.
    pub taken_in: usize,
    /// What in the network is no parcel, or not a whole one.
    pub faults: Vec<Fault>,
    /// Whether it was told to stop before the end ([`Client::sync_while`]).
    pub stopped: bool,
}

/// After so many rounds the rest waits for the next time: what comes in makes something that goes out, and so on.
const ROUNDS: usize = 16;
/// Parcels between which deletions reach the disk together.
const BATCH: usize = 256;

impl Client {
    /// Publishes what waits, takes in what is there, does what is due; until nothing moves any more. `progress` hears of each
    /// parcel that was published or taken in.
    pub fn sync<T: Transport>(
        &mut self,
        transport: &mut T,
        now: Time,
        rng: &mut dyn CryptoRng,
        progress: &mut dyn FnMut(&Synced),
    ) -> Result<Synced, Error> {
        self.sync_while(transport, now, rng, &mut |synced| {
            progress(synced);
            Flow::Continue
        })
    }

    /// As [`Client::sync`], but it ends after the parcel of which `progress` says [`Flow::Stop`]; the next call goes on from there.
    /// What is due waits for a call that comes to its end: half of what is there would make us commit where others have long gone on.
    pub fn sync_while<T: Transport>(
        &mut self,
        transport: &mut T,
        now: Time,
        rng: &mut dyn CryptoRng,
        progress: &mut dyn FnMut(&Synced) -> Flow,
    ) -> Result<Synced, Error> {
        let mut synced = Synced::default();
        for _ in 0..ROUNDS {
            let before = (synced.published, synced.taken_in);
            self.publish(transport, &mut synced, progress)?;
            synced.faults.clear();
            let groups: Vec<_> = self.groups.values().map(|local| Place::Group(local.tag)).collect();
            for place in [Place::People, Place::Invitations, Place::Requests].into_iter().chain(groups) {
                self.take_in_all(transport, place, now, &mut synced, progress)?;
            }
            if !synced.stopped {
                self.tick(now, rng)?;
                self.publish(transport, &mut synced, progress)?;
            }
            if synced.stopped || before == (synced.published, synced.taken_in) {
                break;
            }
        }
        synced.faults.sort();
        synced.faults.dedup();
        Ok(synced)
    }

    fn publish<T: Transport>(
        &mut self,
        transport: &mut T,
        synced: &mut Synced,
        progress: &mut dyn FnMut(&Synced) -> Flow,
    ) -> Result<(), Error> {
        loop {
            let waiting = self.outbox(BATCH)?;
            if waiting.is_empty() {
                return Ok(());
            }
            for (place, outgoing) in waiting {
                let done = match &outgoing {
                    Outgoing::Publish(parcel) => transport.publish(parcel),
                    Outgoing::Remove(place, name) => transport.remove(*place, name),
                };
                done.map_err(|e| Error::Network(Box::new(e)))?;
                self.done(place)?;
                synced.published += 1;
                if progress(synced) == Flow::Stop {
                    synced.stopped = true;
                    return Ok(());
                }
            }
        }
    }

    /// Takes in a place until nothing more of it can be taken in: messages come in any order, and there is not always room for
    /// one that comes early.
    fn take_in_all<T: Transport>(
        &mut self,
        transport: &mut T,
        place: Place,
        now: Time,
        synced: &mut Synced,
        progress: &mut dyn FnMut(&Synced) -> Flow,
    ) -> Result<(), Error> {
        while !synced.stopped {
            self.load_seen(place)?;
            let mut known = self.seen.get(&place).cloned().unwrap_or_default();
            known.extend(self.later.get(&place).into_iter().flatten());
            let mut failed = None;
            let before = synced.taken_in;
            let mut take = |_, bytes: Vec<u8>| match self.take_in(place, &bytes, now) {
                Ok(taken) => {
                    synced.taken_in += usize::from(taken);
                    let flow = progress(synced);
                    synced.stopped = flow == Flow::Stop;
                    flow
                }
                Err(e) => {
                    failed = Some(e);
                    Flow::Stop
                }
            };
            let faults = transport.arrived(place, &|name| known.contains(name), &mut take);
            let faults = faults.map_err(|e| Error::Network(Box::new(e)))?;
            if let Some(e) = failed {
                return Err(e);
            }
            let moved = synced.taken_in > before;
            if !moved {
                synced.faults.extend(faults);
                return Ok(());
            }
        }
        Ok(())
    }
}
