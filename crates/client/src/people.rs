//! People: their key packages, by which they are invited, and their keys, which are pinned.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use dmls::codec::{Decode, DecodeError, Encode, Reader};
use dmls::crypto::{Secret, SignaturePublicKey};
use dmls::extension::Extensions;
use dmls::registry::ExtensionType;
use dmls::tree::{LeafNode, LeafNodeSource};
use dmls::{Identity, KeyPackage, Lifetime, OwnKeyPackage, Time};
use dmls_store::{Profile, Table, Transaction};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use crate::doubt::Began;
use crate::error::Error;
use crate::names::{is_name, name_in};
use crate::parcel::Name;
use crate::record::{fixed, record};

/// Key packages of others, by reference.
const PEOPLE: Table<'_> = Table::new("people");
/// Pinned keys, by name.
const CONTACTS: Table<'_> = Table::new("contacts");

const DAY: u64 = 86_400;

/// For people to compare: a hash of name and key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

fixed!(Fingerprint, 16, "a fingerprint of 16 bytes");

impl Fingerprint {
    /// That of a name with a key.
    pub fn of(name: &str, key: &SignaturePublicKey) -> Self {
        let hash =
            Sha256::new().chain_update(b"dmls fingerprint").chain_update((name.len() as u64).to_be_bytes());
        let hash = hash.chain_update(name).chain_update(key.as_bytes()).finalize();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash[..16]);
        Self(fingerprint)
    }

    /// From what people type: 32 hexadecimal digits, with or without spaces and dashes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        HEXLOWER.decode(digits.to_lowercase().as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

/// Eight groups of four digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, pair) in self.0.chunks(2).enumerate() {
            let dash = if n == 0 { "" } else { "-" };
            write!(f, "{dash}{}", HEXLOWER.encode(pair))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that belongs to a name, as far as we know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact {
    /// The name.
    pub name: String,
    /// The key that was seen first, or was verified.
    pub key: SignaturePublicKey,
    /// Whether its fingerprint was compared.
    pub verified: bool,
    /// When it was seen first.
    pub since: Time,
}

impl Contact {
    /// For people to compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.name, &self.key)
    }
}

struct StoredContact {
    key: SignaturePublicKey,
    verified: bool,
    since: Time,
}

record!(StoredContact { key, verified, since });

impl StoredContact {
    fn contact(name: String, stored: &Secret) -> Result<Contact, Error> {
        let stored = Self::from_bytes(stored.as_bytes()).map_err(|_| Error::Damaged("a contact"))?;
        let Self { key, verified, since } = stored;
        Ok(Contact { name, key, verified, since })
    }
}

/// All pinned keys.
pub(crate) fn contacts(profile: &Profile) -> Result<Vec<Contact>, Error> {
    let contact = |(name, stored)| {
        let name = String::from_utf8(name).map_err(|_| Error::Damaged("a contact"))?;
        StoredContact::contact(name, &stored)
    };
    profile.all(CONTACTS)?.into_iter().map(contact).collect()
}

pub(crate) fn contact(profile: &Profile, name: &str) -> Result<Option<Contact>, Error> {
    let stored = profile.get(CONTACTS, name.as_bytes())?;
    stored.map(|stored| StoredContact::contact(name.to_owned(), &stored)).transpose()
}

/// Pins a key if none is pinned under the name; false if another one is.
pub(crate) fn pin(
    tx: &mut Transaction<'_>,
    name: &str,
    key: &SignaturePublicKey,
    now: Time,
) -> Result<bool, Error> {
    match contact(tx, name)? {
        Some(contact) => Ok(contact.key == *key),
        None => {
            let stored = StoredContact { key: key.clone(), verified: false, since: now };
            tx.put(CONTACTS, name.as_bytes(), &stored.to_bytes())?;
            Ok(true)
        }
    }
}

/// The fingerprint of a key was compared: it is the one from now on.
pub(crate) fn verify(
    tx: &mut Transaction<'_>,
    name: &str,
    key: SignaturePublicKey,
    now: Time,
) -> Result<(), Error> {
    let since = contact(tx, name)?.filter(|contact| contact.key == key).map_or(now, |contact| contact.since);
    Ok(tx.put(CONTACTS, name.as_bytes(), &StoredContact { key, verified: true, since }.to_bytes())?)
}

/// A key package that somebody published.
#[derive(Clone)]
pub(crate) struct Person {
    pub name: String,
    pub key_package: KeyPackage,
}

fixed!(Name, 32, "the name of a parcel, 32 bytes");

