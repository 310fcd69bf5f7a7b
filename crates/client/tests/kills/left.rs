//! What is left on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dmls_client::Name;
use dmls_store::{Key, Profile};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::power::Call;

/// Files by their paths in a directory.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A profile, as it is opened: how many transactions there were, and a hash of all of its rows, as they are sealed. None where there is no
/// profile yet. One run of the script makes the same rows as another, as its generators are seeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State(pub Option<(u64, u64)>);

impl State {
    pub fn of(profile: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        if !profile.join("profile.db").exists() {
            return Ok(Self(None));
        }
        let opened = Profile::open(profile, &key(), &mut ChaCha20Rng::seed_from_u64(0))?;
        let generation = opened.generation();
        drop(opened);
        let database = rusqlite::Connection::open(profile.join("profile.db"))?;
        let sql = "SELECT name, data FROM record JOIN slot ON slot.id = record.slot ORDER BY name";
        let mut statement = database.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut hash = Sha256::new();
        while let Some(row) = rows.next()? {
            for column in 0..2 {
                let bytes = row.get_ref(column)?.as_blob()?;
                hash.update(bytes.len().to_be_bytes());
                hash.update(bytes);
            }
        }
        Ok(Self(Some((generation, short(hash)))))
    }
}

fn short(hash: Sha256) -> u64 {
    let hash: [u8; 32] = hash.finalize().into();
    u64::from_be_bytes(hash[..8].try_into().unwrap())
}

/// That of all profiles.
pub fn key() -> Key {
    Key::random([7; 32])
}

/// All files in a directory.
pub fn files(directory: &Path) -> io::Result<Files> {
    let (mut found, mut open) = (Files::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

pub fn put(files: &Files, directory: &Path) -> io::Result<()> {
    for (path, content) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, content)?;
    }
    Ok(())
}

/// Copies a directory, with those in it that are empty.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { assert!(fs::copy(path, to).is_ok()) }
    }
}

/// A hash of what is in the folders, without what was being written; and the parcels that are not whole.
pub fn folders(directory: &Path) -> (u64, Vec<PathBuf>) {
    let (mut hash, mut torn) = (Sha256::new(), Vec::new());
    // Nobody has a folder at the beginning.
    for (path, content) in files(&directory.join("folders")).unwrap_or_default() {
        if path.components().any(|part| part.as_os_str() == "tmp") {
            continue;
        }
        let name = Name::of(&content);
        hash.update(path.to_str().unwrap());
        hash.update(name.0);
        if path.file_name().unwrap().to_str().unwrap() != name.to_string() {
            torn.push(path);
        }
    }
    (short(hash), torn)
}

/// Does to files what a process did to those below a directory.
pub fn replay(files: &mut Files, directory: &Path, call: &Call) {
    let of = |path: &Path| path.strip_prefix(directory).map(Path::to_owned).ok();
    match call {
        Call::Write(path, offset, data) => {
            let file = files.entry(of(path).unwrap()).or_default();
            file.resize(file.len().max(offset + data.len()), 0);
            file[*offset..offset + data.len()].copy_from_slice(data);
        }
        Call::Truncate(path, length) => files.entry(of(path).unwrap()).or_default().resize(*length, 0),
        Call::Unlink(path) => drop(files.remove(&of(path).unwrap())),
        Call::Rename(from, to) => {
            let file = files.remove(&of(from).unwrap()).unwrap_or_default();
            files.insert(of(to).unwrap(), file);
        }
        Call::Say(_) | Call::Sync(_) => {}
    }
}
