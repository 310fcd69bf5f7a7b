//! The process: it does steps of the script, and says what it has done. Who got no answer looks whether it was done, and says it again if not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dmls::Time;
use dmls_client::{Client, Entry, Event, Folder, GroupEvent, Message, Settings, Shown};
use dmls_store::Profile;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::left::{self, State};
use crate::reference::actors;
use crate::script::{Deed, MEMBERS, PEOPLE, Step, script};

type Failed = Box<dyn std::error::Error>;

const LIMIT: usize = 1 << 20;

pub struct Process {
    directory: PathBuf,
    clients: BTreeMap<&'static str, Client>,
}

impl Process {
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), clients: BTreeMap::new() }
    }

    /// The steps of a range; `attempt` is another one in each process, so that no generator repeats itself.
    pub fn run(&mut self, from: usize, to: usize, attempt: u64) {
        for (number, step) in script().into_iter().enumerate().take(to).skip(from) {
            self.until_done(number as u64, step, attempt);
            println!("step {number}");
        }
    }

    fn until_done(&mut self, number: u64, step: Step, attempt: u64) {
        for again in 0..100 {
            let mut rng = ChaCha20Rng::seed_from_u64((number * 1_000 + attempt) * 1_000 + again);
            let Err(e) = self.perform(step, &mut rng) else { return };
            println!("failed: {e}");
            let store = e.downcast_ref::<dmls_client::Error>().and_then(|e| match e {
                dmls_client::Error::Store(e) => Some(e),
                _ => None,
            });
            if let Some(dmls_store::Error::Reopen(_)) = store {
                // Until then the profile does nothing more.
                self.clients.clear();
                // Later ones are of a history of their own.
                for who in actors(&step).into_iter().filter(|_| again == 0) {
                    if let Ok(state) = State::of(&self.profile(who)) {
                        println!("left {who} {state:?}");
                    }
                }
            }
        }
        panic!("{step:?}: a hundred times did not do");
    }

    fn profile(&self, who: &str) -> PathBuf {
        self.directory.join("profiles").join(who)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.directory.join("folders").join(name)
    }

    fn perform(&mut self, step: Step, rng: &mut ChaCha20Rng) -> Result<(), Failed> {
        match step.deed {
            Deed::Copy(from) => return self.copy(from, step.folder),
            Deed::Settle => return self.settle(step, rng),
            _ => self.open(step.who, rng)?,
        }
        let client = self.clients.get_mut(step.who).unwrap();
        match step.deed {
            Deed::Prune => drop(client.prune(step.at, rng)?),
            Deed::Create if client.groups().is_empty() => {
                client.create_group("friends", step.at, rng)?;
            }
            _ => {
                if let Some(group) = client.groups().first() {
                    intend(client, &group.id, step, rng)?;
                }
            }
        }
        self.sync(step, step.at, rng)
    }

    /// Opens or makes a profile, whatever a process that ended in the middle of that has left.
    fn open(&mut self, who: &'static str, rng: &mut ChaCha20Rng) -> Result<(), Failed> {
        if self.clients.contains_key(who) {
            return Ok(());
        }
        let (directory, key) = (self.profile(who), left::key());
        let profile = match Profile::open(&directory, &key, rng) {
            Err(dmls_store::Error::NotFound(_)) => Profile::create(&directory, &key, rng)?,
            opened => opened?,
        };
        let client = if Client::has_identity(&profile)? {
            Client::open(profile)?
        } else {
            let mut settings = Settings::default();
            settings.patience = 10;
            settings.update_after = 60 * 86_400;
            Client::create(profile, who, settings, rng)?
        };
        self.clients.insert(who, client);
        Ok(())
    }

    fn sync(&mut self, step: Step, now: Time, rng: &mut ChaCha20Rng) -> Result<(), Failed> {
        let directory = self.folder(step.folder);
        fs::create_dir_all(&directory)?;
        let mut folder = Folder::create(&directory, LIMIT)?;
        let client = self.clients.get_mut(step.who).unwrap();
        let synced = client.sync(&mut folder, now, rng, &mut |_| {});
        // What happened is told also where something went wrong then.
        for event in client.events() {
            tell(step.who, event);
        }
        for fault in synced?.faults {
            println!("fault {} {:?}", fault.why, fault.path);
        }
        println!("read {} {}", step.who, texts(client)?.join(","));
        Ok(())
    }

    /// What a program does that puts two copies of a folder together: a file that differs was not whole.
    fn copy(&self, from: &str, to: &str) -> Result<(), Failed> {
        for (path, content) in left::files(&self.folder(from))? {
            let to = self.folder(to).join(path);
            fs::create_dir_all(to.parent().unwrap())?;
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::write(to, content)?;
            }
        }
        Ok(())
    }

    /// Who lost the way asks once a day, and is left to others for a while: it is over when nothing was said for two days.
    fn settle(&mut self, step: Step, rng: &mut ChaCha20Rng) -> Result<(), Failed> {
        let (mut now, mut quiet) = (step.at, 0);
        for round in 1..=Step::SETTLED * 4 {
            let before = left::folders(&self.directory);
            for who in PEOPLE {
                self.open(who, rng)?;
                self.sync(Step { who, ..step }, now, rng)?;
                now.0 += 11;
            }
            now.0 += if round % 4 == 0 { 86_400 } else { 301 };
            quiet = if before == left::folders(&self.directory) { quiet + 1 } else { 0 };
            if quiet > 8 {
                if !self.invite_again(step.who, now, rng)? {
                    return self.sum_up();
                }
                quiet = 0;
            }
        }
        panic!("they never come to rest");
    }

    /// An invitation may have lost before it was sent, and who got none publishes no fresh key package for long.
    fn invite_again(&mut self, who: &str, now: Time, rng: &mut ChaCha20Rng) -> Result<bool, Failed> {
        let client = self.clients.get_mut(who).unwrap();
        let group = client.groups().remove(0);
        let is_missing = |name: &&str| !group.members.iter().any(|member| member == name);
        let missing: Vec<_> = MEMBERS.into_iter().filter(is_missing).collect();
        if !missing.is_empty() {
            client.invite(&group.id, &missing, None, now, rng)?;
        }
        Ok(!missing.is_empty())
    }

    /// What all have at the end.
    fn sum_up(&self) -> Result<(), Failed> {
        for who in PEOPLE {
            let client = &self.clients[who];
            println!("end {who} waiting {}", client.outbox(usize::MAX)?.len());
            let Some(group) = client.groups().into_iter().next() else { continue };
            let head = client.group(&group.id).unwrap().head();
            let mut members = group.members.clone();
            members.sort();
            let out = group.excluded || group.stranded;
            let notes: Vec<_> = notes(client)?.into_iter().map(GroupEvent::name).collect();
            println!("end {who} head {:?}", head.id());
            println!("end {who} members {}", members.join(","));
            println!("end {who} name {}", group.name);
            println!("end {who} out {out}");
            println!("end {who} texts {}", texts(client)?.join(","));
            println!("end {who} notes {}", notes.join(","));
        }
        Ok(())
    }
}