impl Person {
    pub(crate) fn key(&self) -> &SignaturePublicKey {
        &self.key_package.leaf_node.signature_key
    }

    /// Whether it can be added now.
    pub(crate) fn is_valid_at(&self, now: Time) -> bool {
        self.lifetime().is_some_and(|lifetime| lifetime.contains(now))
    }

    fn lifetime(&self) -> Option<Lifetime> {
        Self::lifetime_of(&self.key_package)
    }

    pub(crate) fn lifetime_of(key_package: &KeyPackage) -> Option<Lifetime> {
        match key_package.leaf_node.source {
            LeafNodeSource::KeyPackage(lifetime) => Some(lifetime),
            _ => None,
        }
    }

    /// Keeps a key package that came.
    pub(crate) fn put(
        tx: &mut Transaction<'_>,
        key_package: &KeyPackage,
        reference: &[u8],
    ) -> Result<(), Error> {
        Ok(tx.put(PEOPLE, reference, &key_package.to_bytes())?)
    }

    pub(crate) fn delete(tx: &mut Transaction<'_>, reference: &[u8]) -> Result<(), Error> {
        Ok(tx.delete(PEOPLE, reference)?)
    }

    /// All whose key packages came, by reference.
    pub(crate) fn all(profile: &Profile) -> Result<BTreeMap<Vec<u8>, Person>, Error> {
        let person = |(reference, stored): (Vec<u8>, Secret)| {
            let key_package =
                KeyPackage::from_bytes(stored.as_bytes()).map_err(|_| Error::Damaged("a key package"))?;
            Ok((reference, Person { name: name_in(&key_package.leaf_node.credential), key_package }))
        };
        profile.all(PEOPLE)?.into_iter().map(person).collect()
    }

    /// The newest valid key package of each key under a name.
    pub(crate) fn named(profile: &Profile, name: &str, now: Time) -> Result<Vec<Person>, Error> {
        let mut newest: BTreeMap<Vec<u8>, Person> = BTreeMap::new();
        for person in Self::all(profile)?.into_values().filter(|person| person.name == name) {
            if !person.is_valid_at(now) {
                continue;
            }
            let made = |person: &Person| Origin::of(&person.key_package.leaf_node).made;
            let key = person.key().as_bytes().to_vec();
            if newest.get(&key).is_none_or(|other| made(other) < made(&person)) {
                newest.insert(key, person);
            }
        }
        Ok(newest.into_values().collect())
    }
}

/// What our leaves say about themselves, in the extension `application_id` (RFC 9420 s5.3.3): when the key package was made and what for. It stays in
/// the leaf, so an old request to be taken in again can't be repeated by somebody else: it is older than the leaf.
///
/// ```text
/// opaque label[4] = "dmls";
/// uint64 made;
/// opaque rejoins<V>;     the group whose member asks to be taken in again, or nothing
/// optional opaque began[16];   where its view of that group begins, if it only guesses that it lost the way
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub made: u64,
    pub rejoins: Vec<u8>,
    pub began: Option<Began>,
}

impl Origin {
    const LABEL: &[u8] = b"dmls";

    /// That of a leaf; of a leaf that does not say, the beginning of time.
    pub(crate) fn of(leaf: &LeafNode) -> Self {
        let data = leaf.extensions.data(ExtensionType::APPLICATION_ID);
        data.and_then(|data| Self::from_bytes(data).ok()).unwrap_or_default()
    }

    /// A key package with this origin.
    pub(crate) fn key_package(
        self,
        identity: &Identity,
        days: u64,
        rng: &mut dyn CryptoRng,
    ) -> Result<OwnKeyPackage, Error> {
        let mut extensions = Extensions::new();
        let lifetime = Lifetime::starting(Time(self.made), days * DAY);
        extensions.set(ExtensionType::APPLICATION_ID, self.to_bytes());
        Ok(identity.clone().with_extensions(extensions).key_package(lifetime, rng)?)
    }
}

impl Encode for Origin {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(Self::LABEL);
        self.made.encode(out);
        self.rejoins.encode(out);
        self.began.encode(out);
    }
}

impl Decode for Origin {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        if r.take(4, "the label")? != Self::LABEL {
            return Err(DecodeError { offset: start, expected: "the label \"dmls\"", field: None });
        }
        Ok(Self { made: u64::decode(r)?, rejoins: Vec::decode(r)?, began: Option::decode(r)? })
    }
}

/// Whether a key package may be shown to people at all.
pub(crate) fn is_presentable(key_package: &KeyPackage) -> bool {
    is_name(&name_in(&key_package.leaf_node.credential))
}
