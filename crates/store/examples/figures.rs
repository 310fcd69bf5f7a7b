//! The figures of `docs/storage.md`, measured again.
//!
//! ```sh
//! cargo run --release -p dmls-store --example figures -- epochs 1024 1000      # members, retained epochs
//! cargo run --release -p dmls-store --example figures -- open 10000            # members
//! cargo run --release -p dmls-store --example figures -- messages 100000 100   # messages, in batches of so many (1: no batches)
//! ```
//!
//! Files go to a directory below the current one and are removed at the end: what counts is its disk. `taskset -c 0` in front keeps it
//! on one core.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that can't go on stops")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::path::Path;
use std::time::{Duration, Instant};

use dmls::danger::AcceptAnyCredential;
use dmls::{
    Changes, CipherSuite, Config, Credential, Group, Identity, Lifetime, Limits, NewGroupOptions, Outcome,
    OwnKeyPackage, Retention, Time,
};
use dmls_store::{Error, Key, Log, Profile, Table, Transaction, Use};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const NOW: Time = Time(1_800_000_000);
const OUTBOX: Log<'_> = Log::new("outbox");
const CURSOR: Table<'_> = Table::new("cursor");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| arguments.get(n).and_then(|number| number.parse().ok());
    let directory = tempfile::tempdir_in(".").unwrap();
    match (arguments.first().map(String::as_str), number(1), number(2)) {
        (Some("epochs"), Some(members), Some(epochs)) => measure_epochs(directory.path(), members, epochs),
        (Some("open"), Some(members), None) => measure_open(directory.path(), members),
        (Some("messages"), Some(messages), Some(batch)) => {
            measure_messages(directory.path(), messages, batch)
        }
        _ => println!("figures epochs MEMBERS EPOCHS | open MEMBERS | messages MESSAGES BATCH"),
    }
}

