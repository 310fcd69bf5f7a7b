//! The SQLite file.
//!
//! ```text
//! header  id 1 -> the wrapped key (key.rs), or zeros
//!         id 2 -> once it was exported: when[8], where to (export.rs)
//! record  name -> slot
//! slot    id   -> sealed bytes, or zeros
//! free    size, slot: those that are zeros
//! ```
//!
//! A slot never moves, never changes its length, and is never deleted: what is deleted or replaced is overwritten where it stands.
//! `secure_delete` alone would not do. When SQLite balances a tree it moves rows between pages, and leaves copies of them in the
//! unallocated part of the page that they come from; `secure_delete` overwrites what is deleted, not those copies. Rows of a rowid
//! table that are appended and then overwritten at the same length are never balanced.

use std::path::{Path, PathBuf};

use dmls::Time;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};

use crate::error::{Error, FORMAT};
use crate::seal::{Name, SpaceName};

/// "dmls": says in SQLite's own header whose file it is.
const APPLICATION_ID: i32 = 0x646d_6c73;

const SCHEMA: &str = "
    CREATE TABLE header (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE record (name BLOB PRIMARY KEY, slot INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE slot (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE free (size INTEGER NOT NULL, slot INTEGER NOT NULL, PRIMARY KEY (size, slot)) WITHOUT ROWID;
";

pub(crate) struct Database(Connection);

/// A profile is somewhere else.
#[derive(Clone)]
pub(crate) struct Moved {
    pub at: Time,
    /// The file, for people to read.
    pub to: String,
    /// Nothing but this is left.
    pub erased: bool,
}

impl From<Moved> for Error {
    fn from(moved: Moved) -> Self {
        Self::Exported { at: moved.at, to: PathBuf::from(moved.to), erased: moved.erased }
    }
}

/// Which of a space's records, in the order of their names.
pub(crate) struct Scan {
    /// The first.
    pub from: Vec<u8>,
    /// The one after the last.
    pub to: Vec<u8>,
    pub newest_first: bool,
    pub limit: usize,
}

impl Scan {
    /// All of a space.
    pub(crate) fn all(space: SpaceName) -> Self {
        let (from, to) = space.bounds();
        Self { from, to, newest_first: false, limit: usize::MAX }
    }
}

impl Database {
    /// Makes the file at a path where nothing is, with what `fill` puts into it.
    pub(crate) fn create(
        path: &Path,
        header: &[u8],
        fill: impl FnOnce(&Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let database = Self(Connection::open(path)?);
        let transaction = database.begin()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO header (id, data) VALUES (1, ?)", [header])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        fill(&database)?;
        transaction.commit()?;
        database.0.close().map_err(|(_, e)| e.into())
    }

    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        // One process has the file: no shared memory beside it, and no other program writes it.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        match number("application_id") {
            Ok(APPLICATION_ID) => {}
            Err(e) if e.sqlite_error_code() != Some(rusqlite::ErrorCode::NotADatabase) => {
                return Err(e.into());
            }
            _ => return Err(Error::Foreign(path.to_owned())),
        }
        match number("user_version")? {
            FORMAT => {}
            format => return Err(Error::Format(format)),
        }
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A transaction is on the disk before what it allows leaves.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // For names: the slots are overwritten by ourselves.
        connection.pragma_update(None, "secure_delete", true)?;
        // Nothing of a transaction that fails reaches a file.
        connection.pragma_update(None, "cache_spill", false)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self(connection))
    }

    pub(crate) fn header(&self) -> Result<Vec<u8>, Error> {
        self.header_row(1)?.ok_or(Error::Damaged("the profile's header"))
    }

    fn header_row(&self, id: i64) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT data FROM header WHERE id = ?";
        Ok(self.0.query_row(sql, [id], |row| row.get(0)).optional()?)
    }

    /// Whether the profile is somewhere else.
    pub(crate) fn moved(&self) -> Result<Option<Moved>, Error> {
        let Some(note) = self.header_row(2)? else { return Ok(None) };
        let (at, to) = note.split_first_chunk().ok_or(Error::Damaged("the profile's header"))?;
        let (at, to) = (Time(u64::from_be_bytes(*at)), String::from_utf8_lossy(to).into_owned());
        let erased = self.header()?.iter().all(|byte| *byte == 0);
        Ok(Some(Moved { at, to, erased }))
    }

    /// Says that it is.
    pub(crate) fn set_moved(&self, moved: &Moved) -> Result<(), Error> {
        let note = [&moved.at.0.to_be_bytes(), moved.to.as_bytes()].concat();
        self.0.execute("INSERT INTO header (id, data) VALUES (2, ?)", [note])?;
        Ok(())
    }

    /// Erases everything but the note of where it is.
    pub(crate) fn erase(&self) -> Result<(), Error> {
        let transaction = self.begin()?;
        transaction.execute_batch(
            "UPDATE header SET data = zeroblob(length(data)) WHERE id = 1;
             DELETE FROM record;
             DELETE FROM slot;
             DELETE FROM free;",
        )?;
        transaction.commit()?;
        self.checkpoint()?;
        // The key is gone, and the rest is overwritten. Now for the room that it takes: no harm if that fails.
        if self.0.execute_batch("VACUUM").is_ok() {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Of the same length as before: it is overwritten where it stands.
    pub(crate) fn set_header(&self, header: &[u8]) -> Result<(), Error> {
        self.0.execute("UPDATE header SET data = ? WHERE id = 1", [header])?;
        Ok(())
    }

    /// Rolls back when dropped.
    pub(crate) fn begin(&self) -> Result<Transaction<'_>, Error> {
        Ok(self.0.unchecked_transaction()?)
    }

    /// Moves everything from the log into the database and empties the log: no earlier value is left in either.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        match self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i32>(0))? {
            0 => Ok(()),
            _ => Err(Error::Locked(None)),
        }
    }

    pub(crate) fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT data FROM record JOIN slot ON slot.id = record.slot WHERE name = ?";
        Ok(self.0.prepare_cached(sql)?.query_row([name.as_bytes()], |row| row.get(0)).optional()?)
    }

    /// Gives each record of a scan to `each`.
    pub(crate) fn scan(
        &self,
        scan: &Scan,
        mut each: impl FnMut(Name, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // CROSS JOIN keeps the order of the tables: the order of the names.
        let sql = match scan.newest_first {
            false => {
                "SELECT name, data FROM record CROSS JOIN slot ON slot.id = record.slot
                      WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"
            }
            true => {
                "SELECT name, data FROM record CROSS JOIN slot ON slot.id = record.slot
                     WHERE name >= ? AND name < ? ORDER BY name DESC LIMIT ?"
            }
        };
        let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params![scan.from, scan.to, limit])?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(1)?.as_blob().map_err(|_| Error::Damaged("the database"))?;
            each(Name::from_bytes(row.get(0)?), data)?;
        }
        Ok(())
    }

    /// Gives all records to `each`.
    pub(crate) fn each(&self, mut each: impl FnMut(Name, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let sql = "SELECT name, data FROM record CROSS JOIN slot ON slot.id = record.slot ORDER BY name";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(1)?.as_blob().map_err(|_| Error::Damaged("the database"))?;
            each(Name::from_bytes(row.get(0)?), data)?;
        }
        Ok(())
    }

    /// The names of a space's records.
    pub(crate) fn names(&self, space: SpaceName) -> Result<Vec<Name>, Error> {
        let (from, to) = space.bounds();
        let mut statement = self.0.prepare_cached("SELECT name FROM record WHERE name >= ? AND name < ?")?;
        let names = statement.query_map([from, to], |row| Ok(Name::from_bytes(row.get(0)?)))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Whether something was overwritten.
    pub(crate) fn put(&self, name: &Name, data: &[u8]) -> Result<bool, Error> {
        let Some((slot, size)) = self.slot_of(name)? else {
            let slot = self.fill_slot(data)?;
            let sql = "INSERT INTO record (name, slot) VALUES (?, ?)";
            self.0.prepare_cached(sql)?.execute(params![name.as_bytes(), slot])?;
            return Ok(false);
        };
        if size == data.len() as i64 {
            self.write_slot(slot, data)?;
            return Ok(true);
        }
        self.empty_slot(slot, size)?;
        let slot = self.fill_slot(data)?;
        let sql = "UPDATE record SET slot = ? WHERE name = ?";
        self.0.prepare_cached(sql)?.execute(params![slot, name.as_bytes()])?;
        Ok(true)
    }

    /// Whether there was something to delete.
    pub(crate) fn delete(&self, name: &Name) -> Result<bool, Error> {
        let Some((slot, size)) = self.slot_of(name)? else { return Ok(false) };
        self.empty_slot(slot, size)?;
        self.0.prepare_cached("DELETE FROM record WHERE name = ?")?.execute([name.as_bytes()])?;
        Ok(true)
    }

    /// Where a record is, and its length there.
    fn slot_of(&self, name: &Name) -> Result<Option<(i64, i64)>, Error> {
        let sql = "SELECT id, length(data) FROM record JOIN slot ON slot.id = record.slot WHERE name = ?";
        let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.0.prepare_cached(sql)?.query_row([name.as_bytes()], pair).optional()?)
    }

    /// Uses a free slot of the same length, or appends one.
    fn fill_slot(&self, data: &[u8]) -> Result<i64, Error> {
        let size = data.len() as i64;
        let sql = "SELECT slot FROM free WHERE size = ? ORDER BY slot LIMIT 1";
        let free = self.0.prepare_cached(sql)?.query_row([size], |row| row.get(0)).optional()?;
        let Some(slot) = free else {
            self.0.prepare_cached("INSERT INTO slot (data) VALUES (?)")?.execute([data])?;
            return Ok(self.0.last_insert_rowid());
        };
        self.0.prepare_cached("DELETE FROM free WHERE size = ? AND slot = ?")?.execute([size, slot])?;
        self.write_slot(slot, data)?;
        Ok(slot)
    }

    fn empty_slot(&self, slot: i64, size: i64) -> Result<(), Error> {
        self.write_slot(slot, &vec![0; usize::try_from(size).unwrap_or(0)])?;
        self.0.prepare_cached("INSERT INTO free (size, slot) VALUES (?, ?)")?.execute([size, slot])?;
        Ok(())
    }

    /// The same length: SQLite overwrites it where it stands.
    fn write_slot(&self, slot: i64, data: &[u8]) -> Result<(), Error> {
        self.0.prepare_cached("UPDATE slot SET data = ? WHERE id = ?")?.execute(params![data, slot])?;
        Ok(())
    }
}
