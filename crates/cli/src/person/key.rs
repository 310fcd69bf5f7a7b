//! What opens a profile: a passphrase, the keyring of the operating system, or a file beside it.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use dmls_store::Key;
use rand::Rng;
use zeroize::Zeroizing;

use super::Options;
use super::keyring::Keyring;
use crate::Failure;
use crate::term::hex;

/// Beside a profile without a passphrase: its key.
const KEY_FILE: &str = "key";
/// Beside a profile whose key the keyring has: the name of the entry.
const KEYRING_FILE: &str = "keyring";
/// In it stands what will open the profile, while that changes.
const NEXT: &str = "next-key";

/// What is to open a new profile.
#[derive(clap::Args, Debug)]
pub struct NewKey {
    /// Ask for a passphrase, also where there is a keyring
    #[arg(long)]
    passphrase: bool,
    /// Keep the key in the keyring of this computer
    #[arg(long, conflicts_with = "passphrase")]
    keyring: bool,
    /// No passphrase: the key lies in a file beside the profile
    #[arg(long, conflicts_with_all = ["passphrase", "keyring"])]
    no_passphrase: bool,
}

impl NewKey {
    /// Whether one was chosen.
    pub fn is_given(&self) -> bool {
        self.passphrase || self.keyring || self.no_passphrase
    }
}

/// What opens a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// Somebody knows it.
    Passphrase,
    /// Whoever is logged in.
    Keyring,
    /// Whoever reads the files.
    File,
}

impl Opener {
    /// In JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }

    /// For people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Passphrase => "Your passphrase opens the profile.",
            Self::Keyring => {
                "The keyring of this computer has the key of the profile: whoever is logged in as you opens it."
            }
            Self::File => "The key of the profile lies beside it: whoever reads your files opens it.",
        }
    }
}

/// A key for a new profile, which is where it will be looked for when this returns.
pub fn make(options: &Options, new_key: &NewKey, directory: &Path) -> Result<(Key, Opener), Failure> {
    if options.passphrase_file.is_some() && (new_key.no_passphrase || new_key.keyring) {
        return Err(Failure::Usage(
            "a passphrase (--passphrase-file, DMLS_PASSPHRASE_FILE), or --keyring, or --no-passphrase: choose one".into(),
        ));
    }
    if new_key.no_passphrase {
        return Ok((in_file(directory)?, Opener::File));
    }
    if new_key.keyring {
        return Ok((in_keyring(&Keyring::open()?, directory)?, Opener::Keyring));
    }
    let may_choose = !new_key.passphrase && options.passphrase_file.is_none() && io::stdin().is_terminal();
    if let (true, Ok(keyring)) = (may_choose, Keyring::open()) {
        match in_keyring(&keyring, directory) {
            Ok(key) => return Ok((key, Opener::Keyring)),
            Err(Failure::Failed(why)) => eprintln!("dmls: {why}; or take a passphrase now"),
            Err(e) => return Err(e),
        }
    }
    Ok((passphrase(options, true)?, Opener::Passphrase))
}

fn in_file(directory: &Path) -> Result<Key, Failure> {
    let key = random();
    put(directory, KEY_FILE, &*key)?;
    Ok(Key::random(*key))
}

fn in_keyring(keyring: &Keyring, directory: &Path) -> Result<Key, Failure> {
    let (key, name) = (random(), hex(&random()[..8]));
    keyring.keep(&name, &key)?;
    put(directory, KEYRING_FILE, name.as_bytes())?;
    Ok(Key::random(*key))
}

fn random() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *bytes);
    bytes
}

fn put(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
    let path = directory.join(name);
    write_private(&path, bytes).map_err(failed("write", &path))?;
    sync(directory)
}

/// Deletes the key of a profile that is not here any more.
pub fn forget(directory: &Path) -> Result<(), Failure> {
    if next(directory).is_some() {
        give_up(directory)?;
    }
    forget_in(directory)
}

/// Where what will open the profile is put, while that changes. It may not open it yet.
pub fn next(directory: &Path) -> Option<PathBuf> {
    Some(directory.join(NEXT)).filter(|next| next.is_dir())
}

/// Changes what opens a profile. Interrupted, one of the two does, and [`next`] is there: [`settle`] or [`give_up`].
pub fn change(
    options: &Options,
    new_key: &NewKey,
    directory: &Path,
    change: impl FnOnce(&Key) -> Result<(), dmls_store::Error>,
) -> Result<Opener, Failure> {
    let next = directory.join(NEXT);
    fs::create_dir_all(&next).map_err(failed("make the directory", &next))?;
    let made = make(options, new_key, &next).and_then(|made| sync(directory).map(|()| made));
    let (key, opener) = match made {
        Ok(made) => made,
        Err(e) => return give_up(directory).and(Err(e)),
    };
    // If that fails nobody knows which of the two opens the profile: the next command looks.
    change(&key)?;
    settle(directory).map(|()| opener)
}

/// The next key opens the profile: it takes the place of the other.
pub fn settle(directory: &Path) -> Result<(), Failure> {
    let next = directory.join(NEXT);
    let names = [KEY_FILE, KEYRING_FILE].into_iter().filter(|name| next.join(name).exists());
    let names: Vec<_> = names.collect();
    forget_in(directory)?;
    for name in names {
        fs::rename(next.join(name), directory.join(name)).map_err(failed("write", &directory.join(name)))?;
    }
    sync(directory)?;
    fs::remove_dir(&next).map_err(failed("delete", &next))
}

/// The next key does not open the profile: the other goes on to.
pub fn give_up(directory: &Path) -> Result<(), Failure> {
    let next = directory.join(NEXT);
    forget_in(&next)?;
    fs::remove_dir(&next).map_err(failed("delete", &next))
}

/// What was made, renamed or deleted in a directory is on the disk when this returns.
pub fn sync(directory: &Path) -> Result<(), Failure> {
    if cfg!(unix) {
        let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("write", directory))?;
    }
    Ok(())
}

fn forget_in(directory: &Path) -> Result<(), Failure> {
    if let Some(name) = read(directory, KEYRING_FILE)? {
        // It opens nothing any more: no harm if the keyring has it still.
        let _ = Keyring::open().and_then(|keyring| keyring.forget(&entry_name(&name)));
    }
    for name in [KEY_FILE, KEYRING_FILE] {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("delete", &path)(e)),
            _ => {}
        }
    }
    Ok(())
}

/// What opens the profile of a directory, by the files there.
pub fn opener(directory: &Path) -> Opener {
    match directory {
        _ if directory.join(KEY_FILE).exists() => Opener::File,
        _ if directory.join(KEYRING_FILE).exists() => Opener::Keyring,
        _ => Opener::Passphrase,
    }
}

/// The key to the profile of a directory.
pub fn of(options: &Options, directory: &Path) -> Result<Key, Failure> {
    if let Some(key) = read(directory, KEY_FILE)? {
        let key = <[u8; 32]>::try_from(&key[..]).map_err(|_| {
            let path = directory.join(KEY_FILE);
            Failure::Failed(format!("{} is not a key: restore it from a backup", path.display()))
        })?;
        return Ok(Key::random(key));
    }
    match read(directory, KEYRING_FILE)? {
        Some(name) => Ok(Key::random(*Keyring::open()?.find(&entry_name(&name))?)),
        None => passphrase(options, false),
    }
}

/// The name of an entry, as it stands in a file.
fn entry_name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// A file of the directory, if it is there.
fn read(directory: &Path, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let path = directory.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", &path)(e)),
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
        let hint = if is_new { ", --keyring or --no-passphrase" } else { "" };
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
