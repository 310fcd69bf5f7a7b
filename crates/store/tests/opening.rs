//! What opens a profile, and what does not: each is an error of its own, and changes nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "a process of the test is told what it is")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{key, rng};
use dmls_store::{Error, Key, Log, Profile, Table};

const TABLE: Table<'_> = Table::new("table");

fn open(directory: &Path) -> Result<Profile, Error> {
    Profile::open(directory, &key(), &mut rng(1))
}

/// A profile with something in it, closed.
fn profile() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut profile = Profile::create(directory.path(), &key(), &mut rng(0)).unwrap();
    put(&mut profile, b"key", b"value");
    directory
}

fn put(profile: &mut Profile, key: &[u8], value: &[u8]) {
    profile.transaction(|tx| tx.put(TABLE, key, value)).unwrap();
}

/// The database, for somebody who writes it behind our back.
fn database(directory: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.join("profile.db")).unwrap()
}

#[test]
fn there_is_one_or_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(open(directory.path()), Err(Error::NotFound(_))));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let directory = profile();
    assert!(matches!(Profile::create(directory.path(), &key(), &mut rng(0)), Err(Error::Exists(_))));
    let value = open(directory.path()).unwrap().get(TABLE, b"key").unwrap().unwrap();
    assert_eq!(value.as_bytes(), b"value");
}

#[test]
fn another_key_is_refused() {
    let directory = profile();
    let open = |key: Key| Profile::open(directory.path(), &key, &mut rng(1));
    assert!(matches!(open(Key::random([2; 32])), Err(Error::WrongKey)));
    assert!(matches!(open(Key::passphrase("passphrase")), Err(Error::WrongKindOfKey)));
    open(key()).unwrap().change_key(&Key::passphrase("passphrase"), &mut rng(2)).unwrap();
    assert!(matches!(open(Key::passphrase("another")), Err(Error::WrongKey)));
    assert!(matches!(open(key()), Err(Error::WrongKindOfKey)));
    let opened = open(Key::passphrase("passphrase")).unwrap();
    assert_eq!(opened.get(TABLE, b"key").unwrap().unwrap().as_bytes(), b"value");
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.db");
    let refused = |content: &[u8]| {
        assert!(matches!(open(directory.path()), Err(Error::Foreign(_))));
        assert_eq!(std::fs::read(&file).unwrap(), content);
    };
    for content in [&b""[..], &b"hello".repeat(1_000)] {
        std::fs::write(&file, content).unwrap();
        refused(content);
    }
    std::fs::remove_file(&file).unwrap();
    let other = database(directory.path());
    other.execute_batch("CREATE TABLE header (id INTEGER PRIMARY KEY, data BLOB)").unwrap();
    other.close().unwrap();
    refused(&std::fs::read(&file).unwrap());
}

#[test]
fn what_an_interrupted_creation_leaves_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["profile.db.new", "profile.db.new-journal"] {
        std::fs::write(directory.path().join(name), b"half of it").unwrap();
    }
    assert!(matches!(open(directory.path()), Err(Error::NotFound(_))));
    drop(Profile::create(directory.path(), &key(), &mut rng(0)).unwrap());
    open(directory.path()).unwrap();
}

#[test]
fn one_process_has_it() {
    let directory = profile();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_holder", "--nocapture"])
        .env("DMLS_HOLD", directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("holding")));
    let Err(Error::Locked(Some(who))) = open(directory.path()) else { panic!("it was not locked") };
    assert!(who.starts_with(&format!("{} (opening-", holder.id())), "{who}");
    assert!(matches!(Profile::create(directory.path(), &key(), &mut rng(0)), Err(Error::Locked(_))));
    // However it ends, it lets go.
    holder.kill().unwrap();
    holder.wait().unwrap();
    open(directory.path()).unwrap();
}

