//! A profile moves: all of it is in one file, and where it was it opens no more.
//!
//! ```text
//! file   = "dmls export\n"[12] || format[4] || salt[16] || check[16] || SHA-256(all before)[..8] || chunks    (sealed_stream.rs)
//! key    = HMAC-SHA-256(phrase's secret, "dmls-store export key 1" || salt)
//! check  = HMAC-SHA-256(phrase's secret, "dmls-store export check 1" || salt)[..16]
//! plain  = profile id[16] || profile key[32] || record*
//! record = name length[1] || name || length[4] || value, as it stands in a slot (seal.rs)
//! ```
//!
//! The file is on the disk before anything changes, and nobody knows its phrase yet. Then one transaction says that the profile has moved, and keeps
//! the phrase; only then it is told. So at no moment two profiles can go on, nor none. Erasing what is left is a step of its own, for when
//! the phrase was written down.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use dmls::Time;
use hmac::{Hmac, KeyInit, Mac};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::database::{Database, Moved};
use crate::error::{Error, FORMAT};
use crate::key::{self, Key, ProfileId, ProfileKey};
use crate::lock::{Lock, Seen, create_directory, sync_directory};
use crate::phrase::Phrase;
use crate::profile::{DATABASE, LOCK, Profile, Rollback, SEEN, State};
use crate::seal::{Name, Sealer};
use crate::sealed_stream::{Opening, Sealing};
use crate::space::Kind;

const MAGIC: &[u8; 12] = b"dmls export\n";
const SALT: usize = 16;
const CHECK: usize = 16;
const SUM: usize = 8;
/// All before the chunks.
const HEADER: usize = MAGIC.len() + 4 + SALT + CHECK + SUM;
/// SQLite takes no longer value, so there is none.
const MAX_VALUE: usize = 1_000_000_000;

/// A profile that was exported: here it opens no more.
pub struct Exported {
    profile: Profile,
    phrase: Phrase,
}

impl Profile {
    /// Moves a profile into a file, which [`Export::import`] opens elsewhere: from now on it does not open here ([`Error::Exported`]).
    /// The time is kept for those who ask where it went.
    ///
    /// If this is interrupted, the profile is as it was, and what there may be of the file opens with no phrase; or it has moved. Then the same
    /// call gives the phrase again, and writes the file again if it is not there: until [`Exported::erase`].
    pub fn export(
        directory: &Path,
        key: &Key,
        to: &Path,
        at: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Exported, Error> {
        let lock = Self::lock(directory)?;
        let database = Database::open(&directory.join(DATABASE))?;
        let moved = database.moved()?;
        match moved {
            Some(moved) if moved.erased => return Err(moved.into()),
            _ => {}
        }
        let mut profile = Self::open_database(directory, lock, database, key, rng, Rollback::Refuse)?;
        if moved.is_some() {
            let phrase = profile.kept_phrase()?.ok_or(Error::Damaged("the recovery phrase"))?;
            // What opens with this phrase is ours.
            if Export::open(to, &phrase).is_err() {
                profile.write_export(to, &phrase, rng)?;
            }
            return Ok(Exported { profile, phrase });
        }
        let phrase = Phrase::generate(rng);
        profile.write_export(to, &phrase, rng)?;
        let moved = Moved { at, to: to.to_string_lossy().into_owned(), erased: false };
        profile.transaction(|tx| tx.retire(&moved, &phrase))?;
        Ok(Exported { profile, phrase })
    }

    /// Nothing is left to be done before a key is given: there is a profile, this version reads it, no other process has it, and it was not
    /// exported.
    pub fn look(directory: &Path) -> Result<(), Error> {
        let _lock = Self::lock(directory)?;
        match Database::open(&directory.join(DATABASE))?.moved()? {
            Some(moved) => Err(moved.into()),
            None => Ok(()),
        }
    }

    /// Writes a file that is on the disk, and opens, when this returns.
    fn write_export(&self, to: &Path, phrase: &Phrase, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        if to.exists() {
            return Err(Error::Occupied(to.to_owned()));
        }
        // Under another name until it is whole. What a crash leaves behind is no export, and goes at the next try.
        let mut unfinished = to.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let written = self
            .write_sealed(&unfinished, phrase, rng)
            .and_then(|()| Export::open(&unfinished, phrase))
            .and_then(|_| fs::rename(&unfinished, to).map_err(Error::file(to)));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        sync_directory(directory.unwrap_or(Path::new("."))).inspect_err(|_| {
            let _ = fs::remove_file(to);
        })
    }

    fn write_sealed(&self, path: &Path, phrase: &Phrase, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let failed = || Error::file(path);
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = BufWriter::new(options.open(path).map_err(failed())?);
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        file.write_all(&header(phrase, &salt)).map_err(failed())?;
        let mut sealing = Sealing::new(file, &key_of(phrase, &salt));
        sealing.write(&self.id.0).and_then(|()| sealing.write(self.key.as_bytes())).map_err(failed())?;
        let [state_name, phrase_name] = names(&self.sealer);
        // `seen` knows of one more transaction here: the one that says that it has moved.
        let state = State { generation: self.state.generation + 1, ..self.state };
        let state = self.sealer.seal(&state_name, State::KEY, &state.to_bytes())?;
        let mut put = |name: &Name, value: &[u8]| {
            let (name, length) = (name.as_bytes(), (value.len() as u32).to_be_bytes());
            let parts = [&[name.len() as u8], name, &length, value];
            parts.iter().try_for_each(|part| sealing.write(part)).map_err(failed())
        };
        put(&state_name, &state)?;
        self.database.each(|name, value| match name {
            name if name == state_name || name == phrase_name => Ok(()),
            name => put(&name, value),
        })?;
        let file =
            sealing.finish().and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        file.and_then(|file| file.sync_all()).map_err(failed())
    }
}

impl Exported {
    /// What opens the file. Whoever has both has the profile.
    pub fn phrase(&self) -> &Phrase {
        &self.phrase
    }

