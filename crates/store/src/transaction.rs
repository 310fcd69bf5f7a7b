//! What a transaction writes: the changes of a step, and all that belongs to them.

use std::ops::Deref;

use dmls::crypto::KeyPackageRef;
use dmls::{Changes, Identity, OwnKeyPackage, Suite};

use crate::database::Moved;
use crate::error::Error;
use crate::phrase::Phrase;
use crate::profile::{Profile, State};
use crate::seal::{Name, SpaceName};
use crate::space::{Kind, Log, Order, Table};
use crate::stored::{StoredKeyPackage, Use};

/// A transaction of [`Profile::transaction`]. What it has written can be read in it, as of the profile.
pub struct Transaction<'p> {
    profile: &'p Profile,
    database: rusqlite::Transaction<'p>,
    next_order: u64,
    changed: bool,
    /// Something is overwritten or deleted.
    erases: bool,
    /// A write failed, perhaps half-way.
    failed: bool,
}

impl Deref for Transaction<'_> {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        self.profile
    }
}

impl<'p> Transaction<'p> {
    pub(crate) fn begin(profile: &'p Profile) -> Result<Self, Error> {
        let (database, next_order) = (profile.database.begin()?, profile.state.next_order);
        Ok(Self { profile, database, next_order, changed: false, erases: false, failed: false })
    }

