//! A profile moves: it goes on elsewhere as it was, and where it was it opens no more. At no moment two can go on, nor none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{key, rng};
use dmls::Time;
use dmls_store::{Error, Export, Exported, Key, Log, Phrase, Profile, Table};

const TABLE: Table<'_> = Table::new("table");
const LOG: Log<'_> = Log::new("log");
const AT: Time = Time(1_800_000_000);

fn open(directory: &Path) -> Result<Profile, Error> {
    Profile::open(directory, &key(), &mut rng(1))
}

fn export(directory: &Path, to: &Path) -> Result<Exported, Error> {
    Profile::export(directory, &key(), to, AT, &mut rng(2))
}

/// A profile with something in it, closed, and a name for a file.
fn profile() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let old = home.path().join("old");
    let mut profile = Profile::create(&old, &key(), &mut rng(0)).unwrap();
    for n in 0..40_u32 {
        profile
            .transaction(|tx| {
                tx.put(TABLE, &n.to_be_bytes(), &vec![n as u8; 200 * n as usize])?;
                tx.append(LOG, &n.to_be_bytes())?;
                tx.delete(TABLE, &(n / 2).to_be_bytes())
            })
            .unwrap();
    }
    let file = home.path().join("file");
    (home, old, file)
}

/// All that an application sees.
#[derive(Debug, PartialEq)]
struct Content {
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    log: Vec<(u64, Vec<u8>)>,
}

fn content(profile: &Profile) -> Content {
    let table = profile.all(TABLE).unwrap().into_iter().map(|(key, value)| (key, value.as_bytes().to_vec()));
    let log = profile.entries_after(LOG, None, 1_000).unwrap().into_iter();
    let log = log.map(|(order, value)| (order.0, value.as_bytes().to_vec()));
    Content { table: table.collect(), log: log.collect() }
}

#[test]
fn it_goes_on_elsewhere() {
    let (home, old, file) = profile();
    let before = content(&open(&old).unwrap());
    let exported = export(&old, &file).unwrap();
    let phrase = Phrase::parse(&exported.phrase().text()).unwrap();
    drop(exported);
    let new = home.path().join("new");
    let other_key = Key::passphrase("another");
    let mut profile = Export::open(&file, &phrase).unwrap().import(&new, &other_key, &mut rng(3)).unwrap();
    assert_eq!(content(&profile), before);
    // Orders go on: none is given twice.
    let order = profile.transaction(|tx| tx.append(LOG, b"next")).unwrap();
    assert!(before.log.iter().all(|(known, _)| *known < order.0));
    drop(profile);
    assert!(matches!(open(&new), Err(Error::WrongKindOfKey)));
    let profile = Profile::open(&new, &other_key, &mut rng(4)).unwrap();
    assert_eq!(profile.entry(LOG, order).unwrap().unwrap().as_bytes(), b"next");
}

#[test]
fn where_it_was_it_opens_no_more() {
    let (_home, old, file) = profile();
    let backup = fs::read(old.join("profile.db")).unwrap();
    export(&old, &file).unwrap();
    let check = |refused: Result<(), Error>, is_erased: bool| {
        let Err(Error::Exported { at, to, erased }) = refused else { panic!("{refused:?}") };
        assert_eq!((at, to, erased), (AT, file.clone(), is_erased));
    };
    let look = |is_erased| {
        check(open(&old).map(drop), is_erased);
        check(Profile::open_rolled_back(&old, &key(), &mut rng(1)).map(drop), is_erased);
        // Nobody is asked for a key first.
        check(Profile::look(&old), is_erased);
    };
    look(false);
    assert!(matches!(Profile::create(&old, &key(), &mut rng(0)), Err(Error::Exists(_))));
    export(&old, &file).unwrap().erase().unwrap();
    look(true);
    check(export(&old, &file).map(drop), true);
    assert!(matches!(Profile::create(&old, &key(), &mut rng(0)), Err(Error::Exists(_))));
    // A backup from before is an old copy.
    fs::write(old.join("profile.db"), backup).unwrap();
    assert!(matches!(open(&old), Err(Error::RolledBack { .. })));
}

