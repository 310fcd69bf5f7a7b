//! An open profile: opening, transactions, and what can be read.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;

use dmls::codec::Decode;
use dmls::crypto::{KeyPackageRef, Secret};
use dmls::framing::MlsMessage;
use dmls::{Config, Group, Identity, Provider};
use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::database::{Database, Scan};
use crate::error::Error;
use crate::key::{self, Key, ProfileId, ProfileKey};
use crate::lock::{Lock, Seen, create_directory, sync_directory};
use crate::phrase::Phrase;
use crate::seal::{Sealer, SpaceName};
use crate::space::{Kind, Log, Order, Table};
use crate::stored::StoredKeyPackage;
use crate::transaction::Transaction;

pub(crate) const DATABASE: &str = "profile.db";
/// A database that is being made.
const UNFINISHED: &str = "profile.db.new";
pub(crate) const LOCK: &str = "lock";
pub(crate) const SEEN: &str = "seen";

/// Groups, identities, key packages and an application's own records, in a directory that this process alone has open.
pub struct Profile {
    // Dropped in this order: the lock goes last.
    pub(crate) database: Database,
    pub(crate) sealer: Sealer,
    pub(crate) state: State,
    pub(crate) id: ProfileId,
    pub(crate) key: ProfileKey,
    seen: Seen,
    /// Deleted values may still be in the log of the database.
    unerased: bool,
    /// Until the end of a batch.
    deferred: bool,
    /// A commit failed: memory and disk may differ.
    unknown: bool,
    _lock: Lock,
}

/// What is written with every transaction.
#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    /// How many transactions there were.
    pub generation: u64,
    pub next_order: u64,
}

impl State {
    pub(crate) const KEY: &[u8] = b"state";

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [self.generation.to_be_bytes(), self.next_order.to_be_bytes()].concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (generation, next_order) = bytes.split_first_chunk::<8>()?;
        let next_order = u64::from_be_bytes(next_order.try_into().ok()?);
        Some(Self { generation: u64::from_be_bytes(*generation), next_order })
    }
}

impl Profile {
    /// Makes a profile in a directory, and the directory if it is not there.
    pub fn create(directory: &Path, key: &Key, rng: &mut dyn CryptoRng) -> Result<Self, Error> {
        create_directory(directory)?;
        let lock = Lock::take(&directory.join(LOCK))?;
        if directory.join(DATABASE).exists() {
            return Err(Error::Exists(directory.to_owned()));
        }
        let mut id = ProfileId([0; 16]);
        rng.fill_bytes(&mut id.0);
        let header = key::wrap(id, &ProfileKey::generate(rng), key, rng)?;
        Self::put_in_place(directory, &header, |_| Ok(()))?;
        Self::open_locked(directory, lock, key, rng, Rollback::Refuse)
    }

    /// Makes the file, with what `fill` puts into it.
    pub(crate) fn put_in_place(
        directory: &Path,
        header: &[u8],
        fill: impl FnOnce(&Database) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Under another name until it is whole: what a crash leaves behind is no profile, and goes at the next try.
        let unfinished = directory.join(UNFINISHED);
        for name in [UNFINISHED.to_owned(), format!("{UNFINISHED}-journal")] {
            let path = directory.join(name);
            if path.exists() {
                fs::remove_file(&path).map_err(Error::file(&path))?;
            }
        }
        Database::create(&unfinished, header, fill)?;
        let path = directory.join(DATABASE);
        fs::rename(&unfinished, &path).map_err(Error::file(&path))?;
        sync_directory(directory)
    }

    /// Opens a profile. Finishes the deletions that a crash interrupted.
    ///
    /// The generator makes nonces: give a cryptographic one, seeded by the operating system.
    pub fn open(directory: &Path, key: &Key, rng: &mut dyn CryptoRng) -> Result<Self, Error> {
        let lock = Self::lock(directory)?;
        Self::open_locked(directory, lock, key, rng, Rollback::Refuse)
    }

