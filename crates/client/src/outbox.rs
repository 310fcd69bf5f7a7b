//! What is to be done in the network: written with the step that decides it, so that it survives a crash, and done again until it is known to
//! be done. The same bytes have the same name, so what was done twice was done once.

use std::collections::BTreeSet;

use dmls::codec::{Decode, Encode};
use dmls_store::{Log, Order, Profile, Transaction};

use crate::error::Error;
use crate::parcel::{GroupTag, Name, Parcel, Place};
use crate::payload::Mark;
use crate::record::record;
use crate::state::{Spaces, see};

const OUTBOX: Log<'_> = Log::new("outbox");

/// Something to be done in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outgoing {
    /// Publish it.
    Publish(Parcel),
    /// Take it back: nobody needs it any more.
    Remove(Place, Name),
}

/// Publishes a parcel.
pub(crate) fn post(tx: &mut Transaction<'_>, place: Place, bytes: &[u8]) -> Result<Name, Error> {
    tx.append(OUTBOX, &Stored::new(Stored::PUBLISH, place, bytes).to_bytes())?;
    Ok(Name::of(bytes))
}

/// Publishes a message of a group. We need not take it in, and say that we have it as of those of others.
pub(crate) fn post_message(
    tx: &mut Transaction<'_>,
    id: &[u8],
    tag: GroupTag,
    message: &[u8],
) -> Result<Name, Error> {
    let name = post(tx, Place::Group(tag), message)?;
    see(tx, id, &name)?;
    tx.append(Spaces(id).unsaid(), &Mark::of(&name).0)?;
    Ok(name)
}

/// Takes a parcel back.
pub(crate) fn retract(tx: &mut Transaction<'_>, place: Place, name: Name) -> Result<(), Error> {
    tx.append(OUTBOX, &Stored::new(Stored::REMOVE, place, &name.0).to_bytes())?;
    Ok(())
}

pub(crate) fn first(profile: &Profile, limit: usize) -> Result<Vec<(u64, Outgoing)>, Error> {
    let entries = profile.entries_after(OUTBOX, None, limit)?;
    let outgoing = |(order, stored): (Order, dmls::crypto::Secret)| {
        let stored = Stored::from_bytes(stored.as_bytes()).ok();
        let outgoing = stored.and_then(Stored::outgoing).ok_or(Error::Damaged("the outbox"))?;
        Ok((order.0, outgoing))
    };
    entries.into_iter().map(outgoing).collect()
}

/// The marks of all parcels that are to be published.
pub(crate) fn marks(profile: &Profile) -> Result<BTreeSet<Mark>, Error> {
    let mark = |(_, outgoing)| match outgoing {
        Outgoing::Publish(parcel) => Some(Mark::of(&parcel.name())),
        Outgoing::Remove(..) => None,
    };
    Ok(first(profile, usize::MAX)?.into_iter().filter_map(mark).collect())
}

pub(crate) fn remove(tx: &mut Transaction<'_>, place: u64) -> Result<(), Error> {
    Ok(tx.remove(OUTBOX, Order(place))?)
}

struct Stored {
    action: u8,
    /// 0 people, 1 invitations, 2 requests, 3 the group with the tag.
    place: u8,
    tag: Vec<u8>,
    /// Of the parcel, or its name.
    bytes: Vec<u8>,
}

record!(Stored { action, place, tag, bytes });

impl Stored {
    const PUBLISH: u8 = 0;
    const REMOVE: u8 = 1;

    fn new(action: u8, place: Place, bytes: &[u8]) -> Self {
        let (place, tag) = match place {
            Place::People => (0, Vec::new()),
            Place::Invitations => (1, Vec::new()),
            Place::Requests => (2, Vec::new()),
            Place::Group(tag) => (3, tag.0.to_vec()),
        };
        Self { action, place, tag, bytes: bytes.to_vec() }
    }

    fn outgoing(self) -> Option<Outgoing> {
        let place = match self.place {
            0 => Place::People,
            1 => Place::Invitations,
            2 => Place::Requests,
            3 => Place::Group(GroupTag(self.tag.try_into().ok()?)),
            _ => return None,
        };
        match self.action {
            Self::PUBLISH => Some(Outgoing::Publish(Parcel { place, bytes: self.bytes })),
            Self::REMOVE => Some(Outgoing::Remove(place, Name(self.bytes.try_into().ok()?))),
            _ => None,
        }
    }
}