fn config(epochs: usize) -> Config {
    let limits = Limits { epochs, ..Limits::default() };
    Config { limits, retention: Retention::while_told(), ..Config::new(AcceptAnyCredential) }
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A profile and its group.
struct Client {
    profile: Profile,
    group: Group,
}

impl Client {
    fn new_profile(directory: &Path, name: &str) -> Profile {
        Profile::create(&directory.join(name), &Key::random([1; 32]), &mut rng(0)).unwrap()
    }

    /// A step in one transaction, with something of the application's own.
    fn write(
        profile: &mut Profile,
        id: &[u8],
        changes: &Changes,
        also: impl FnOnce(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        profile.transaction(|tx| {
            tx.write_group(id, changes)?;
            also(tx)
        })
    }
}

/// A group of so many, made by one commit; the first member, and the Welcome for those whose key packages come out.
fn large_group(directory: &Path, members: usize, config: &Config) -> (Client, Vec<u8>, Vec<OwnKeyPackage>) {
    let rng = &mut rng(1);
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let lifetime = Lifetime::starting(NOW, 90 * 86_400);
    let founder = Identity::generate(suite, Credential::basic("founder"), rng).unwrap();
    let mut profile = Client::new_profile(directory, "founder");
    let founding = Group::create(&founder, NewGroupOptions::default(), config.clone(), NOW, rng).unwrap();
    let id = founding.group().id().to_vec();
    let create = |changes: &Changes| profile.transaction(|tx| tx.create_group(&id, changes));
    let mut group = founding.persist(create).unwrap();
    let key_packages: Vec<_> = (1..members)
        .map(|n| {
            let member = Identity::generate(suite, Credential::basic(format!("member {n}")), rng).unwrap();
            member.key_package(lifetime, rng).unwrap()
        })
        .collect();
    let adding =
        key_packages.iter().fold(group.commit(), |commit, own| commit.add(own.key_package().clone()));
    let step = adding.stage_confirmed(NOW, rng).unwrap();
    let added = step.persist(|changes, _| Client::write(&mut profile, &id, changes, |_| Ok(()))).unwrap();
    let welcome = added.epoch.welcome.unwrap();
    let step = group.welcome_sent(&added.sent.id).unwrap();
    step.persist(|changes, _| Client::write(&mut profile, &id, changes, |_| Ok(()))).unwrap();
    (Client { profile, group }, welcome, key_packages)
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Sixteen of them commit in turn and follow each other; the first has a profile.
fn measure_epochs(directory: &Path, members: usize, epochs: usize) {
    let config = config(epochs + 64);
    let (mut first, welcome, key_packages) = large_group(directory, members, &config);
    let step = (members / 16).max(1);
    let mut others: Vec<Group> = key_packages
        .iter()
        .step_by(step)
        .take(15)
        .map(|own| Group::join(own, &welcome, None, config.clone(), NOW).unwrap().apply_unsaved())
        .collect();
    println!("{members} members, {} of them commit in turn", others.len() + 1);
    let (database, log) = (directory.join("founder/profile.db"), directory.join("founder/profile.db-wal"));
    let id = first.group.id().to_vec();
    let rng = &mut rng(2);
    let Client { profile, group } = &mut first;
    let mut written = Cost::default();
    let mut commit = |n: usize, group: &mut Group, profile: &mut Profile, written: &mut Cost| {
        let committer = n % (others.len() + 1);
        let message = if committer == 0 {
            let step = group.commit().stage_confirmed(NOW, rng).unwrap();
            written.add(step.changes());
            let made = step.persist(|changes, _| Client::write(profile, &id, changes, |_| Ok(()))).unwrap();
            made.sent.message
        } else {
            let step = others[committer - 1].commit().stage_confirmed(NOW, rng).unwrap();
            let message = step.apply_unsaved().sent.message;
            let step = group.receive(&message, NOW).unwrap();
            written.add(step.changes());
            step.persist(|changes, _| Client::write(profile, &id, changes, |_| Ok(()))).unwrap();
            message
        };
        for (n, other) in others.iter_mut().enumerate() {
            if n + 1 != committer {
                other.receive(&message, NOW).unwrap().apply_unsaved();
            }
        }
    };
    // Everybody's path is there once: from then on a commit costs what commits cost.
    profile.batch(|profile| (0..64).for_each(|n| commit(n, group, profile, &mut written)));
    let before = (size(&database), group.epochs().count());
    written = Cost::default();
    profile.batch(|profile| (0..epochs - 64).for_each(|n| commit(n, group, profile, &mut written)));
    let grown = size(&database) - before.0;
    println!(
        "{} retained epochs, database {} KiB, {:.1} KiB for each epoch",
        group.epochs().count(),
        size(&database) / 1_024,
        grown as f64 / 1_024.0 / (group.epochs().count() - before.1) as f64
    );
    written.print("records of a commit");
    const SAMPLE: usize = 16;
    let wal = profile.batch(|profile| {
        (0..SAMPLE).for_each(|n| commit(n, group, profile, &mut written));
        size(&log)
    });
    println!("WAL of a commit: {:.1} KiB", wal as f64 / 1_024.0 / SAMPLE as f64);
    let mut written = Cost::default();
    let wal = profile.batch(|profile| {
        for _ in 0..SAMPLE {
            let step = group.send(b"a message of usual length, forty bytes or so").seal(rng).unwrap();
            written.add(step.changes());
            step.persist(|changes, _| Client::write(profile, &id, changes, |_| Ok(()))).unwrap();
        }
        size(&log)
    });
    written.print("records of a message");
    println!("WAL of a message: {:.1} KiB", wal as f64 / 1_024.0 / SAMPLE as f64);
    drop(first);
    let (opening, loading, _) = open(directory, "founder", &id, &config);
    println!("opening: {opening:.1?} for the profile, {loading:.1?} for the group");
}

/// What steps wrote.
#[derive(Default)]
struct Cost {
    steps: usize,
    records: usize,
    bytes: usize,
    largest: usize,
}

impl Cost {
    fn add(&mut self, changes: &Changes) {
        self.steps += 1;
        self.records += changes.len();
        self.bytes += changes.size();
        self.largest = self.largest.max(changes.size());
    }

    fn print(&self, what: &str) {
        let mean = |total: usize| total as f64 / self.steps as f64;
        println!(
            "{what}: {:.1} records, {:.2} KiB; the largest {:.2} KiB",
            mean(self.records),
            mean(self.bytes) / 1_024.0,
            self.largest as f64 / 1_024.0
        );
    }
}

fn open(directory: &Path, name: &str, id: &[u8], config: &Config) -> (Duration, Duration, Client) {
    let start = Instant::now();
    let profile = Profile::open(&directory.join(name), &Key::random([1; 32]), &mut rng(3)).unwrap();
    let opening = start.elapsed();
    let start = Instant::now();
    let group = profile.load_group(id, config.clone()).unwrap();
    (opening, start.elapsed(), Client { profile, group })
}

/// The last member joins, and opens what it has.
fn measure_open(directory: &Path, members: usize) {
    let config = config(128);
    let (first, welcome, key_packages) = large_group(directory, members, &config);
    let own = key_packages.last().unwrap();
    let mut profile = Client::new_profile(directory, "last");
    let suite = *first.group.suite();
    profile.transaction(|tx| tx.put_key_package(own, &suite, Use::Once)).unwrap();
    let used = profile.key_package_for(&welcome, config.provider).unwrap().unwrap();
    let id = first.group.id();
    let start = Instant::now();
    let founding = Group::join(&used.own, &welcome, None, config.clone(), NOW).unwrap();
    let joining = start.elapsed();
    let start = Instant::now();
    let join = |changes: &Changes| profile.transaction(|tx| tx.join_group(id, changes, &used));
    let group = founding.persist(join).unwrap();
    let writing = start.elapsed();
    println!("{members} members; joining {joining:.1?}, writing it {writing:.1?}");
    drop((profile, group));
    println!("database: {} KiB", size(&directory.join("last/profile.db")) / 1_024);
    for _ in 0..3 {
        let (opening, loading, client) = open(directory, "last", id, &config);
        println!("opening {opening:.1?} for the profile, {loading:.1?} for the group");
        assert_eq!(client.group.head(), first.group.head());
    }
}

/// One sends, the other reads: each in a profile of its own, then without any.
fn measure_messages(directory: &Path, messages: usize, batch: usize) {
    let config = config(128);
    let (mut a, welcome, key_packages) = large_group(directory, 2, &config);
    let id = a.group.id().to_vec();
    let mut profile = Client::new_profile(directory, "reader");
    let founding = Group::join(&key_packages[0], &welcome, None, config.clone(), NOW).unwrap();
    let create = |changes: &Changes| profile.transaction(|tx| tx.create_group(&id, changes));
    let group = founding.persist(create).unwrap();
    let mut b = Client { profile, group };
    let rng = &mut rng(4);
    let (start, used) = (Instant::now(), processor());
    let tenth = (messages / 10).max(batch);
    let mut done = 0;
    while done < messages {
        let count = batch.min(messages - done);
        let sent = exchange_stored(&mut a, &mut b, &id, count, batch > 1, rng);
        assert_eq!(sent, count);
        done += count;
        if done % tenth < count {
            println!("{done} messages after {:.1?}: {} KiB of memory", start.elapsed(), memory());
        }
    }
    report("through two stores", messages, start.elapsed(), processor() - used);
    for name in ["founder", "reader"] {
        println!("database of the {name}: {} KiB", size(&directory.join(name).join("profile.db")) / 1_024);
    }
    let (start, used) = (Instant::now(), processor());
    for n in 0..messages {
        let message = a.group.send(&text(n)).seal(rng).unwrap().apply_unsaved();
        let outcome = b.group.receive(&message, NOW).unwrap().apply_unsaved();
        assert!(matches!(outcome, Outcome::Application(read) if read.data == text(n)));
    }
    report("through the bare core", messages, start.elapsed(), processor() - used);
}

fn text(n: usize) -> Vec<u8> {
    format!("message {n}, of some eighty bytes, as people write them to each other all day").into_bytes()
}

/// Sends so many, each with its place in the outbox, and reads them, each with its place in the log and a cursor.
fn exchange_stored(
    a: &mut Client,
    b: &mut Client,
    id: &[u8],
    count: usize,
    batched: bool,
    rng: &mut ChaCha20Rng,
) -> usize {
    let (group, mut read) = (&mut a.group, 0);
    let mut send = |profile: &mut Profile| {
        for n in 0..count {
            let step = group.send(&text(n)).seal(rng).unwrap();
            let also = |message: &[u8]| {
                let message = message.to_vec();
                move |tx: &mut Transaction<'_>| tx.append(OUTBOX, &message).map(drop)
            };
            step.persist(|changes, message| Client::write(profile, id, changes, also(message))).unwrap();
        }
    };
    if batched {
        a.profile.batch(send)
    } else {
        send(&mut a.profile)
    }
    let sent = a.profile.entries_after(OUTBOX, None, count).unwrap();
    let group = &mut b.group;
    let mut receive = |profile: &mut Profile| {
        for (order, message) in &sent {
            let step = group.receive(message.as_bytes(), NOW).unwrap();
            let written = step.persist(|changes, outcome| {
                Client::write(profile, id, changes, |tx| {
                    let Outcome::Application(read) = outcome else { panic!("{outcome:?}") };
                    tx.append(Log::of_group("messages", id), &read.data)?;
                    tx.put(CURSOR, b"founder", &order.0.to_be_bytes())
                })
            });
            written.unwrap();
            read += 1;
        }
    };
    if batched {
        b.profile.batch(receive)
    } else {
        receive(&mut b.profile)
    }
    // What was read leaves the outbox.
    a.profile.transaction(|tx| sent.iter().try_for_each(|(order, _)| tx.remove(OUTBOX, *order))).unwrap();
    read
}

fn report(how: &str, messages: usize, time: Duration, processor: f64) {
    let each = processor * 1_000_000.0 / messages as f64;
    let rate = messages as f64 / time.as_secs_f64();
    println!(
        "{how}: {messages} messages in {time:.1?}, {rate:.0} a second; {each:.0} us of processor time each"
    );
}

/// Of this process, in seconds; 0 where that can't be read. Others on the machine don't change it much.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which is in brackets: user and system time, in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    fields.take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Of this process, in KiB; 0 where that can't be read.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