#[test]
fn until_it_is_erased_the_phrase_is_told_again() {
    let (home, old, file) = profile();
    let first = export(&old, &file).unwrap().phrase().text();
    let written = fs::read(&file).unwrap();
    assert_eq!(export(&old, &file).unwrap().phrase().text(), first);
    assert_eq!(fs::read(&file).unwrap(), written, "it was there");
    // The file was lost, or is wanted elsewhere.
    let again = home.path().join("again");
    assert_eq!(export(&old, &again).unwrap().phrase().text(), first);
    let length = |file: &Path| fs::metadata(file).unwrap().len();
    assert_eq!(length(&again), length(&file), "the phrase is kept here, and is not in it");
    let phrase = Phrase::parse(&first).unwrap();
    let import = |file: &Path, name: &str| {
        let export = Export::open(file, &phrase).unwrap();
        content(&export.import(&home.path().join(name), &key(), &mut rng(3)).unwrap())
    };
    assert_eq!(import(&file, "one"), import(&again, "other"));
    // Another's file is not written over.
    fs::write(&again, b"letters").unwrap();
    assert!(matches!(export(&old, &again), Err(Error::Occupied(_))));
    assert_eq!(fs::read(&again).unwrap(), b"letters");
    assert!(matches!(
        Profile::export(&old, &Key::random([2; 32]), &file, AT, &mut rng(2)),
        Err(Error::WrongKey)
    ));
}

#[test]
fn an_export_that_fails_changes_nothing() {
    let (home, old, file) = profile();
    fs::write(&file, b"letters").unwrap();
    assert!(matches!(export(&old, &file), Err(Error::Occupied(_))));
    assert!(matches!(export(&old, &home.path().join("nowhere/file")), Err(Error::File(..))));
    assert_eq!(fs::read(&file).unwrap(), b"letters");
    let holder = open(&old).unwrap();
    assert!(matches!(export(&old, &home.path().join("other")), Err(Error::Locked(_))));
    drop(holder);
    assert_eq!(content(&open(&old).unwrap()).log.len(), 40);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "something was left");
}

#[test]
fn nothing_of_it_is_left() {
    let (_home, old, file) = profile();
    let database = rusqlite::Connection::open(old.join("profile.db")).unwrap();
    let mut statement = database.prepare("SELECT data FROM slot UNION SELECT data FROM header").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let rows: Vec<_> = rows.map(Result::unwrap).filter(|row| row.iter().any(|byte| *byte != 0)).collect();
    drop(statement);
    drop(database);
    let found = || {
        let files = fs::read_dir(&old).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let bytes: Vec<_> = files.flatten().collect();
        // The end of each: a nonce begins as others do.
        rows.iter().filter(|row| bytes.windows(16).any(|part| part == &row[row.len() - 16..])).count()
    };
    assert!(rows.len() > 50 && found() == rows.len(), "{} of {}", found(), rows.len());
    let exported = export(&old, &file).unwrap();
    assert!(found() > 50, "the state alone was replaced");
    exported.erase().unwrap();
    assert_eq!(found(), 0);
    let size: u64 = fs::read_dir(&old).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 32_768, "{size} bytes for a note");
}

#[test]
fn it_comes_back_to_where_it_was() {
    let (_home, old, file) = profile();
    let before = content(&open(&old).unwrap());
    let exported = export(&old, &file).unwrap();
    let phrase = Phrase::parse(&exported.phrase().text()).unwrap();
    let import = || Export::open(&file, &phrase).unwrap().import(&old, &key(), &mut rng(3));
    assert!(matches!(import(), Err(Error::Locked(_))));
    drop(exported);
    assert!(matches!(import(), Err(Error::Exported { erased: false, .. })));
    export(&old, &file).unwrap().erase().unwrap();
    assert_eq!(content(&import().unwrap()), before);
    assert!(matches!(import(), Err(Error::Exists(_))));
    assert_eq!(content(&open(&old).unwrap()), before);
    // And goes away again.
    let other = file.with_extension("2");
    let again = Profile::export(&old, &key(), &other, AT, &mut rng(8)).unwrap();
    let other_phrase = Phrase::parse(&again.phrase().text()).unwrap();
    assert!(matches!(Export::open(&other, &phrase), Err(Error::WrongPhrase)));
    // The first file is an old copy now, and is told before it is put there.
    again.erase().unwrap();
    assert!(matches!(import(), Err(Error::RolledBack { .. })));
    assert!(matches!(import(), Err(Error::RolledBack { .. })));
    let again = Export::open(&other, &other_phrase).unwrap().import(&old, &key(), &mut rng(3)).unwrap();
    assert_eq!(content(&again), before);
}