    /// Ready to commit, if there is something.
    pub(crate) fn prepare(mut self) -> Result<Option<Prepared<'p>>, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        if !self.changed {
            return Ok(None);
        }
        let state = State { generation: self.profile.state.generation + 1, next_order: self.next_order };
        let erases = self.erases;
        self.put_in(Kind::State.space(&self.sealer), State::KEY, &state.to_bytes())?;
        Ok(Some(Prepared { database: self.database, state, erases }))
    }

    /// Writes a group that begins here: the changes of a [`dmls::Founding`] by which we created it or joined it from outside.
    pub fn create_group(&mut self, id: &[u8], changes: &Changes) -> Result<(), Error> {
        if self.has_group(id)? {
            return Err(Error::GroupExists);
        }
        self.put_in(Kind::Groups.space(&self.sealer), id, &[])?;
        self.write_records(id, changes)
    }

    /// Writes a group that we joined by a Welcome, and erases the key package if it was for one use.
    pub fn join_group(&mut self, id: &[u8], changes: &Changes, used: &StoredKeyPackage) -> Result<(), Error> {
        if self.key_package(&used.reference)?.is_none() {
            return Err(Error::UnknownKeyPackage);
        }
        self.create_group(id, changes)?;
        match used.usage {
            Use::Once => self.delete_key_package(&used.reference),
            Use::LastResort => Ok(()),
        }
    }

    /// Writes the changes of a step of a group.
    pub fn write_group(&mut self, id: &[u8], changes: &Changes) -> Result<(), Error> {
        if !self.has_group(id)? {
            return Err(Error::UnknownGroup);
        }
        self.write_records(id, changes)
    }

    fn write_records(&mut self, id: &[u8], changes: &Changes) -> Result<(), Error> {
        let space = Kind::Group.of_group(&self.sealer, id);
        for (key, value) in changes.iter() {
            let name = self.sealer.record_name(space, key);
            match value {
                Some(value) => self.put_name(&name, key, value)?,
                None => self.delete_name(&name)?,
            }
        }
        Ok(())
    }

    /// Deletes a group. Tables and logs that belong to it are the caller's to clear.
    pub fn delete_group(&mut self, id: &[u8]) -> Result<(), Error> {
        if !self.has_group(id)? {
            return Err(Error::UnknownGroup);
        }
        self.clear(Kind::Group.of_group(&self.sealer, id))?;
        self.delete_in(Kind::Groups.space(&self.sealer), id)
    }

    /// Writes an identity under a name, in the place of what was there.
    pub fn put_identity(&mut self, name: &str, identity: &Identity) -> Result<(), Error> {
        let space = Kind::Identities.space(&self.sealer);
        self.put_in(space, name.as_bytes(), identity.to_secret().as_bytes())
    }

    /// Deletes an identity.
    pub fn delete_identity(&mut self, name: &str) -> Result<(), Error> {
        self.delete_in(Kind::Identities.space(&self.sealer), name.as_bytes())
    }

    /// Writes a key package. Publish it after the transaction: its Welcome can't be opened without the private keys.
    pub fn put_key_package(&mut self, own: &OwnKeyPackage, suite: &Suite, usage: Use) -> Result<(), Error> {
        let stored = StoredKeyPackage::to_secret(own, suite, usage);
        let space = Kind::KeyPackages.space(&self.sealer);
        self.put_in(space, own.reference(suite).as_bytes(), stored.as_bytes())
    }

    /// Deletes a key package: one that has expired, say.
    pub fn delete_key_package(&mut self, reference: &KeyPackageRef) -> Result<(), Error> {
        self.delete_in(Kind::KeyPackages.space(&self.sealer), reference.as_bytes())
    }

    /// Writes a value into a table, in the place of what was there.
    pub fn put(&mut self, table: Table<'_>, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put_in(table.space(&self.sealer), key, value)
    }

    /// Deletes a value of a table.
    pub fn delete(&mut self, table: Table<'_>, key: &[u8]) -> Result<(), Error> {
        self.delete_in(table.space(&self.sealer), key)
    }

    /// Deletes a whole table.
    pub fn clear_table(&mut self, table: Table<'_>) -> Result<(), Error> {
        self.clear(table.space(&self.sealer))
    }

    /// Appends to a log.
    pub fn append(&mut self, log: Log<'_>, value: &[u8]) -> Result<Order, Error> {
        let order = Order(self.next_order);
        self.next_order += 1;
        self.put_entry(log, order, value)?;
        Ok(order)
    }

    /// Replaces an entry of a log; false if it is not there.
    pub fn replace(&mut self, log: Log<'_>, order: Order, value: &[u8]) -> Result<bool, Error> {
        let found = self.entry(log, order)?.is_some();
        if found {
            self.put_entry(log, order, value)?;
        }
        Ok(found)
    }

    /// Removes an entry of a log.
    pub fn remove(&mut self, log: Log<'_>, order: Order) -> Result<(), Error> {
        let name = log.space(&self.sealer).entry(order.0);
        self.delete_name(&name)
    }

    /// Deletes a whole log.
    pub fn clear_log(&mut self, log: Log<'_>) -> Result<(), Error> {
        self.clear(log.space(&self.sealer))
    }

    /// The profile is somewhere else from now on, where this phrase opens it.
    pub(crate) fn retire(&mut self, moved: &Moved, phrase: &Phrase) -> Result<(), Error> {
        let written = self.profile.database.set_moved(moved).map(|()| true);
        self.note(written)?;
        self.put_in(Kind::State.space(&self.sealer), Phrase::KEY, phrase.as_bytes())
    }

    pub(crate) fn set_header(&mut self, header: &[u8]) -> Result<(), Error> {
        let written = self.profile.database.set_header(header).map(|()| true);
        self.note(written)
    }

    fn put_in(&mut self, space: SpaceName, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let name = self.sealer.name(space, key);
        self.put_name(&name, key, value)
    }

    fn put_entry(&mut self, log: Log<'_>, order: Order, value: &[u8]) -> Result<(), Error> {
        let name = log.space(&self.sealer).entry(order.0);
        self.put_name(&name, &[], value)
    }

    fn delete_in(&mut self, space: SpaceName, key: &[u8]) -> Result<(), Error> {
        let name = self.sealer.name(space, key);
        self.delete_name(&name)
    }

    fn clear(&mut self, space: SpaceName) -> Result<(), Error> {
        for name in self.database().names(space)? {
            self.delete_name(&name)?;
        }
        Ok(())
    }

    fn put_name(&mut self, name: &Name, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let written = self.sealer.seal(name, key, value);
        let written = written.and_then(|sealed| self.database().put(name, &sealed));
        self.note(written)
    }

    fn delete_name(&mut self, name: &Name) -> Result<(), Error> {
        let deleted = self.database().delete(name);
        self.note(deleted)
    }

    fn database(&self) -> &'p crate::database::Database {
        &self.profile.database
    }

    /// Notes what a write did: whether it erased something, or failed.
    fn note(&mut self, written: Result<bool, Error>) -> Result<(), Error> {
        self.changed = true;
        self.failed |= written.is_err();
        self.erases |= written?;
        Ok(())
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("changed", &self.changed).finish_non_exhaustive()
    }
}

/// All is written, and can be committed.
pub(crate) struct Prepared<'p> {
    database: rusqlite::Transaction<'p>,
    state: State,
    erases: bool,
}

impl Prepared<'_> {
    /// The new state, and whether something was erased.
    pub(crate) fn commit(self) -> Result<(State, bool), Error> {
        self.database.commit()?;
        Ok((self.state, self.erases))
    }
}
