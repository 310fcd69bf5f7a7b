//! What is deleted is gone: the ciphertext of every row that ever was is looked for, byte by byte, in every file of the profile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{key, rng};
use dmls_store::{Log, Profile, Table};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// How many bytes of a row must not be found: less than the shortest, so that parts of rows are found too.
const WINDOW: usize = 32;

/// All rows of the database as they are now, by a copy of its files: what is in a slot, if it is not free.
fn rows(directory: &Path) -> BTreeSet<Vec<u8>> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["profile.db", "profile.db-wal"] {
        let from = directory.join(name);
        if from.exists() {
            std::fs::copy(from, copy.path().join(name)).unwrap();
        }
    }
    let database = rusqlite::Connection::open(copy.path().join("profile.db")).unwrap();
    let mut statement =
        database.prepare("SELECT data FROM record JOIN slot ON slot.id = record.slot").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Every file of the profile, whatever its name.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

/// Which rows have bytes left somewhere: any aligned window of a row, anywhere in a file.
fn found<'a>(directory: &Path, rows: impl Iterator<Item = &'a Vec<u8>>) -> BTreeSet<&'a Vec<u8>> {
    let mut windows = BTreeMap::new();
    for row in rows {
        for window in row.chunks_exact(WINDOW) {
            windows.insert(window, row);
        }
    }
    let files = files(directory);
    let everywhere = files.values().flat_map(|file| file.windows(WINDOW));
    everywhere.filter_map(|window| windows.get(window).copied()).collect()
}

/// A profile with one long history of what an application may do, seen from outside after every transaction.
struct History {
    profile: Profile,
    directory: tempfile::TempDir,
    rng: ChaCha20Rng,
    ever: BTreeSet<Vec<u8>>,
    keys: Vec<Vec<u8>>,
    orders: Vec<dmls_store::Order>,
    /// Of values. By default those that records have: from a mark to a PPRF.
    lengths: &'static [usize],
}

const TABLE: Table<'_> = Table::new("table");
const LOG: Log<'_> = Log::new("log");

impl History {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let profile = Profile::create(directory.path(), &key(), &mut rng(1)).unwrap();
        let lengths = &[0, 40, 100, 300, 700, 2_000, 8_300];
        let (rng, ever, keys, orders) = (rng(2), BTreeSet::new(), Vec::new(), Vec::new());
        Self { profile, directory, rng, ever, keys, orders, lengths }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.rng.next_u32() as usize % limit
    }

    fn value(&mut self) -> Vec<u8> {
        vec![b'v'; self.lengths[self.below(self.lengths.len())]]
    }

    /// One transaction: puts, replacements, deletions.
    fn step(&mut self, puts: usize, deletions: usize) {
        let mut written = Vec::new();
        for _ in 0..puts {
            let mut key = vec![0; 33];
            self.rng.fill_bytes(&mut key);
            written.push((key, self.value()));
        }
        let mut gone = Vec::new();
        for _ in 0..deletions.min(self.keys.len()) {
            let at = self.below(self.keys.len());
            gone.push(self.keys.swap_remove(at));
        }
        let at = self.below(self.keys.len().max(1));
        let replaced = self.keys.get(at).cloned();
        let replacement = self.value();
        let removed = if self.orders.len() > 20 { Some(self.orders.remove(0)) } else { None };
        let orders = self.profile.transaction(|tx| -> Result<_, dmls_store::Error> {
            for (key, value) in &written {
                tx.put(TABLE, key, value)?;
            }
            for key in &gone {
                tx.delete(TABLE, key)?;
            }
            if let Some(key) = &replaced {
                tx.put(TABLE, key, &replacement)?;
            }
            if let Some(order) = removed {
                tx.remove(LOG, order)?;
            }
            Ok([tx.append(LOG, &replacement)?, tx.append(LOG, b"short")?])
        });
        self.orders.extend(orders.unwrap());
        self.keys.extend(written.into_iter().map(|(key, _)| key));
        self.ever.append(&mut rows(self.directory.path()));
    }

    /// What should not be there any more, and is.
    fn remnants(&self) -> usize {
        let now = rows(self.directory.path());
        let gone = self.ever.difference(&now);
        found(self.directory.path(), gone).len()
    }
}

#[test]
fn nothing_of_a_deleted_row_is_left() {
    let mut history = History::new();
    for round in 0..40 {
        history.step(40, if round < 8 { 0 } else { 45 });
        if round % 8 == 7 {
            assert_eq!(history.remnants(), 0, "round {round}");
        }
    }
    let now = rows(history.directory.path());
    assert!(history.ever.len() > now.len() + 1_000, "too little was deleted for a test");
    // The search does find what is there.
    assert_eq!(found(history.directory.path(), now.iter()).len(), now.len());
}

