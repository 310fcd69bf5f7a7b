//! Our own key packages: one is published, for any number of invitations, and replaced when it was used or is old.
//!
//! A folder gives nobody anything for himself alone: two people can take the same key package, and on the two sides of a split they will. So
//! a key package of ours serves several invitations, and its private keys stay for some days after another took its place. That is
//! what RFC 9420 s16.8 calls "last resort"; who joins by it renews its keys soon ([`crate::upkeep`]).

use dmls::codec::{Decode, Encode};
use dmls::crypto::{KeyPackageRef, Secret};
use dmls::framing::MlsMessage;
use dmls::{Identity, Time};
use dmls_store::{Profile, Table, Transaction, Use};
use rand_core::CryptoRng;

use crate::client::see_common;
use crate::doubt::Began;
use crate::error::Error;
use crate::outbox;
use crate::parcel::{Name, Place};
use crate::people::Origin;
use crate::record::record;

const TABLE: Table<'_> = Table::new("own key packages");
/// How long one is valid.
const DAYS: u64 = 90;
/// After so many days another is published.
const RENEW: u64 = 30 * DAY;
/// So long after it was replaced an invitation may still come.
const GRACE: u64 = 14 * DAY;
const DAY: u64 = 86_400;

const PEOPLE: u8 = 0;
const REQUEST: u8 = 1;

struct Own {
    parcel: Name,
    /// Where that is: with the people, or with the requests.
    place: u8,
    made: Time,
    /// The group for which it asks.
    group: Vec<u8>,
    /// Somebody invited us by it.
    used: bool,
    /// Another took its place then.
    replaced: Option<Time>,
}

record!(Own { parcel, place, made, group, used, replaced });

fn decode(stored: &Secret) -> Result<Own, Error> {
    Own::from_bytes(stored.as_bytes()).map_err(|_| Error::Damaged("a key package of ours"))
}

fn load(profile: &Profile, reference: &KeyPackageRef) -> Result<Option<Own>, Error> {
    profile.get(TABLE, reference.as_bytes())?.as_ref().map(decode).transpose()
}

fn all(profile: &Profile) -> Result<Vec<(KeyPackageRef, Own)>, Error> {
    let stored = profile.all(TABLE)?.into_iter();
    stored.map(|(reference, stored)| Ok((KeyPackageRef::from(reference), decode(&stored)?))).collect()
}

/// Makes a key package and publishes it in the place of the one before.
pub(crate) fn publish(
    tx: &mut Transaction<'_>,
    identity: &Identity,
    now: Time,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    for (reference, own) in all(tx)? {
        if own.replaced.is_none() {
            tx.put(TABLE, reference.as_bytes(), &Own { replaced: Some(now), ..own }.to_bytes())?;
        }
    }
    let suite = identity.suite();
    let own = Origin { made: now.0, ..Origin::default() }.key_package(identity, DAYS, rng)?;
    tx.put_key_package(&own, suite, Use::LastResort)?;
    let parcel = outbox::post(tx, Place::People, &own.message())?;
    see_common(tx, &parcel)?;
    let stored = Own { parcel, place: PEOPLE, made: now, group: Vec::new(), used: false, replaced: None };
    Ok(tx.put(TABLE, own.reference(suite).as_bytes(), &stored.to_bytes())?)
}

/// Makes a key package by which a member asks to be taken in again, and publishes the request. It serves once.
pub(crate) fn ask(
    tx: &mut Transaction<'_>,
    identity: &Identity,
    group_id: &[u8],
    began: Option<Began>,
    now: Time,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let suite = identity.suite();
    let origin = Origin { made: now.0, rejoins: group_id.to_vec(), began };
    let own = origin.key_package(identity, GRACE / DAY, rng)?;
    tx.put_key_package(&own, suite, Use::Once)?;
    let parcel = outbox::post(tx, Place::Requests, &own.message())?;
    see_common(tx, &parcel)?;
    let group = group_id.to_vec();
    let stored = Own { parcel, place: REQUEST, made: now, group, used: false, replaced: Some(now) };
    Ok(tx.put(TABLE, own.reference(suite).as_bytes(), &stored.to_bytes())?)
}

/// The group whose members we asked by one of these key packages, if they answered.
pub(crate) fn answered(profile: &Profile, welcome: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Ok(MlsMessage::Welcome(welcome)) = MlsMessage::from_bytes(welcome) else { return Ok(None) };
    for secrets in &welcome.secrets {
        if let Some(own) = load(profile, &secrets.new_member)? {
            return Ok(Some(own.group).filter(|_| own.used));
        }
    }
    Ok(None)
}

/// Somebody invited us by it.
pub(crate) fn note_used(tx: &mut Transaction<'_>, reference: &KeyPackageRef) -> Result<(), Error> {
    if let Some(own) = load(tx, reference)? {
        tx.put(TABLE, reference.as_bytes(), &Own { used: true, ..own }.to_bytes())?;
    }
    Ok(())
}

/// What is due.
pub(crate) struct KeyPackagesDue {
    /// Another is to be published.
    pub renew: bool,
    /// These are to be erased.
    pub old: Vec<KeyPackageRef>,
}

pub(crate) fn due(profile: &Profile, now: Time) -> Result<KeyPackagesDue, Error> {
    let (mut renew, mut old) = (true, Vec::new());
    for (reference, own) in all(profile)? {
        match own.replaced {
            None => renew = own.used || now.0 >= own.made.0.saturating_add(RENEW),
            Some(at) if now.0 >= at.0.saturating_add(GRACE) => old.push(reference),
            Some(_) => {}
        }
    }
    Ok(KeyPackagesDue { renew, old })
}

/// Erases a key package, here and in the network: no invitation by it can be opened any more.
pub(crate) fn erase(tx: &mut Transaction<'_>, reference: &KeyPackageRef) -> Result<(), Error> {
    if let Some(own) = load(tx, reference)? {
        let place = if own.place == REQUEST { Place::Requests } else { Place::People };
        outbox::retract(tx, place, own.parcel)?;
    }
    tx.delete_key_package(reference)?;
    Ok(tx.delete(TABLE, reference.as_bytes())?)
}
