//! Where the profile is, and what opens it.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use dmls_store::{Key, Profile};
use etcetera::BaseStrategy;
use rand::Rng;
use zeroize::Zeroizing;

use super::Options;
use crate::Failure;

/// Of a profile without a passphrase: its key, beside it.
const KEY_FILE: &str = "key";

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
    // Before a passphrase is asked for: is there a profile at all?
    if !directory.join("profile.db").is_file() {
        return Err(Failure::Failed(format!(
            "there is no profile in {}: make one with `dmls init`, or name another with --profile",
            directory.display()
        )));
    }
    let key = match stored_key(&directory)? {
        Some(key) => key,
        None => passphrase(options, false)?,
    };
    Ok(Profile::open(&directory, &key, &mut rand::rng())?)
}

/// Makes a profile, which a passphrase opens, or a key in a file beside it.
pub fn create(options: &Options, no_passphrase: bool) -> Result<Profile, Failure> {
    let directory = directory(options)?;
    if directory.join("profile.db").exists() {
        return Err(Failure::Failed(format!(
            "{} holds a profile already: name another directory with --profile",
            directory.display()
        )));
    }
    let rng = &mut rand::rng();
    if !no_passphrase {
        return Ok(Profile::create(&directory, &passphrase(options, true)?, rng)?);
    }
    let mut key = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *key);
    fs::create_dir_all(&directory).map_err(failed("make the directory", &directory))?;
    let path = directory.join(KEY_FILE);
    write_private(&path, &*key).map_err(failed("write", &path))?;
    Ok(Profile::create(&directory, &Key::random(*key), rng)?)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
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

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |e| Failure::Failed(format!("can't {what} {}: {e}", path.display()))
}
