//! What a disk may hold when the power fails: everything that was synced, and of the rest anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A call of a process, as `interpose.c` notes it.
#[derive(Clone)]
pub enum Call {
    /// To standard output: not the disk's, but it says what was done by then.
    Say(String),
    Write(PathBuf, usize, Vec<u8>),
    Truncate(PathBuf, usize),
    Sync(PathBuf),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// Files by name.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

pub fn read(mut trace: &[u8]) -> Vec<Call> {
    let mut take = |length: usize| {
        let (taken, rest) = trace.split_at_checked(length)?;
        trace = rest;
        Some(taken.to_vec())
    };
    let mut calls = Vec::new();
    while let Some(kind) = take(1) {
        let offset = u64::from_ne_bytes(take(8).unwrap().try_into().unwrap()) as usize;
        let mut length = || u32::from_ne_bytes(take(4).unwrap().try_into().unwrap()) as usize;
        let (path_length, data_length) = (length(), length());
        let path = PathBuf::from(String::from_utf8(take(path_length).unwrap()).unwrap());
        let data = take(data_length).unwrap();
        let text = || String::from_utf8(data.clone()).unwrap();
        calls.push(match kind[0] {
            b'm' => Call::Say(text()),
            b'w' => Call::Write(path, offset, data),
            b't' => Call::Truncate(path, offset),
            b's' => Call::Sync(path),
            b'u' => Call::Unlink(path),
            b'r' => Call::Rename(path, PathBuf::from(text())),
            other => panic!("a call of kind {other}"),
        });
    }
    calls
}

/// After these calls: the lines that were said, and what may be on the disk. Names of files are as the process left them; their
/// content is what was synced, and of what came later: nothing, all, all but the first, only the last, and all with the last torn.
pub fn cut(calls: &[Call]) -> (Vec<String>, Vec<Image>) {
    let mut said = String::new();
    let mut synced = Image::new();
    let mut later: BTreeMap<PathBuf, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        match call {
            Call::Say(text) => said.push_str(text),
            Call::Write(path, ..) | Call::Truncate(path, _) => {
                later.entry(path.clone()).or_default().push(call)
            }
            Call::Sync(path) => {
                let file = synced.entry(path.clone()).or_default();
                later.remove(path).unwrap_or_default().into_iter().for_each(|call| apply(file, call));
            }
            Call::Unlink(path) => {
                synced.remove(path);
                later.remove(path);
            }
            Call::Rename(from, to) => {
                let (file, calls) = (synced.remove(from), later.remove(from));
                file.map(|file| synced.insert(to.clone(), file));
                calls.map(|calls| later.insert(to.clone(), calls));
            }
        }
    }
    let image = |keep: &Keep| {
        let mut image = synced.clone();
        for (path, calls) in &later {
            let file = image.entry(path.clone()).or_default();
            keep.of(calls).iter().for_each(|call| apply(file, call));
        }
        image
    };
    let mut images: Vec<Image> = Keep::ALL.iter().map(image).collect();
    images.dedup();
    (said.lines().map(str::to_owned).collect(), images)
}

/// What is left of the calls that were not synced.
enum Keep {
    None,
    All,
    AllButFirst,
    Last,
    /// All, but of the last a half.
    Torn,
}

impl Keep {
    const ALL: [Self; 5] = [Self::None, Self::All, Self::AllButFirst, Self::Last, Self::Torn];

    fn of(&self, calls: &[&Call]) -> Vec<Call> {
        let mut all = calls.iter().copied().cloned();
        match self {
            Self::None => Vec::new(),
            Self::All => all.collect(),
            Self::AllButFirst => all.skip(1).collect(),
            Self::Last => all.next_back().into_iter().collect(),
            Self::Torn => {
                let mut all: Vec<_> = all.collect();
                if let Some(Call::Write(_, _, data)) = all.last_mut() {
                    data.truncate(data.len() / 2);
                }
                all
            }
        }
    }
}

fn apply(file: &mut Vec<u8>, call: &Call) {
    match call {
        Call::Write(_, offset, data) => {
            file.resize(file.len().max(offset + data.len()), 0);
            file[*offset..offset + data.len()].copy_from_slice(data);
        }
        Call::Truncate(_, length) => file.resize(*length, 0),
        _ => unreachable!("only what changes a file is applied"),
    }
}

/// Writes an image of what was below one directory below another.
pub fn write(image: &Image, from: &Path, to: &Path) {
    for (path, content) in image {
        // Directories are synced, too, and are none of an image's files.
        let Ok(name) = path.strip_prefix(from) else { continue };
        let path = to.join(name);
        if path.extension().is_none() && content.is_empty() && from.join(name).is_dir() {
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}
