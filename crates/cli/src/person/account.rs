//! Where the profile is: opening it, and making one.

use std::path::{Path, PathBuf};

use dmls::Time;
use dmls_store::{Exported, Key, Profile};
use etcetera::BaseStrategy;
use rand_core::CryptoRng;

use super::Options;
use super::key::{self, NewKey, Opener};
use crate::Failure;

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
    if let Some(next) = key::next(&directory) {
        // Changing the key was interrupted. Whatever keeps the new one from being had, the old one may be the right one.
        if let Ok(key) = key::of(options, &next) {
            match Profile::open(&directory, &key, &mut rand::rng()) {
                Err(dmls_store::Error::WrongKey | dmls_store::Error::WrongKindOfKey) => {}
                opened => {
                    let opened = opened?;
                    key::settle(&directory)?;
                    return Ok(opened);
                }
            }
        }
        let opened = Profile::open(&directory, &key::of(options, &directory)?, &mut rand::rng())?;
        key::give_up(&directory)?;
        return Ok(opened);
    }
    Ok(Profile::open(&directory, &key::of(options, &directory)?, &mut rand::rng())?)
}

/// Changes what opens the profile, or says what does.
pub fn change_key(options: &Options, new: &Options, new_key: &NewKey) -> Result<Opener, Failure> {
    let mut profile = open(options)?;
    let directory = directory(options)?;
    if !new_key.is_given() && new.passphrase_file.is_none() {
        return Ok(key::opener(&directory));
    }
    key::change(new, new_key, &directory, |key| profile.change_key(key, &mut rand::rng()))
}

/// Moves the profile into a file.
pub fn export(options: &Options, directory: &Path, to: &Path, now: Time) -> Result<Exported, Failure> {
    look(directory)?;
    match Profile::look(directory) {
        // What was begun is finished.
        Ok(()) if key::next(directory).is_some() => drop(open(options)?),
        Ok(()) | Err(dmls_store::Error::Exported { erased: false, .. }) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(Profile::export(directory, &key::of(options, directory)?, to, now, &mut rand::rng())?)
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

/// Makes a profile in a vacant directory, and says what opens it.
pub fn create(
    options: &Options,
    directory: &Path,
    new_key: &NewKey,
    make: impl FnOnce(&Key, &mut dyn CryptoRng) -> Result<Profile, dmls_store::Error>,
) -> Result<(Profile, Opener), Failure> {
    // Of a profile that was here before.
    key::forget(directory)?;
    let (key, opener) = key::make(options, new_key, directory)?;
    let made = make(&key, &mut rand::rng());
    if made.is_err() {
        key::forget(directory)?;
    }
    Ok((made?, opener))
}
