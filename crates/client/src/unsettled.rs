//! Messages of ours that not all members have acknowledged: they go out again where somebody can't have read them.

use std::collections::BTreeSet;

use dmls::EpochId;
use dmls::Time;
use dmls::codec::{Decode, Encode};
use dmls_store::{Profile, Transaction};
use rand_core::CryptoRng;

use crate::client::{Client, message_at};
use crate::entry::{GroupEvent, Message, Note};
use crate::error::Error;
use crate::payload::{Mark, MessageId};
use crate::record::record;
use crate::state::{Spaces, State, receipts};

/// A message of ours that not all members have acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    /// Its place in the log.
    pub order: u64,
    /// The epoch in which it was sent the last time.
    pub epoch: EpochId,
    /// The parcel in which it was sent the last time.
    pub mark: Mark,
}

record!(Unsettled { order, epoch, mark });

const DAMAGED: Error = Error::Damaged("the state of a message");

impl Unsettled {
    pub(crate) fn load(profile: &Profile, group: &[u8], id: MessageId) -> Result<Option<Self>, Error> {
        let stored = profile.get(Spaces(group).unsettled(), &id.0)?;
        stored.map(|stored| Self::from_bytes(stored.as_bytes())).transpose().map_err(|_| DAMAGED)
    }

    /// A message was sent, perhaps not for the first time.
    pub(crate) fn store(&self, tx: &mut Transaction<'_>, group: &[u8], id: MessageId) -> Result<(), Error> {
        if let Some(before) = Self::load(tx, group, id)? {
            tx.delete(Spaces(group).sent(), &before.mark.0)?;
        }
        tx.put(Spaces(group).sent(), &self.mark.0, &id.0)?;
        Ok(tx.put(Spaces(group).unsettled(), &id.0, &self.to_bytes())?)
    }

    fn all(profile: &Profile, group: &[u8]) -> Result<Vec<(MessageId, Self)>, Error> {
        let decode = |(id, stored): (Vec<u8>, dmls::crypto::Secret)| {
            let unsettled = Self::from_bytes(stored.as_bytes()).map_err(|_| DAMAGED)?;
            Ok((MessageId(id.try_into().map_err(|_| DAMAGED)?), unsettled))
        };
        profile.all(Spaces(group).unsettled())?.into_iter().map(decode).collect()
    }
}

/// A parcel was taken in by all members: if it is a message of ours, that need not be sent again.
pub(crate) fn settle(tx: &mut Transaction<'_>, group: &[u8], mark: Mark) -> Result<(), Error> {
    let Some(id) = tx.get(Spaces(group).sent(), &mark.0)? else { return Ok(()) };
    tx.delete(Spaces(group).sent(), &mark.0)?;
    Ok(tx.delete(Spaces(group).unsettled(), id.as_bytes())?)
}

impl Client {
    /// Looks through the messages of ours that are not settled, if something has changed since the last time: they are as many as were written since
    /// the member that is silent longest was heard.
    pub(crate) fn look_at_unsettled(
        &mut self,
        id: &[u8],
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        if !self.local(id)?.changed {
            return Ok(());
        }
        self.send_again(id, now, rng)?;
        self.settle_all(id)?;
        self.local(id)?.changed = false;
        Ok(())
    }

    /// Messages of ours go out again that only a branch saw which lost, that we sent before we lost the way, or that somebody can't have read
    /// who had lost it: with the same id, so that whoever has read one does not read it twice.
    fn send_again(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let retaken = self.local(id)?.state.retaken.clone();
        let mut again = Vec::new();
        for (_, message) in Unsettled::all(&self.profile, id)? {
            let group = &self.local(id)?.group;
            let is_lost = group.epoch(&message.epoch).is_none_or(|epoch| !epoch.is_on_way());
            let is_missed = !retaken.is_empty() && {
                let known = receipts(&self.profile, id, message.mark)?;
                retaken.iter().any(|member| !known.contains(member))
            };
            if is_lost || is_missed {
                again.push(message.order);
            }
        }
        again.sort_unstable();
        for order in again {
            let Some(message) = message_at(&self.profile, id, order)? else { continue };
            let epoch = self.local(id)?.group.head().id().clone();
            self.seal(id, Message { epoch, on_way: true, again: true, ..message }, Some(order), rng)?;
        }
        let state = self.local(id)?.state.clone();
        let (count, retaken) = (state.sent_again, state.retaken);
        if count == 0 && retaken.is_empty() {
            return Ok(());
        }
        let noted = (count > 0).then(|| Note { count, ..Note::new(GroupEvent::SentAgain, now) });
        let state = State { sent_again: 0, retaken: Vec::new(), ..self.local(id)?.state.clone() };
        self.set_state_and_note(id, state, noted)
    }

    /// Messages of ours that all members of the head have taken in need not be sent again: others may have left.
    fn settle_all(&mut self, id: &[u8]) -> Result<(), Error> {
        let others = self.others(id)?;
        if others.is_empty() {
            return Ok(());
        }
        let mut settled = Vec::new();
        for (_, message) in Unsettled::all(&self.profile, id)? {
            let known: BTreeSet<_> = receipts(&self.profile, id, message.mark)?.into_iter().collect();
            if known.is_superset(&others) {
                settled.push(message.mark);
            }
        }
        self.profile.transaction(|tx| settled.iter().try_for_each(|mark| settle(tx, id, *mark)))
    }
}
