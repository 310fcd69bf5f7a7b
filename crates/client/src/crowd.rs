//! Who is kept of those who publish key packages: anybody can make any number of them, under any names.

use std::collections::BTreeMap;

use dmls::KeyPackage;
use dmls_store::Profile;

use crate::error::Error;
use crate::names::name_in;
use crate::people::{Origin, Person, contact};

/// Keys of others with key packages, at most: some thousands of people meet in one network.
const MAX_KEYS: usize = 1 << 12;
/// Keys under one name, at most: more nobody compares.
const MAX_SAME_NAME: usize = 16;
/// Key packages of one key, at most: the newest. One is used, another may be used up on a branch that lost.
const MAX_SAME_KEY: usize = 4;

/// What is kept, counted: it is read from the profile once for many that come.
#[derive(Default)]
pub(crate) struct Crowd {
    /// By name and key, the oldest first.
    kept: BTreeMap<(String, Vec<u8>), Vec<Kept>>,
}

/// A key package that is kept.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    made: u64,
    reference: Vec<u8>,
}

/// Whether a key package is kept.
pub(crate) enum Room {
    /// It is, in the place of another one perhaps.
    Yes(Option<Vec<u8>>),
    /// Newer ones of its key are there.
    Newer,
    /// There are too many others.
    No,
}

impl Crowd {
    pub(crate) fn load(profile: &Profile) -> Result<Self, Error> {
        let mut crowd = Self::default();
        for (reference, person) in Person::all(profile)? {
            crowd.add(&person.key_package, reference);
        }
        Ok(crowd)
    }

    pub(crate) fn add(&mut self, key_package: &KeyPackage, reference: Vec<u8>) {
        let made = Origin::of(&key_package.leaf_node).made;
        let kept = self.kept.entry(place(key_package)).or_default();
        kept.push(Kept { made, reference });
        kept.sort();
        kept.drain(..kept.len().saturating_sub(MAX_SAME_KEY));
    }

    /// Whether there is room. Whose key is pinned always has some.
    pub(crate) fn room(&self, profile: &Profile, key_package: &KeyPackage) -> Result<Room, Error> {
        let place = place(key_package);
        if let Some(kept) = self.kept.get(&place) {
            let made = Origin::of(&key_package.leaf_node).made;
            return Ok(match kept.first() {
                Some(oldest) if kept.len() >= MAX_SAME_KEY && made > oldest.made => {
                    Room::Yes(Some(oldest.reference.clone()))
                }
                Some(_) if kept.len() >= MAX_SAME_KEY => Room::Newer,
                _ => Room::Yes(None),
            });
        }
        let (name, key) = &place;
        let is_pinned = contact(profile, name)?.is_some_and(|contact| contact.key.as_bytes() == key);
        let same = self.kept.range((name.clone(), Vec::new())..).take_while(|((other, _), _)| other == name);
        let has_room = self.kept.len() < MAX_KEYS && same.count() < MAX_SAME_NAME;
        Ok(if is_pinned || has_room { Room::Yes(None) } else { Room::No })
    }
}

fn place(key_package: &KeyPackage) -> (String, Vec<u8>) {
    let leaf = &key_package.leaf_node;
    (name_in(&leaf.credential), leaf.signature_key.as_bytes().to_vec())
}
