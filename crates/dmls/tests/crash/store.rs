//! A member's store as a file: written whole beside the old one, and put in its place. At each point of a write the process may be
//! killed.

#![allow(clippy::disallowed_methods, reason = "this is the disk that the core does not have")]
#![allow(clippy::disallowed_types, reason = "this is the disk that the core does not have")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use dmls::codec::{Decode, Encode, Reader};
use dmls::crypto::Secret;
use dmls::{Changes, Error, Outcome, OwnKeyPackage};

/// Where stores are, and where the process is to be killed.
pub const FOLDER: &str = "DMLS_CRASH_FOLDER";
pub const KILL_AT: &str = "DMLS_CRASH_AT";
/// What a process says when it has come there.
pub const HERE: &str = "kill me here";

/// How many points of writes this process has passed.
static POINTS: AtomicUsize = AtomicUsize::new(0);

/// The process is killed here, if this is the point.
fn point() {
    let passed = POINTS.fetch_add(1, Ordering::Relaxed) + 1;
    if env::var(KILL_AT).is_ok_and(|at| at == passed.to_string()) {
        println!("\n{HERE}");
        loop {
            thread::park();
        }
    }
}

pub struct Store {
    folder: PathBuf,
    name: String,
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    pub key_package: Option<Secret>,
    pub outbox: Vec<Vec<u8>>,
    pub inbox: Vec<Vec<u8>>,
}

impl Store {
    /// What was written last; nothing, if nothing was.
    pub fn open(name: &str) -> Self {
        Self::open_in(Path::new(&env::var(FOLDER).unwrap()), name)
    }

    pub fn open_in(folder: &Path, name: &str) -> Self {
        let mut store = Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            records: BTreeMap::new(),
            key_package: None,
            outbox: Vec::new(),
            inbox: Vec::new(),
        };
        if let Ok(bytes) = fs::read(store.path("")) {
            let mut r = Reader::new(&bytes);
            let mut list = || Vec::<Vec<u8>>::decode(&mut r).unwrap();
            let (keys, values) = (list(), list());
            (store.outbox, store.inbox) = (list(), list());
            store.key_package = list().pop().map(Secret::new);
            store.records = keys.into_iter().zip(values).collect();
            r.finish().unwrap();
        }
        store
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}{suffix}", self.name))
    }

    /// One transaction.
    fn commit(&mut self) -> Result<(), Error> {
        point();
        let mut bytes = Vec::new();
        self.records.keys().cloned().collect::<Vec<_>>().encode(&mut bytes);
        self.records.values().cloned().collect::<Vec<_>>().encode(&mut bytes);
        self.outbox.encode(&mut bytes);
        self.inbox.encode(&mut bytes);
        let key_package: Vec<_> = self.key_package.iter().map(|own| own.as_bytes().to_vec()).collect();
        key_package.encode(&mut bytes);
        let new = self.path(".new");
        let mut file = File::create(&new).unwrap();
        let (begin, end) = bytes.split_at(bytes.len() / 2);
        file.write_all(begin).unwrap();
        point();
        file.write_all(end).unwrap();
        file.sync_all().unwrap();
        point();
        fs::rename(&new, self.path("")).unwrap();
        File::open(&self.folder).unwrap().sync_all().unwrap();
        // Written, and not applied yet.
        point();
        Ok(())
    }

    pub fn keep(&mut self, own: &OwnKeyPackage) -> Result<(), Error> {
        self.key_package = Some(own.to_secret());
        self.commit()
    }

    pub fn begin(&mut self, changes: &Changes) -> Result<(), Error> {
        self.key_package = None;
        self.write(changes)
    }

    pub fn write(&mut self, changes: &Changes) -> Result<(), Error> {
        changes.replay_into(&mut self.records);
        self.commit()
    }

    pub fn send(&mut self, changes: &Changes, message: &[u8]) -> Result<(), Error> {
        self.outbox.push(message.to_vec());
        self.write(changes)
    }

    pub fn sent(&mut self, message: &[u8]) -> Result<(), Error> {
        self.outbox.retain(|waiting| waiting != message);
        self.commit()
    }

    pub fn read(&mut self, changes: &Changes, outcome: &Outcome) -> Result<(), Error> {
        if let Outcome::Application(said) = outcome {
            self.inbox.push(said.data.clone());
        }
        self.write(changes)
    }
}