    /// Opens a profile of which an old copy was restored ([`Error::RolledBack`]); from now on it is the one.
    ///
    /// In each of its groups keys are back that were deleted, and what was sent since then is unknown: another message would be
    /// encrypted with keys that were used. So send nothing in them, and rejoin each of them ([`Group::rejoin`]).
    pub fn open_rolled_back(directory: &Path, key: &Key, rng: &mut dyn CryptoRng) -> Result<Self, Error> {
        let lock = Self::lock(directory)?;
        Self::open_locked(directory, lock, key, rng, Rollback::Accept)
    }

    pub(crate) fn lock(directory: &Path) -> Result<Lock, Error> {
        if !directory.join(DATABASE).is_file() {
            return Err(Error::NotFound(directory.to_owned()));
        }
        Lock::take(&directory.join(LOCK))
    }

    pub(crate) fn open_locked(
        directory: &Path,
        lock: Lock,
        key: &Key,
        rng: &mut dyn CryptoRng,
        rollback: Rollback,
    ) -> Result<Self, Error> {
        let database = Database::open(&directory.join(DATABASE))?;
        match database.moved()? {
            Some(moved) => Err(moved.into()),
            None => Self::open_database(directory, lock, database, key, rng, rollback),
        }
    }

    /// Opens it, whether it has moved or not.
    pub(crate) fn open_database(
        directory: &Path,
        lock: Lock,
        database: Database,
        key: &Key,
        rng: &mut dyn CryptoRng,
        rollback: Rollback,
    ) -> Result<Self, Error> {
        let (id, key) = key::unwrap(&database.header()?, key)?;
        let sealer = Sealer::new(&key, rng);
        let (seen, generation) = Seen::open(&directory.join(SEEN), id)?;
        let state = State::default();
        let (unerased, deferred, unknown) = (true, false, false);
        let mut profile =
            Self { database, sealer, state, id, key, seen, unerased, deferred, unknown, _lock: lock };
        if let Some(state) = profile.get_in(Kind::State.space(&profile.sealer), State::KEY)? {
            profile.state =
                State::from_bytes(state.as_bytes()).ok_or(Error::Damaged("the profile's state"))?;
        }
        match generation {
            Some(seen) if seen > profile.state.generation && rollback == Rollback::Refuse => {
                return Err(Error::RolledBack { found: profile.state.generation, seen });
            }
            _ => profile.seen.set(profile.state.generation)?,
        }
        profile.erase_deleted()?;
        Ok(profile)
    }