#[test]
fn only_the_whole_file_and_its_phrase_make_a_profile() {
    let (home, old, file) = profile();
    let phrase = Phrase::parse(&export(&old, &file).unwrap().phrase().text()).unwrap();
    let (_other_home, other_old, other_file) = profile();
    let other = Profile::export(&other_old, &key(), &other_file, AT, &mut rng(9)).unwrap();
    assert!(matches!(Export::open(&file, other.phrase()), Err(Error::WrongPhrase)));
    let (whole, changed) = (fs::read(&file).unwrap(), home.path().join("changed"));
    assert!(whole.len() > 100_000, "more than one chunk");
    let refused = |content: &[u8], what: &str| {
        fs::write(&changed, content).unwrap();
        let Err(e) = Export::open(&changed, &phrase) else { panic!("{what}: it opened") };
        assert!(matches!(e, Error::DamagedExport(_) | Error::Foreign(_) | Error::Format(_)), "{what}: {e:?}");
        e
    };
    for length in (0..200).chain((200..whole.len()).step_by(1_009)).chain([whole.len() - 1]) {
        let e = refused(&whole[..length], &format!("cut short to {length}"));
        assert_eq!(matches!(e, Error::Foreign(_)), length < 12, "{length}");
    }
    for at in (0..200).chain((200..whole.len()).step_by(1_009)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged, &format!("byte {at}"));
    }
    refused(&[&whole[..], b"0"].concat(), "longer");
    let mut newer = whole.clone();
    newer[15] = 2;
    assert!(matches!(refused(&newer, "newer"), Error::Format(2)));
    assert!(matches!(refused(&fs::read(old.join("profile.db")).unwrap(), "a database"), Error::Foreign(_)));
    // It changes between two looks at it.
    fs::write(&changed, &whole).unwrap();
    let export = Export::open(&changed, &phrase).unwrap();
    fs::write(&changed, &whole[..whole.len() - 1]).unwrap();
    let new = home.path().join("new");
    assert!(matches!(export.import(&new, &key(), &mut rng(3)), Err(Error::DamagedExport(_))));
    assert!(matches!(open(&new), Err(Error::NotFound(_))));
    fs::write(&changed, &whole).unwrap();
    export.import(&new, &key(), &mut rng(3)).unwrap();
}

#[test]
fn one_without_anything_moves_as_well() {
    let home = tempfile::tempdir().unwrap();
    let (old, file) = (home.path().join("old"), home.path().join("file"));
    drop(Profile::create(&old, &key(), &mut rng(0)).unwrap());
    let exported = export(&old, &file).unwrap();
    let phrase = Phrase::parse(&exported.phrase().text()).unwrap();
    exported.erase().unwrap();
    drop(Export::open(&file, &phrase).unwrap().import(&old, &key(), &mut rng(3)).unwrap());
    open(&old).unwrap();
}

#[test]
fn no_error_says_the_phrase() {
    let (_home, old, file) = profile();
    let exported = export(&old, &file).unwrap();
    let text = exported.phrase().text();
    let shown =
        format!("{exported:?} {:?} {:?}", exported.phrase(), Export::open(&file, exported.phrase()).unwrap());
    assert!(!shown.contains(&text[..4]), "{shown}");
    drop(exported);
    for e in [open(&old).unwrap_err(), Error::WrongPhrase, Error::DamagedExport(file)] {
        assert!(!format!("{e} {e:?}").contains(&text[..4]));
    }
}