/// Rows of such lengths make SQLite move rows between pages, and leave copies of them where they were. With rows that are deleted
/// instead of slots that are overwritten, this very history leaves parts of five, though `secure_delete` is on.
#[test]
fn nothing_is_left_where_trees_were_balanced() {
    let mut history = History::new();
    history.lengths = &[20, 60, 260, 560];
    (0..10).for_each(|_| history.step(150, 0));
    (0..16).for_each(|_| history.step(150, 150));
    assert_eq!(history.remnants(), 0);
}

#[test]
fn a_batch_deletes_at_its_end() {
    let mut history = History::new();
    history.step(40, 0);
    let keys = history.keys.clone();
    let directory = history.directory.path();
    let before = rows(directory);
    let left_inside = history.profile.batch(|profile| {
        for key in &keys {
            profile.transaction(|tx| tx.delete(TABLE, key)).unwrap();
        }
        let now = rows(directory);
        found(directory, before.difference(&now)).len()
    });
    assert!(left_inside >= 40, "a batch that waits leaves {left_inside} of 40 until its end");
    let now = rows(directory);
    assert_eq!(found(directory, before.difference(&now)).len(), 0);
    history.profile.erase_deleted().unwrap();
}

#[test]
fn opening_finishes_what_a_crash_interrupted() {
    let mut history = History::new();
    history.step(40, 0);
    let keys = history.keys.clone();
    let before = rows(history.directory.path());
    // As a crash leaves it: the files in the middle of a batch.
    let crashed = tempfile::tempdir().unwrap();
    let directory = history.directory.path();
    history.profile.batch(|profile| {
        for key in &keys {
            profile.transaction(|tx| tx.delete(TABLE, key)).unwrap();
        }
        for (name, content) in files(directory) {
            std::fs::write(crashed.path().join(name), content).unwrap();
        }
    });
    let gone = |directory: &Path| found(directory, before.difference(&rows(directory))).len();
    assert!(gone(crashed.path()) >= 40);
    let profile = Profile::open(crashed.path(), &key(), &mut rng(3)).unwrap();
    assert_eq!(gone(crashed.path()), 0);
    assert!(profile.all(TABLE).unwrap().is_empty());
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let mut history = History::new();
    history.step(10, 0);
    let before = files(history.directory.path());
    let failed = history.profile.transaction(|tx| {
        // More than SQLite's cache holds.
        for n in 0..4_000_u32 {
            tx.put(TABLE, &n.to_be_bytes(), &[7; 2_000])?;
        }
        Err::<(), _>(dmls_store::Error::UnknownGroup)
    });
    assert!(matches!(failed, Err(dmls_store::Error::UnknownGroup)));
    assert_eq!(files(history.directory.path()), before);
}

#[test]
fn an_old_passphrase_is_gone_from_the_file() {
    let mut history = History::new();
    history.step(3, 0);
    let header = |directory: &Path| {
        let database = files(directory).remove("profile.db").unwrap();
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("db"), database).unwrap();
        let database = rusqlite::Connection::open(copy.path().join("db")).unwrap();
        database.query_row("SELECT data FROM header", [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
    };
    // The id in front stays.
    let old = header(history.directory.path()).split_off(16 + 29);
    assert_eq!(found(history.directory.path(), [&old].into_iter()).len(), 1);
    history.profile.change_key(&dmls_store::Key::random([9; 32]), &mut rng(5)).unwrap();
    assert_eq!(found(history.directory.path(), [&old].into_iter()).len(), 0);
}

/// Names are hashes. They are not looked after as values are, but SQLite overwrites what it deletes.
#[test]
fn the_name_of_a_deleted_record_is_overwritten() {
    let mut history = History::new();
    let names = |directory: &Path| -> BTreeSet<Vec<u8>> {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(directory.join("profile.db"), copy.path().join("db")).unwrap();
        let database = rusqlite::Connection::open(copy.path().join("db")).unwrap();
        let mut statement = database.prepare("SELECT name FROM record").unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    // The second one replaces, so that it ends with a checkpoint.
    for value in [b"value", b"other"] {
        history.profile.transaction(|tx| tx.put(TABLE, b"key", value)).unwrap();
    }
    let before = names(history.directory.path());
    history.profile.transaction(|tx| tx.delete(TABLE, b"key")).unwrap();
    let gone: Vec<_> = before.difference(&names(history.directory.path())).cloned().collect();
    assert_eq!(gone.len(), 1);
    for (name, file) in files(history.directory.path()) {
        assert!(!file.windows(gone[0].len()).any(|window| window == gone[0]), "in {name}");
    }
}
