//! A client with its folder, for the length of a command.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dmls::Time;
use dmls_client::{Client, Event, Folder, FolderError, Synced};
use dmls_store::{Profile, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::{Options, account};
use crate::Failure;
use crate::graph::text::safe;
use crate::term::{Look, hex, write};

/// The command's own records in the profile.
const CLI: Table<'_> = Table::new("cli");
const FOLDER: &[u8] = b"folder";
/// A parcel of more bytes is none of ours: a Welcome into a group of thousands has some MiB.
const MAX_PARCEL: usize = 16 << 20;

/// A client, its folder, and how to speak.
pub struct Session {
    pub client: Client,
    folder: Result<Folder, FolderError>,
    offline: bool,
    pub json: bool,
    pub look: Look,
}

impl Session {
    /// Opens the profile of the options.
    pub fn open(options: &Options) -> Result<Self, Failure> {
        Self::with(Client::open(account::open(options)?)?, options)
    }

    /// Of a client that is open.
    pub fn with(client: Client, options: &Options) -> Result<Self, Failure> {
        let path = match &options.folder {
            Some(path) => path.clone(),
            None => folder_of(client.profile())?,
        };
        let folder = Folder::open(&path, MAX_PARCEL);
        let look = Look::of_stdout(options.plain);
        Ok(Self { client, folder, offline: options.offline, json: options.json, look })
    }

    /// Synchronizes before a command, so that it sees what there is; a folder that is not there is only told.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.exchange().map(drop)
    }

    /// Synchronizes after a command, so that others see what it did.
    pub fn end(&mut self) -> Result<(), Failure> {
        if !self.exchange()? && self.offline {
            eprintln!("dmls: not published yet: `dmls sync` does it");
        }
        Ok(())
    }

    /// Synchronizes if the folder is there.
    fn exchange(&mut self) -> Result<bool, Failure> {
        if self.offline {
            return Ok(false);
        }
        if let Err(e) = &self.folder {
            eprintln!("dmls: {e}; what you do is kept, and published once the folder is there");
            return Ok(false);
        }
        self.sync().map(|_| true)
    }

    /// Synchronizes; a folder that is not there is a failure.
    pub fn sync(&mut self) -> Result<Synced, Failure> {
        let folder = self.folder.as_mut().map_err(|e| Failure::Failed(e.to_string()))?;
        let bar = spinner();
        let progress = &mut |synced: &Synced| {
            bar.set_message(format!("{} taken in, {} published", synced.taken_in, synced.published));
            bar.tick();
        };
        let synced = self.client.sync(folder, now(), &mut rand::rng(), progress);
        bar.finish_and_clear();
        let synced = synced?;
        self.tell_faults(&synced)?;
        Ok(synced)
    }

    /// What is wrong in the folder is told once, as long as it stays wrong.
    fn tell_faults(&mut self, synced: &Synced) -> Result<(), Failure> {
        const FAULTS: Table<'_> = Table::new("cli faults");
        let key =
            |fault: &dmls_client::Fault| format!("{}\0{}", fault.path.display(), fault.why).into_bytes();
        let known = self.client.profile().all(FAULTS)?;
        let now: Vec<_> = synced.faults.iter().map(key).collect();
        for (fault, key) in synced.faults.iter().zip(&now) {
            if !known.contains_key(key) {
                eprintln!("dmls: skipped {}: {}", safe(&fault.path.display().to_string()), fault.why);
            }
        }
        if known.keys().ne(now.iter()) {
            self.client.profile_mut().transaction(|tx| {
                tx.clear_table(FAULTS)?;
                now.iter().try_for_each(|key| tx.put(FAULTS, key, &[]))
            })?;
        }
        Ok(())
    }

    /// The folder, if it is there.
    pub fn folder(&self) -> Result<&Folder, Failure> {
        self.folder.as_ref().map_err(|e| Failure::Failed(e.to_string()))
    }

    /// Clears away what crashed processes left in the folder long ago.
    pub fn sweep(&mut self) -> Result<(), Failure> {
        if let Ok(folder) = &mut self.folder {
            folder.sweep(SystemTime::now()).map_err(|e| Failure::Failed(e.to_string()))?;
        }
        Ok(())
    }

    /// The client and its folder.
    pub fn parts(self) -> Result<(Client, Folder), Failure> {
        Ok((self.client, self.folder.map_err(|e| Failure::Failed(e.to_string()))?))
    }

    /// Tells what happened beside what was asked for: on standard error, which is for people.
    pub fn tell_events(&mut self) {
        for event in self.client.events() {
            match event {
                Event::OtherKey { name, pinned, found } => eprintln!(
                    "dmls: {} has the fingerprint {found}, and had {pinned} before: ask in person, then `dmls contacts verify`",
                    safe(&name)
                ),
                Event::Invited { .. } => eprintln!("dmls: you are invited: `dmls group join` accepts"),
                Event::Refused { name, why, .. } => {
                    eprintln!("dmls: a message is no good, and was skipped ({name}): {}", safe(&why))
                }
                Event::Unreadable { name, why, .. } => {
                    eprintln!("dmls: a message can't be read ({name}): {why}")
                }
                Event::Damaged { group, name, why } => eprintln!("dmls: {}", damaged(&group, &name, &why)),
                Event::Failed { why, .. } => {
                    eprintln!(
                        "dmls: something that is due could not be done, and is tried again: {}",
                        safe(&why)
                    )
                }
                _ => {}
            }
        }
    }

    /// The id of a group of this name.
    pub fn group(&self, name: &str) -> Result<Vec<u8>, Failure> {
        Ok(self.client.find_group(name)?)
    }

    /// Prints a sentence, or an object in its place.
    pub fn say(&self, sentence: &str, object: impl FnOnce() -> Value) -> Result<(), Failure> {
        if self.json { write(&format!("{}\n", object())) } else { write(&format!("{sentence}\n")) }
    }
}

/// Says of a group that it is damaged, and what to do.
pub fn damaged(id: &[u8], name: &str, why: &str) -> String {
    let called = if name.is_empty() { hex(id) } else { name.to_owned() };
    let called = safe(&called);
    format!(
        "the group {called} is damaged ({}): restore a backup, or let the others take you in again by `dmls group rejoin {called}`",
        safe(why)
    )
}

/// The folder of a profile.
pub fn folder_of(profile: &Profile) -> Result<PathBuf, Failure> {
    let stored = profile.get(CLI, FOLDER)?;
    let stored = stored.and_then(|stored| String::from_utf8(stored.as_bytes().to_vec()).ok());
    stored
        .map(PathBuf::from)
        .ok_or_else(|| Failure::Failed("this profile has no folder: name one with --folder".into()))
}

/// Makes the folder, unless somebody has, and says its place.
pub fn make_folder(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))?;
    Folder::create(&path, MAX_PARCEL).map_err(|e| Failure::Failed(e.to_string()))?;
    let text = path
        .to_str()
        .ok_or_else(|| Failure::Failed("the folder's path is not UTF-8: choose another".into()))?;
    Ok(text.to_owned())
}

/// Keeps the place of the folder.
pub fn set_folder(profile: &mut Profile, place: &str) -> Result<(), Failure> {
    Ok(profile.transaction(|tx| tx.put(CLI, FOLDER, place.as_bytes()))?)
}

/// Seconds since 1970.
pub fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Shows on a terminal that something goes on, once it takes a second.
fn spinner() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(4);
    let style = ProgressStyle::with_template("{spinner} synchronizing: {msg}");
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
