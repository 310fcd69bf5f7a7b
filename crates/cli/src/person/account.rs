//! Where the profile is, and what opens it.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use dmls::Time;
use dmls_store::{Exported, Key, Profile};
use etcetera::BaseStrategy;
use rand::Rng;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Options;
use crate::Failure;

/// Of a profile without a passphrase: its key, beside it.
const KEY_FILE: &str = "key";

/// What is to open a new profile.
#[derive(clap::Args, Debug)]
pub struct NewKey {
    /// No passphrase: the key lies in a file beside the profile
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

/// The directory of the profile.
pub fn directory(options: &Options) -> Result<PathBuf, Failure> {
    if let Some(profile) = &options.profile {
        return Ok(profile.clone());
    }
    let base = etcetera::choose_base_strategy();
    let base = base
        .map_err(|e| Failure::Failed(format!("no home directory ({e}): name the profile with --profile")))?;
    Ok(base.data_dir().join("dmls"))
}

/// Opens the profile.
pub fn open(options: &Options) -> Result<Profile, Failure> {
    let directory = directory(options)?;
    // Before a passphrase is asked for: is there a profile at all, and is it still here?
    look(&directory)?;
    Profile::look(&directory)?;
    Ok(Profile::open(&directory, &key(options, &directory)?, &mut rand::rng())?)
}

/// Moves the profile into a file.
pub fn export(options: &Options, directory: &Path, to: &Path, now: Time) -> Result<Exported, Failure> {
    look(directory)?;
    match Profile::look(directory) {
        // What was begun is finished.
        Ok(()) | Err(dmls_store::Error::Exported { erased: false, .. }) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(Profile::export(directory, &key(options, directory)?, to, now, &mut rand::rng())?)
}

fn look(directory: &Path) -> Result<(), Failure> {
    if directory.join("profile.db").is_file() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "there is no profile in {}: make one with `dmls init`, or name another with --profile",
        directory.display()
    )))
}

/// A directory for a new profile: in it is none, or one that went elsewhere if it may come back.
pub fn vacant(options: &Options, may_come_back: bool) -> Result<PathBuf, Failure> {
    let directory = directory(options)?;
    match Profile::look(&directory) {
        Err(dmls_store::Error::NotFound(_)) => Ok(directory),
        Err(dmls_store::Error::Exported { erased: true, .. }) if may_come_back => Ok(directory),
        Err(e @ dmls_store::Error::Exported { .. }) => Err(e.into()),
        _ => Err(Failure::Failed(format!(
            "{} holds a profile already: name another directory with --profile",
            directory.display()
        ))),
    }
}

/// Makes a profile in a vacant directory, which a passphrase opens, or a key in a file beside it.
pub fn create(
    options: &Options,
    directory: &Path,
    new_key: &NewKey,
    make: impl FnOnce(&Key, &mut dyn CryptoRng) -> Result<Profile, dmls_store::Error>,
) -> Result<Profile, Failure> {
    let rng = &mut rand::rng();
    // Of a profile that was here before.
    forget_key(directory)?;
    if !new_key.no_passphrase {
        return Ok(make(&passphrase(options, true)?, rng)?);
    }
    let mut key = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *key);
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
    let path = directory.join(KEY_FILE);
    write_private(&path, &*key).map_err(failed("write", &path))?;
    let made = make(&Key::random(*key), rng);
    if made.is_err() {
        forget_key(directory)?;
    }
    Ok(made?)
}

/// Deletes the key of a profile that is not here any more.
pub fn forget_key(directory: &Path) -> Result<(), Failure> {
    let path = directory.join(KEY_FILE);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("delete", &path)(e)),
        _ => Ok(()),
    }
}

/// What opens the profile of a directory.
fn key(options: &Options, directory: &Path) -> Result<Key, Failure> {
    match stored_key(directory)? {
        Some(key) => Ok(key),
        None => passphrase(options, false),
    }
}

/// Writes a file for its owner only, which is on the disk when this returns.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn stored_key(directory: &Path) -> Result<Option<Key>, Failure> {
    let path = directory.join(KEY_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", &path)(e)),
    };
    let key = <[u8; 32]>::try_from(&bytes[..]);
    let key = key
        .map_err(|_| Failure::Failed(format!("{} is not a key: restore it from a backup", path.display())))?;
    Ok(Some(Key::random(key)))
}

/// From the file that was named, or from the terminal.
fn passphrase(options: &Options, is_new: bool) -> Result<Key, Failure> {
    if let Some(path) = &options.passphrase_file {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed("read", path))?);
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(Failure::Failed(format!(
                "the first line of {} is empty: write the passphrase there",
                path.display()
            )));
        }
        return Ok(Key::passphrase(line));
    }
    if !io::stdin().is_terminal() {
        let hint = if is_new { ", or --no-passphrase" } else { "" };
        return Err(Failure::Usage(format!(
            "no terminal to ask for the passphrase: give --passphrase-file{hint}"
        )));
    }
    let ask = |prompt: &str| {
        let typed = rpassword::prompt_password(prompt);
        typed.map(Zeroizing::new).map_err(|e| Failure::Failed(format!("can't read the passphrase: {e}")))
    };
    let typed = ask("Passphrase: ")?;
    if is_new {
        if typed.is_empty() {
            return Err(Failure::Usage(
                "an empty passphrase protects nothing: --no-passphrase says so".into(),
            ));
        }
        if *typed != *ask("Once more: ")? {
            return Err(Failure::Failed("the two differ: try again".into()));
        }
    }
    Ok(Key::passphrase(&**typed))
}

/// What could not be done with a file.
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |e| Failure::Failed(format!("can't {what} {}: {e}", path.display()))
}