/// The process of `one_process_has_it`: no test by itself.
#[test]
fn the_holder() {
    let Ok(directory) = std::env::var("DMLS_HOLD") else { return };
    let _profile = open(Path::new(&directory)).unwrap();
    println!("\nholding");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn another_program_can_not_write_it_meanwhile() {
    let directory = profile();
    let mut profile = open(directory.path()).unwrap();
    put(&mut profile, b"key", b"other");
    let other = database(directory.path());
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(other.execute("DELETE FROM record", []).is_err());
}

#[test]
fn an_old_copy_is_told() {
    let directory = profile();
    let old = std::fs::read(directory.path().join("profile.db")).unwrap();
    let mut profile = open(directory.path()).unwrap();
    put(&mut profile, b"key", b"newer");
    let seen = profile.generation();
    drop(profile);
    let restore = || std::fs::write(directory.path().join("profile.db"), &old).unwrap();
    restore();
    let Err(Error::RolledBack { found, seen: told }) = open(directory.path()) else { panic!("not told") };
    assert_eq!((found, told), (seen - 1, seen));
    // Whoever knows what it means goes on from there; that is told once.
    let mut profile = Profile::open_rolled_back(directory.path(), &key(), &mut rng(3)).unwrap();
    assert_eq!(profile.get(TABLE, b"key").unwrap().unwrap().as_bytes(), b"value");
    put(&mut profile, b"key", b"again");
    drop(profile);
    open(directory.path()).unwrap();
    // A copy of the whole directory can't be told from the original.
    restore();
    std::fs::remove_file(directory.path().join("seen")).unwrap();
    open(directory.path()).unwrap();
}

#[test]
fn another_profile_in_its_place_is_no_old_copy() {
    let (directory, other) = (profile(), tempfile::tempdir().unwrap());
    put(&mut open(directory.path()).unwrap(), b"key", b"newer");
    drop(Profile::create(other.path(), &key(), &mut rng(7)).unwrap());
    std::fs::copy(other.path().join("profile.db"), directory.path().join("profile.db")).unwrap();
    open(directory.path()).unwrap();
}

#[test]
fn a_value_in_anothers_place_is_refused() {
    let directory = profile();
    put(&mut open(directory.path()).unwrap(), b"other key", b"other");
    let rows: Vec<(i64, Vec<u8>)> = {
        let database = database(directory.path());
        let mut statement = database.prepare("SELECT id, data FROM slot").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let put = |id: i64, data: &[u8]| {
        database(directory.path()).execute("UPDATE slot SET data = ? WHERE id = ?", (data, id)).unwrap()
    };
    let check = || {
        let profile = open(directory.path())?;
        profile.get(TABLE, b"key")?;
        profile.get(TABLE, b"other key")
    };
    check().unwrap();
    // The profile's state and the two values: each gets the content of each other.
    assert_eq!(rows.len(), 3);
    for ((one, data), (other, others)) in (0..3).flat_map(|n| [(&rows[n], &rows[(n + 1) % 3])]) {
        put(*one, others);
        put(*other, data);
        assert!(matches!(check(), Err(Error::Damaged(_))), "{one} and {other}");
        put(*one, data);
        put(*other, others);
        check().unwrap();
    }
    // Any byte of one.
    let (id, whole) = &rows[0];
    for at in 0..whole.len() {
        let mut data = whole.clone();
        data[at] ^= 1 << (at % 8);
        put(*id, &data);
        assert!(matches!(check(), Err(Error::Damaged(_))), "byte {at}");
    }
}

#[test]
fn a_damaged_file_gives_an_error() {
    let directory = profile();
    let mut profile = open(directory.path()).unwrap();
    for n in 0..200_u32 {
        put(&mut profile, &n.to_be_bytes(), &[7; 300]);
    }
    drop(profile);
    let file = directory.path().join("profile.db");
    let whole = std::fs::read(&file).unwrap();
    let read_all = |directory: &Path| -> Result<usize, Error> {
        let profile = open(directory)?;
        profile.entries_after(Log::new("log"), None, 10)?;
        Ok(profile.all(TABLE)?.len())
    };
    assert_eq!(read_all(directory.path()).unwrap(), 201);
    // A caller that goes on after a write that failed, perhaps half-way: nothing of that is kept.
    let go_on = |directory: &Path| -> Result<bool, Error> {
        open(directory)?
            .transaction(|tx| Ok((0..200_u32).any(|n| tx.put(TABLE, &n.to_be_bytes(), b"new").is_err())))
    };
    // Cut short anywhere, or with a page of something else: an error or what was there, never a panic and never less.
    let (mut refused, mut abandoned) = (0, 0);
    for at in (0..whole.len()).step_by(4_096) {
        let mut overwritten = whole.clone();
        overwritten[at..at + 4_096].fill(0x5a);
        for content in [&whole[..at], &overwritten] {
            std::fs::write(&file, content).unwrap();
            match read_all(directory.path()) {
                Ok(records) => assert_eq!(records, 201, "at {at}"),
                Err(_) => refused += 1,
            }
            match go_on(directory.path()) {
                Ok(one_failed) => assert!(!one_failed, "at {at}"),
                Err(e) => abandoned += usize::from(matches!(e, Error::Failed)),
            }
        }
    }
    assert!(abandoned > 10, "only {abandoned}");
    assert!(refused > whole.len() / 4_096, "only {refused}");
}
