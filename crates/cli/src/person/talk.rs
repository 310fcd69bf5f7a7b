//! `dmls send`, `dmls read` and `dmls sync`.

use std::io::Read;
use std::time::Duration;

use dmls::Time;
use dmls_client::{Entry, Shown};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Options;
use super::session::{Session, now};
use crate::Failure;
use crate::graph::text::safe;
use crate::term::{Ink, hex, write};

/// Write to a group.
///
/// The message is in your profile, and in the folder, when this returns. Without the folder it waits.
#[derive(clap::Args, Debug)]
pub struct SendArgs {
    /// The group
    group: String,
    /// What to say; - reads it from standard input
    text: String,
}

/// Read what was said in a group.
///
/// All of it, with who said it when. What only a lost branch of the group saw is marked. With --new what was not shown before.
#[derive(clap::Args, Debug)]
pub struct ReadArgs {
    /// The group
    group: String,
    /// Only what was not shown before
    #[arg(long)]
    new: bool,
    /// Go on as more comes in
    #[arg(long)]
    follow: bool,
    /// Messages only: not what happened to the group
    #[arg(long)]
    messages: bool,
}

/// Publish what waits, take in what is there.
#[derive(clap::Args, Debug)]
pub struct SyncArgs {
    /// Go on as more comes in
    #[arg(long)]
    follow: bool,
}

/// How long to wait until the folder is looked at again, whatever the watcher says.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes.
pub fn send(args: &SendArgs, options: &Options) -> Result<(), Failure> {
    let text = match args.text.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().take(dmls_client::MAX_TEXT as u64 + 1).read_to_string(&mut text);
            read.map_err(|e| Failure::Failed(format!("can't read the message: {e}")))?;
            text
        }
        text => text.to_owned(),
    };
    let mut session = Session::open(options)?;
    session.begin()?;
    let id = session.group(&args.group)?;
    let message = session.client.send(&id, &text, now(), &mut rand::rng())?;
    session.end()?;
    session.tell_events();
    if session.json { write(&format!("{}\n", json!({ "id": message.to_string() }))) } else { Ok(()) }
}

/// Reads.
pub fn read(args: &ReadArgs, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.begin()?;
    session.tell_events();
    let id = session.group(&args.group)?;
    let mut after = if args.new { session.client.shown_to(&id) } else { None };
    let mut watch = if args.follow { Some(session.folder()?.watch()) } else { None };
    loop {
        const SOME: usize = 1000;
        loop {
            let entries = session.client.entries(&id, after, SOME)?;
            let is_all = entries.len() < SOME;
            show(&session, args, &entries)?;
            if let Some(last) = entries.last() {
                after = Some(last.place);
                session.client.set_shown(&id, last.place)?;
            }
            if is_all {
                break;
            }
        }
        let Some(watch) = &mut watch else { return Ok(()) };
        watch.wait(PATIENCE);
        session.sync()?;
        session.tell_events();
    }
}

fn show(session: &Session, args: &ReadArgs, entries: &[Shown]) -> Result<(), Failure> {
    let mut out = String::new();
    for shown in entries {
        if args.messages && !matches!(shown.entry, Entry::Message(_)) {
            continue;
        }
        if session.json {
            // One object a message: what happened to the group is `dmls group log`.
            if matches!(shown.entry, Entry::Message(_)) {
                out.push_str(&format!("{}\n", entry_json(shown)));
            }
            continue;
        }
        out.push_str(&line(session, shown));
        out.push('\n');
    }
    write(&out)
}

fn line(session: &Session, shown: &Shown) -> String {
    let look = session.look;
    match &shown.entry {
        Entry::Message(message) => {
            let text = message.text.lines().map(safe).collect::<Vec<_>>().join("\n    ");
            let name = look.paint(if message.own { Ink::Left } else { Ink::Title }, &safe(&message.from));
            let mut marks = Vec::new();
            if !shown.on_head {
                marks.push("on a branch that lost".to_owned());
            }
            if message.again {
                marks.push("sent again".to_owned());
            }
            let marks = if marks.is_empty() { String::new() } else { format!("  ({})", marks.join(", ")) };
            format!("{}  {name}: {text}{}", time(message.sent), look.paint(Ink::Faint, &marks))
        }
        Entry::Note(note) => {
            look.paint(Ink::Faint, &format!("{}  * {}", time(note.at), safe(&note.to_string())))
        }
        _ => String::new(),
    }
}

/// An entry as data.
///
/// A message: `id`, `from`, `fingerprint`, `text`, `epoch_id`, `sent` and `received` (seconds since 1970), `branch` (`head` or `lost`), `own`, `again`
/// (sent again, because a branch lost), of own ones `received_by` (names; null once all have it). What happened to the group: `event`, `by`, `whom`, `count`, `at`, `text`.
pub fn entry_json(shown: &Shown) -> Value {
    match &shown.entry {
        Entry::Message(message) => {
            let mut object = json!({
                "id": message.id.to_string(),
                "from": message.from,
                "fingerprint": dmls_client::Fingerprint::of(&message.from, &message.key).to_string(),
                "text": message.text,
                "epoch_id": hex(message.epoch.as_bytes()),
                "sent": message.sent.0,
                "received": message.received.0,
                "branch": if shown.on_head { "head" } else { "lost" },
                "own": message.own,
                "again": message.again,
            });
            if message.own {
                object["received_by"] = json!(shown.received_by);
            }
            object
        }
        Entry::Note(note) => json!({
            "event": note.event.name(), "by": note.by, "whom": note.whom, "count": note.count, "at": note.at.0,
            "text": note.to_string(),
        }),
        _ => Value::Null,
    }
}

/// A time as people here write it.
pub fn time(time: Time) -> String {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let Ok(timestamp) = Timestamp::from_second(seconds) else { return format!("@{seconds}") };
    timestamp.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Synchronizes.
pub fn sync(args: &SyncArgs, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    let mut watch = if args.follow { Some(session.folder()?.watch()) } else { None };
    loop {
        let synced = session.sync()?;
        session.tell_events();
        if watch.is_none() || synced.taken_in + synced.published > 0 {
            let sentence = format!("{} taken in, {} published.", synced.taken_in, synced.published);
            session.say(&sentence, || {
                json!({ "taken_in": synced.taken_in, "published": synced.published, "faults": synced.faults.len() })
            })?;
        }
        let Some(watch) = &mut watch else { return Ok(()) };
        watch.wait(PATIENCE);
    }
}