/// What a person wants, unless it is done.
fn intend(client: &mut Client, id: &[u8], step: Step, rng: &mut ChaCha20Rng) -> Result<(), Failed> {
    let now = step.at;
    let (name, members) = {
        let group = client.groups().remove(0);
        (group.name, group.members)
    };
    let is_in = |name: &str| members.iter().any(|member| member == name);
    match step.deed {
        Deed::Invite(names) if !is_in(names[0]) => client.invite(id, names, None, now, rng)?,
        Deed::Remove(name) if is_in(name) => client.remove(id, &[name], None, now, rng)?,
        Deed::Rename(new) if name != new => client.rename(id, new, now, rng)?,
        Deed::Update => client.update(id, now, rng)?,
        Deed::Rejoin if !notes(client)?.contains(&GroupEvent::AskedAgain) => client.rejoin(id, now, rng)?,
        Deed::Say(text) => {
            if !messages(client)?.iter().any(|message| message.own && message.text == text) {
                client.send(id, text, now, rng)?;
            }
            println!("said {} {text}", step.who);
        }
        _ => {}
    }
    Ok(())
}

fn tell(who: &str, event: Event) {
    match event {
        Event::Entry { entry: Entry::Message(message), .. } => {
            println!("told {who} {} {}", message.id, message.text);
        }
        Event::Entry { .. } | Event::Met { .. } | Event::Invited { .. } => {}
        other => println!("event {who} {other:?}"),
    }
}

fn log(client: &Client) -> Result<Vec<Shown>, Failed> {
    let Some(group) = client.groups().into_iter().next() else { return Ok(Vec::new()) };
    Ok(client.entries(&group.id, None, usize::MAX)?)
}

fn messages(client: &Client) -> Result<Vec<Message>, Failed> {
    let message = |shown: Shown| match shown.entry {
        Entry::Message(message) => Some(*message),
        _ => None,
    };
    Ok(log(client)?.into_iter().filter_map(message).collect())
}

fn notes(client: &Client) -> Result<Vec<GroupEvent>, Failed> {
    let note = |shown: Shown| match shown.entry {
        Entry::Note(note) => Some(note.event),
        _ => None,
    };
    Ok(log(client)?.into_iter().filter_map(note).collect())
}

/// What was said, sorted.
fn texts(client: &Client) -> Result<Vec<String>, Failed> {
    let mut texts: Vec<_> = messages(client)?.into_iter().map(|message| message.text).collect();
    texts.sort();
    Ok(texts)
}
