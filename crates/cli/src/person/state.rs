//! `dmls heads`, `dmls exposure`, `dmls doctor` and `dmls group graph`: what is there, and what it means.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dmls::Credential;
use dmls_client::Entry;
use serde_json::json;

use super::session::{Session, damaged, folder_of, now};
use super::{Options, account};
use crate::Failure;
use crate::demo::tell;
use crate::graph::text::safe;
use crate::graph::words::summary;
use crate::graph::{self, Detail, Drawing, GraphView};
use crate::inspect::exposure as report;
use crate::term::{hex, width, write};

/// The head of each group: who has the same authenticator is in the same state.
#[derive(clap::Args, Debug)]
pub struct HeadsArgs {
    /// Only of this group
    group: Option<String>,
}

/// What whoever takes this device now would learn, and why each thing is kept.
#[derive(clap::Args, Debug)]
pub struct ExposureArgs {
    /// Only of this group
    group: Option<String>,
}

/// Look whether all is well: profile, folder, groups.
#[derive(clap::Args, Debug)]
pub struct DoctorArgs {}

/// Prints heads.
pub fn heads(args: &HeadsArgs, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.begin()?;
    session.tell_events();
    let mut out = String::new();
    for info in chosen(&session, args.group.as_deref())? {
        let Some(group) = session.client.group(&info.id) else { continue };
        let head = group.head();
        let authenticator = hex(head.authenticator()?);
        if session.json {
            let object = json!({
                "group": info.name, "epoch": head.number(), "epoch_id": hex(head.id().as_bytes()),
                "authenticator": authenticator, "members": info.members,
            });
            out.push_str(&format!("{object}\n"));
        } else {
            let id = hex(head.id().as_bytes());
            let members: Vec<_> = info.members.iter().map(|name| safe(name)).collect();
            out.push_str(&format!(
                "{}: epoch {}, {:.16}…, authenticator {:.16}…, {}\n",
                safe(&info.name),
                head.number(),
                id,
                authenticator,
                members.join(", ")
            ));
        }
    }
    write(&out)
}

fn chosen(session: &Session, name: Option<&str>) -> Result<Vec<dmls_client::GroupInfo>, Failure> {
    let mut groups = session.client.groups();
    if let Some(name) = name {
        let id = session.group(name)?;
        groups.retain(|group| group.id == id);
    }
    Ok(groups)
}

/// Tells what is exposed.
pub fn exposure(args: &ExposureArgs, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.tell_events();
    let mut out = String::new();
    for info in chosen(&session, args.group.as_deref())? {
        let Some(group) = session.client.group(&info.id) else { continue };
        let exposure = group.exposure_report(now());
        if session.json {
            let mut object = report::json(&exposure);
            object["group"] = json!(info.name);
            out.push_str(&format!("{object}\n"));
        } else {
            out.push_str(&format!("{}\n\n{exposure}\n", safe(&info.name)));
        }
    }
    write(&out)
}