    /// Erases what is left here, the phrase too: all but the note of where it went. The file is the only copy from now on.
    pub fn erase(self) -> Result<(), Error> {
        self.profile.database.erase()
    }
}

impl std::fmt::Debug for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exported").field(&self.profile).finish()
    }
}

/// An exported file that was opened by its phrase, and is whole.
pub struct Export {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl Export {
    /// Opens a file, and reads all of it: nothing is missing, and nothing was changed.
    pub fn open(path: &Path, phrase: &Phrase) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::file(path))?;
        let mut found = Vec::new();
        (&mut file).take(HEADER as u64).read_to_end(&mut found).map_err(Error::file(path))?;
        let damaged = || Error::DamagedExport(path.to_owned());
        let rest = found.strip_prefix(MAGIC).ok_or_else(|| Error::Foreign(path.to_owned()))?;
        let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        match i32::from_be_bytes(*format) {
            FORMAT => {}
            format => return Err(Error::Format(format)),
        }
        let salt = rest.first_chunk::<SALT>().ok_or_else(damaged)?;
        let sum_at = HEADER - SUM;
        if found.len() != HEADER || found[sum_at..] != sum(&found[..sum_at]) {
            return Err(damaged());
        }
        if found != header(phrase, salt) {
            return Err(Error::WrongPhrase);
        }
        let export = Self { path: path.to_owned(), key: key_of(phrase, salt) };
        export.read(|_, _| Ok(()))?;
        Ok(export)
    }

    /// Makes the profile in a directory that holds none, or one that was exported and erased; the key opens it from now on.
    ///
    /// The same file makes as many profiles as one likes, and nothing here can tell: but only one of them may go on. `docs/storage.md` says what
    /// happens to the others.
    pub fn import(&self, directory: &Path, key: &Key, rng: &mut dyn CryptoRng) -> Result<Profile, Error> {
        create_directory(directory)?;
        let lock = Lock::take(&directory.join(LOCK))?;
        vacate(directory)?;
        let (id, profile_key) = self.read(|_, _| Ok(()))?;
        self.check_age(directory, id, &Sealer::new(&profile_key, rng))?;
        let header = key::wrap(id, &profile_key, key, rng)?;
        Profile::put_in_place(directory, &header, |database| {
            self.read(|name, value| database.put(&name, value).map(drop)).map(drop)
        })?;
        Profile::open_locked(directory, lock, key, rng, Rollback::Refuse)
    }

    /// An old file of a profile that went on in this directory, and was exported again, is an old copy.
    fn check_age(&self, directory: &Path, id: ProfileId, sealer: &Sealer) -> Result<(), Error> {
        let (_, seen) = Seen::open(&directory.join(SEEN), id)?;
        let [state_name, _] = names(sealer);
        let mut state = None;
        self.read(|name, value| {
            if name == state_name {
                state = State::from_bytes(sealer.open(&name, value)?.1.as_bytes());
            }
            Ok(())
        })?;
        let found = state.ok_or(Error::Damaged("the profile's state"))?.generation;
        match seen {
            Some(seen) if seen > found => Err(Error::RolledBack { found, seen }),
            _ => Ok(()),
        }
    }

    /// Reads all of it: gives each record to `each`, and the profile's id and key back. They are what was written only if this succeeds.
    fn read(
        &self,
        mut each: impl FnMut(Name, &[u8]) -> Result<(), Error>,
    ) -> Result<(ProfileId, ProfileKey), Error> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::DamagedExport(self.path.clone())
            }
            _ => Error::File(self.path.clone(), e),
        };
        let damaged = || failed(io::ErrorKind::InvalidData.into());
        let mut file = BufReader::new(File::open(&self.path).map_err(failed)?);
        file.read_exact(&mut [0; HEADER]).map_err(failed)?;
        let mut plain = Opening::new(file, &self.key);
        let (mut id, mut key) = ([0; 16], Zeroizing::new([0; 32]));
        plain.read_exact(&mut id).map_err(failed)?;
        plain.read_exact(&mut key[..]).map_err(failed)?;
        while !plain.is_at_end().map_err(failed)? {
            let mut take = |length: usize| {
                let mut bytes = Vec::new();
                (&mut plain).take(length as u64).read_to_end(&mut bytes).map_err(failed)?;
                if bytes.len() == length { Ok(bytes) } else { Err(damaged()) }
            };
            let length = take(1)?;
            let name = take(length[0].into())?;
            let length = <[u8; 4]>::try_from(take(4)?).map_err(|_| damaged())?;
            let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| damaged())?;
            if length > MAX_VALUE {
                return Err(damaged());
            }
            each(Name::from_bytes(name), &take(length)?)?;
        }
        Ok((ProfileId(id), ProfileKey::from_bytes(key)))
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes room for a profile: there is none, or one that was exported and erased.
fn vacate(directory: &Path) -> Result<(), Error> {
    let path = directory.join(DATABASE);
    if !path.exists() {
        return Ok(());
    }
    let database = Database::open(&path)?;
    match database.moved()? {
        Some(moved) if moved.erased => {}
        Some(moved) => return Err(moved.into()),
        None => return Err(Error::Exists(directory.to_owned())),
    }
    database.checkpoint()?;
    drop(database);
    // SQLite removes it. If it could not: in it is nothing, and it would be taken for the new one's.
    let log = directory.join(format!("{DATABASE}-wal"));
    if log.exists() { fs::remove_file(&log).map_err(Error::file(&log)) } else { Ok(()) }
}

/// Of the records that an export does not take as they are: the profile's state, and the phrase.
fn names(sealer: &Sealer) -> [Name; 2] {
    [State::KEY, Phrase::KEY].map(|key| sealer.name(Kind::State.space(sealer), key))
}

fn header(phrase: &Phrase, salt: &[u8; SALT]) -> Vec<u8> {
    let check = derive(phrase, b"dmls-store export check 1", salt);
    let mut header = [&MAGIC[..], &FORMAT.to_be_bytes(), salt, &check[..CHECK]].concat();
    header.extend_from_slice(&sum(&header));
    header
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let whole = Sha256::digest(bytes);
    std::array::from_fn(|n| whole[n])
}

fn key_of(phrase: &Phrase, salt: &[u8; SALT]) -> Zeroizing<[u8; 32]> {
    derive(phrase, b"dmls-store export key 1", salt)
}

fn derive(phrase: &Phrase, label: &[u8], salt: &[u8; SALT]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(phrase.as_bytes()).expect("any length will do");
    mac.update(label);
    mac.update(salt);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