    /// Does all that `work` asks for, or nothing if it fails: then its error comes back. What is done is on the disk when this returns.
    /// What it deleted or replaced is gone from the disk, too, but in a [`Profile::batch`] ([`Profile::erase_deleted`] says whether).
    pub fn transaction<R, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        if self.unknown {
            return Err(Error::Reopen(None).into());
        }
        let mut transaction = Transaction::begin(self)?;
        let result = work(&mut transaction)?;
        let Some(pending) = transaction.prepare()? else { return Ok(result) };
        let done = pending.commit();
        self.finish(done)?;
        Ok(result)
    }

    /// After a commit, which is done whatever goes wrong from here.
    fn finish(&mut self, committed: Result<(State, bool), Error>) -> Result<(), Error> {
        let (state, erases) = match committed {
            Ok(done) => done,
            Err(e) => {
                self.unknown = true;
                return Err(Error::Reopen(Some(Box::new(e))));
            }
        };
        self.state = state;
        // If it fails, a rollback to before this is not seen.
        let _ = self.seen.set(state.generation);
        self.unerased |= erases;
        if !self.deferred {
            // If it fails, it is tried again: with the next transaction, by `erase_deleted`, on opening.
            let _ = self.erase_deleted();
        }
        Ok(())
    }

    /// Transactions whose deletions reach the disk together, at the end: an inbox full of messages, say. Each is on the disk when it
    /// returns, as always; but until the end a thief of the disk finds what they deleted or replaced.
    pub fn batch<R>(&mut self, work: impl FnOnce(&mut Profile) -> R) -> R {
        struct Batch<'a>(&'a mut Profile);
        impl Drop for Batch<'_> {
            fn drop(&mut self) {
                self.0.deferred = false;
                let _ = self.0.erase_deleted();
            }
        }
        self.deferred = true;
        work(Batch(self).0)
    }

    /// Nothing that was deleted or replaced is in the files any more, or an error. Every transaction does this by itself at its end, a
    /// batch at its own; ask if you want to be sure.
    pub fn erase_deleted(&mut self) -> Result<(), Error> {
        if self.unerased {
            self.database.checkpoint()?;
            self.unerased = false;
        }
        Ok(())
    }

    /// From now on another key opens the profile. The old one still opens copies of the file made before.
    pub fn change_key(&mut self, key: &Key, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let header = key::wrap(self.id, &self.key, key, rng)?;
        self.transaction(|transaction| transaction.set_header(&header))
    }

    /// The phrase of an export.
    pub(crate) fn kept_phrase(&self) -> Result<Option<Phrase>, Error> {
        let kept = self.get_in(Kind::State.space(&self.sealer), Phrase::KEY)?;
        Ok(kept.and_then(|kept| Phrase::from_bytes(kept.as_bytes())))
    }

    /// How many transactions there were. An application that keeps this number elsewhere sees when an old copy of the whole directory
    /// was restored.
    pub fn generation(&self) -> u64 {
        self.state.generation
    }

    /// The ids of all groups.
    pub fn groups(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.all_in(Kind::Groups.space(&self.sealer))?.into_keys().collect())
    }

    /// A group, from its records.
    pub fn load_group(&self, id: &[u8], config: Config) -> Result<Group, Error> {
        Ok(Group::load(self.records(id)?.as_map(), config)?)
    }

    /// The records of a group, or of one that we observe ([`dmls::PublicGroup::load`]).
    pub fn records(&self, id: &[u8]) -> Result<Records, Error> {
        if !self.has_group(id)? {
            return Err(Error::UnknownGroup);
        }
        let mut records = Records(BTreeMap::new());
        self.scan(&Scan::all(Kind::Group.of_group(&self.sealer, id)), |_, key, value| {
            records.0.insert(key, value.as_bytes().to_vec());
        })?;
        Ok(records)
    }

    pub(crate) fn has_group(&self, id: &[u8]) -> Result<bool, Error> {
        Ok(self.get_in(Kind::Groups.space(&self.sealer), id)?.is_some())
    }

    /// The names of all identities.
    pub fn identities(&self) -> Result<Vec<String>, Error> {
        let names = self.all_in(Kind::Identities.space(&self.sealer))?.into_keys();
        names.map(|name| String::from_utf8(name).map_err(|_| Error::Damaged("an identity"))).collect()
    }

    /// An identity by its name.
    pub fn identity(&self, name: &str, provider: Provider) -> Result<Option<Identity>, Error> {
        let stored = self.get_in(Kind::Identities.space(&self.sealer), name.as_bytes())?;
        Ok(stored.map(|stored| Identity::from_secret(provider, &stored)).transpose()?)
    }

    /// All key packages: the one-time ones that were not used, and those of last resort.
    pub fn key_packages(&self, provider: Provider) -> Result<Vec<StoredKeyPackage>, Error> {
        let stored = self.all_in(Kind::KeyPackages.space(&self.sealer))?;
        stored.values().map(|stored| StoredKeyPackage::from_secret(provider, stored)).collect()
    }

    /// That of our key packages which a MLSMessage(Welcome) is for.
    pub fn key_package_for(
        &self,
        welcome: &[u8],
        provider: Provider,
    ) -> Result<Option<StoredKeyPackage>, Error> {
        let MlsMessage::Welcome(welcome) = MlsMessage::from_bytes(welcome).map_err(dmls::Error::from)? else {
            return Err(dmls::Error::Invalid(dmls::Rule::MessageKind).into());
        };
        for secrets in &welcome.secrets {
            if let Some(stored) = self.key_package(&secrets.new_member)? {
                return StoredKeyPackage::from_secret(provider, &stored).map(Some);
            }
        }
        Ok(None)
    }

    pub(crate) fn key_package(&self, reference: &KeyPackageRef) -> Result<Option<Secret>, Error> {
        self.get_in(Kind::KeyPackages.space(&self.sealer), reference.as_bytes())
    }

    /// A value of a table.
    pub fn get(&self, table: Table<'_>, key: &[u8]) -> Result<Option<Secret>, Error> {
        self.get_in(table.space(&self.sealer), key)
    }

    /// All of a table.
    pub fn all(&self, table: Table<'_>) -> Result<BTreeMap<Vec<u8>, Secret>, Error> {
        self.all_in(table.space(&self.sealer))
    }

    /// An entry of a log.
    pub fn entry(&self, log: Log<'_>, order: Order) -> Result<Option<Secret>, Error> {
        let name = log.space(&self.sealer).entry(order.0);
        let sealed = self.database.get(&name)?;
        sealed.map(|sealed| Ok(self.sealer.open(&name, &sealed)?.1)).transpose()
    }

    /// The first entries of a log behind a place, or from its beginning.
    pub fn entries_after(
        &self,
        log: Log<'_>,
        after: Option<Order>,
        limit: usize,
    ) -> Result<Vec<(Order, Secret)>, Error> {
        let from = after.map_or(Bound::Unbounded, |Order(order)| Bound::Excluded(order));
        self.entries(log, (from, Bound::Unbounded), false, limit)
    }

    /// The last entries of a log before a place, or before its end: the newest first.
    pub fn entries_before(
        &self,
        log: Log<'_>,
        before: Option<Order>,
        limit: usize,
    ) -> Result<Vec<(Order, Secret)>, Error> {
        let to = before.map_or(Bound::Unbounded, |Order(order)| Bound::Excluded(order));
        self.entries(log, (Bound::Unbounded, to), true, limit)
    }

    fn entries(
        &self,
        log: Log<'_>,
        (from, to): (Bound<u64>, Bound<u64>),
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<(Order, Secret)>, Error> {
        let space = log.space(&self.sealer);
        let mut scan = Scan { newest_first, limit, ..Scan::all(space) };
        if let Bound::Excluded(order) = from {
            // The name is the first one that is greater.
            scan.from = [space.entry(order).as_bytes(), &[0]].concat();
        }
        if let Bound::Excluded(order) = to {
            scan.to = space.entry(order).as_bytes().to_vec();
        }
        let mut entries = Vec::new();
        self.scan(&scan, |order, _, value| entries.push((Order(order), value)))?;
        Ok(entries)
    }

    pub(crate) fn get_in(&self, space: SpaceName, key: &[u8]) -> Result<Option<Secret>, Error> {
        let name = self.sealer.name(space, key);
        let sealed = self.database.get(&name)?;
        sealed.map(|sealed| Ok(self.sealer.open(&name, &sealed)?.1)).transpose()
    }

    fn all_in(&self, space: SpaceName) -> Result<BTreeMap<Vec<u8>, Secret>, Error> {
        let mut all = BTreeMap::new();
        self.scan(&Scan::all(space), |_, key, value| {
            all.insert(key, value);
        })?;
        Ok(all)
    }

    /// Gives order, key and value of each record to `each`; the order counts in logs only, the key in tables.
    fn scan(&self, scan: &Scan, mut each: impl FnMut(u64, Vec<u8>, Secret)) -> Result<(), Error> {
        self.database.scan(scan, |name, sealed| {
            let (key, value) = self.sealer.open(&name, sealed)?;
            each(name.order().unwrap_or_default(), key, value);
            Ok(())
        })
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("id", &self.id)
            .field("generation", &self.state.generation)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollback {
    Refuse,
    Accept,
}

/// The records of a group, erased when dropped.
pub struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    /// For [`Group::load`].
    pub fn as_map(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.0
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Records({})", self.0.len())
    }
}