/// Looks whether all is well. What is not is told with what to do, and is the exit code.
pub fn doctor(_: &DoctorArgs, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    let mut checks = Vec::new();
    let directory = account::directory(options)?;
    let has_key = directory.join("key").is_file();
    checks.push(Check::good(
        "profile",
        format!("{} opens; groups: {}", directory.display(), session.client.groups().len()),
    ));
    if has_key {
        let why = "its key lies beside it: whoever reads your files reads your messages (`dmls init` asks for a passphrase)";
        checks.push(Check::note("passphrase", why.to_owned()));
    }
    match session.folder().map(|folder| (folder.try_writing(), folder.statistics())) {
        Ok((Ok(()), Ok(statistics))) => {
            let files: u64 = statistics.places.values().map(|usage| usage.files).sum();
            let bytes: u64 = statistics.places.values().map(|usage| usage.bytes).sum();
            let path = folder_of(session.client.profile()).unwrap_or_default();
            checks.push(Check::good(
                "folder",
                format!("{} can be written: {files} files, {bytes} bytes", path.display()),
            ));
            match statistics.faults.len() {
                0 => {}
                n => checks.push(Check::note(
                    "files",
                    format!("{n} in the folder are not ours, or not whole: they are skipped"),
                )),
            }
        }
        Ok((Err(e), _) | (_, Err(e))) => checks.push(Check::bad("folder", e.to_string())),
        Err(Failure::Failed(e)) => checks.push(Check::bad("folder", e)),
        Err(e) => return Err(e),
    }
    let waiting = session.client.outbox(1000)?.len();
    if waiting > 0 {
        checks.push(Check::note("outbox", format!("{waiting} to be published: `dmls sync` does it")));
    }
    session.begin()?;
    for info in session.client.groups() {
        let name = format!("group {}", info.name);
        if let Some(why) = &info.damaged {
            checks.push(Check::bad(&name, damaged(&info.id, &info.name, why)));
        }
        let Some(group) = session.client.group(&info.id) else { continue };
        let kept = group.epochs().filter(|epoch| epoch.level() != dmls::Level::Known).count();
        let state = format!(
            "{} members, epoch {}, {kept} epochs kept, {} messages wait for others",
            info.members.len(),
            group.head().number(),
            group.held()
        );
        checks.push(match (info.excluded, info.stranded) {
            (true, _) => Check::note(&name, "you are not a member any more: `dmls group forget`".to_owned()),
            (_, true) => Check::bad(
                &name,
                "you lost the way: the others have been asked to take you in again".to_owned(),
            ),
            _ => Check::good(&name, state),
        });
    }
    let mut out = String::new();
    for check in &checks {
        if session.json {
            out.push_str(&format!(
                "{}\n",
                json!({ "check": check.name, "state": check.state, "text": check.text })
            ));
        } else {
            out.push_str(&format!("{:4}  {}: {}\n", check.state, safe(&check.name), safe(&check.text)));
        }
    }
    write(&out)?;
    session.tell_events();
    if checks.iter().any(|check| check.state == "bad") { Err(Failure::Told(1)) } else { Ok(()) }
}

struct Check {
    name: String,
    state: &'static str,
    text: String,
}

impl Check {
    fn good(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), state: "good", text }
    }

    fn note(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), state: "note", text }
    }

    fn bad(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), state: "bad", text }
    }
}

/// Draws the epochs of a group.
pub fn graph(
    session: &Session,
    name: &str,
    svg: Option<&Path>,
    dot: Option<&Path>,
    all: bool,
) -> Result<(), Failure> {
    let id = session.group(name)?;
    let group = session.client.loaded(&id)?;
    let own = session.client.name();
    let names = |credential: &Credential| match tell::name(credential) {
        name if name == own => "you".to_owned(),
        name => name,
    };
    let mut said = BTreeMap::<_, u64>::new();
    for shown in session.client.entries(&id, None, usize::MAX)? {
        if let Entry::Message(message) = shown.entry {
            *said.entry(message.epoch).or_default() += 1;
        }
    }
    let view =
        GraphView::of(group, now(), &names).with_title(name).with_messages(|epoch| said.get(epoch).copied());
    match (svg, dot) {
        (Some(path), _) => put(path, &graph::svg(&view, all)),
        (_, Some(path)) => put(path, &graph::dot(&view, all)),
        _ if session.json => write(&format!("{}\n", graph::json(&view))),
        _ => {
            let drawing =
                Drawing { look: session.look, width: width(), all, detail: Detail::Usual, reasons: false };
            let mut out = String::new();
            for line in summary(&view) {
                out.push_str(&format!("{line}\n"));
            }
            for line in graph::lines(&view, &drawing) {
                out.push_str(&format!("{}\n", line.paint(session.look)));
            }
            write(&out)
        }
    }
}

/// Writes a drawing into a file, or to standard output.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    if path == Path::new("-") {
        return write(text);
    }
    fs::write(path, text).map_err(|e| Failure::Failed(format!("can't write {}: {e}", path.display())))
}
