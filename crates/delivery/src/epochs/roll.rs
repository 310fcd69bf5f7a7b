//! The members of an epoch, by their leaves and by their devices.

use std::collections::{BTreeMap, BTreeSet};

use dmls::crypto::SignaturePublicKey;
use dmls::extension::HomeAttestation;
use dmls::{LeafIndex, Member, PublicMember, Suite};

use super::home::Home;
use super::invalid::{HomeRule, Invalid};
use crate::ids::{Device, ServerId};

/// One member.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) member: Member,
    pub(super) device: Device,
    pub(super) home: Home,
    attestation: HomeAttestation,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Roll {
    places: BTreeMap<LeafIndex, Place>,
    leaves: BTreeMap<Device, LeafIndex>,
    keys: BTreeMap<ServerId, SignaturePublicKey>,
}

impl Roll {
    /// Reads it. No signature is checked.
    pub(super) fn read(members: Vec<PublicMember>) -> Result<Self, Invalid> {
        let mut roll = Self::default();
        for PublicMember { member, home, .. } in members {
            let leaf = member.leaf;
            roll.add(member, home).map_err(|rule| Invalid::Home { leaf, rule })?;
        }
        Ok(roll)
    }

    fn add(&mut self, member: Member, attestation: Option<HomeAttestation>) -> Result<(), HomeRule> {
        let attestation = attestation.ok_or(HomeRule::Missing)?;
        let (home, device) = Home::read(&attestation)?;
        if *self.keys.entry(home.server).or_insert_with(|| home.key.clone()) != home.key {
            return Err(HomeRule::ServerKey);
        }
        if self.leaves.insert(device, member.leaf).is_some() {
            return Err(HomeRule::DeviceTwice);
        }
        self.places.insert(member.leaf, Place { member, device, home, attestation });
        Ok(())
    }

    /// Judges what differs from the epoch before.
    pub(super) fn check(&self, before: &Self, suite: &Suite) -> Result<(), Invalid> {
        for (leaf, place) in &self.places {
            place.check(before, suite).map_err(|rule| Invalid::Home { leaf: *leaf, rule })?;
        }
        Ok(())
    }

    pub(super) fn at(&self, leaf: LeafIndex) -> Option<&Place> {
        self.places.get(&leaf)
    }

    pub(super) fn of(&self, device: &Device) -> Option<&Place> {
        self.at(*self.leaves.get(device)?)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values()
    }

    /// Its servers, as its leaves name them.
    pub(super) fn homes(&self) -> Vec<Home> {
        self.keys.iter().map(|(server, key)| Home { server: *server, key: key.clone() }).collect()
    }

    /// R of the epoch.
    pub(super) fn servers(&self) -> BTreeSet<ServerId> {
        self.keys.keys().copied().collect()
    }
}

impl Place {
    fn check(&self, before: &Roll, suite: &Suite) -> Result<(), HomeRule> {
        let Self { member, home, attestation, .. } = self;
        let same =
            |old: &Self| old.attestation == *attestation && old.member.signature_key == member.signature_key;
        if before.at(member.leaf).is_some_and(same) {
            return Ok(());
        }
        if before.keys.get(&home.server).is_some_and(|key| *key != home.key) {
            return Err(HomeRule::ServerKey);
        }
        let verified = attestation.verify(suite, &home.key, &member.signature_key);
        verified.map_err(|_| HomeRule::Signature)
    }
}
