//! `dmls group`: create, invite, join, and so on.

use std::path::PathBuf;

use clap::Subcommand;
use dmls_client::{Entry, Fingerprint};
use serde_json::json;

use super::Options;
use super::session::{Session, damaged, now};
use super::talk::{entry_json, time};
use crate::Failure;
use crate::graph::text::safe;
use crate::term::{hex, write};

/// Create groups, invite people, see what happened.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a group
    Create {
        /// What it is called
        name: String,
    },
    /// List your groups
    List,
    /// Invite people, by the names under which they published their key packages
    Invite {
        /// The group
        group: String,
        /// Who
        #[arg(required = true)]
        who: Vec<String>,
        /// The fingerprint of the one who is meant, if several have this name
        #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
        key: Option<Fingerprint>,
    },
    /// Accept the invitations that wait (after `init --ask`)
    Join,
    /// List the members of a group
    Members {
        /// The group
        group: String,
    },
    /// Remove members
    Remove {
        /// The group
        group: String,
        /// Who
        #[arg(required = true)]
        who: Vec<String>,
        /// The fingerprint of the one who is meant, if several have this name
        #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
        key: Option<Fingerprint>,
    },
    /// Renew your keys in a group
    Update {
        /// The group
        group: String,
    },
    /// Give a group another name
    Rename {
        /// The group
        group: String,
        /// What it is called from now on
        name: String,
    },
    /// Leave a group: the next member who commits carries it out
    Leave {
        /// The group
        group: String,
    },
    /// Forget a group that you left, and all that was said in it
    Forget {
        /// The group
        group: String,
    },
    /// Ask the others to take you in again, where you lost the way
    Rejoin {
        /// The group
        group: String,
    },
    /// What happened to a group: who came, who went, forks and heals
    Log {
        /// The group
        group: String,
    },
    /// Draw the epochs of a group: where it split, and which branch won
    Graph {
        /// The group
        group: String,
        /// As a drawing for a browser, into a file (- for standard output)
        #[arg(long, value_name = "FILE", conflicts_with = "dot")]
        svg: Option<PathBuf>,
        /// As text for Graphviz, into a file (- for standard output)
        #[arg(long, value_name = "FILE")]
        dot: Option<PathBuf>,
        /// Every epoch, also where nothing forked
        #[arg(long)]
        all: bool,
    },
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).ok_or_else(|| "a fingerprint has 32 hexadecimal digits".to_owned())
}

/// Runs one.
pub fn run(command: &Command, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.begin()?;
    let done = perform(command, &mut session);
    session.tell_events();
    done
}

fn perform(command: &Command, session: &mut Session) -> Result<(), Failure> {
    let rng = &mut rand::rng();
    let client = &mut session.client;
    let find = |client: &dmls_client::Client, name: &str| client.find_group(name);
    let who_is = |who: &[String]| who.iter().map(|name| safe(name)).collect::<Vec<_>>().join(", ");
    let sentence = match command {
        Command::Create { name } => {
            client.create_group(name, now(), rng)?;
            format!("You created {}.", safe(name))
        }
        Command::Invite { group, who, key } => {
            let names: Vec<_> = who.iter().map(String::as_str).collect();
            client.invite(&find(client, group)?, &names, *key, now(), rng)?;
            format!("You invited {} into {}.", who_is(who), safe(group))
        }
        Command::Join => {
            let joined = client.join(now())?;
            if joined == 0 {
                return Err(dmls_client::Error::NoInvitation.into());
            }
            format!("You joined {joined} group{}.", if joined == 1 { "" } else { "s" })
        }
        Command::Remove { group, who, key } => {
            let names: Vec<_> = who.iter().map(String::as_str).collect();
            client.remove(&find(client, group)?, &names, *key, now(), rng)?;
            format!("You removed {} from {}.", who_is(who), safe(group))
        }
        Command::Update { group } => {
            client.update(&find(client, group)?, now(), rng)?;
            format!("Your keys in {} are new.", safe(group))
        }
        Command::Rename { group, name } => {
            client.rename(&find(client, group)?, name, now(), rng)?;
            format!("{} is called {} from now on.", safe(group), safe(name))
        }
        Command::Leave { group } => {
            client.leave(&find(client, group)?, now(), rng)?;
            format!("You leave {}: the next member who commits carries it out.", safe(group))
        }
        Command::Rejoin { group } => {
            client.rejoin(&find(client, group)?, now(), rng)?;
            format!("You asked the members of {} to take you in again.", safe(group))
        }
        Command::Forget { group } => {
            client.forget(&find(client, group)?)?;
            format!("{} is gone from here.", safe(group))
        }
        Command::List => return list(session),
        Command::Members { group } => return members(session, group),
        Command::Log { group } => return log(session, group),
        Command::Graph { group, svg, dot, all } => {
            return super::state::graph(session, group, svg.as_deref(), dot.as_deref(), *all);
        }
    };
    session.end()?;
    session.say(&sentence, || json!({ "done": sentence }))
}

fn list(session: &Session) -> Result<(), Failure> {
    let mut out = String::new();
    for group in session.client.groups() {
        if session.json {
            let object = json!({
                "group": group.name, "id": hex(&group.id), "members": group.members, "excluded": group.excluded,
                "stranded": group.stranded, "leaving": group.leaving, "damaged": group.damaged,
            });
            out.push_str(&format!("{object}\n"));
            continue;
        }
        if let Some(why) = &group.damaged {
            out.push_str(&format!("{}\n", damaged(&group.id, &group.name, why)));
            continue;
        }
        let state = match (group.excluded, group.stranded, group.leaving) {
            (true, ..) => "  (you are not a member any more)",
            (_, true, _) => "  (you lost the way: you are being taken in again)",
            (_, _, true) => "  (you are leaving)",
            _ => "",
        };
        let members: Vec<_> = group.members.iter().map(|name| safe(name)).collect();
        out.push_str(&format!("{}: {}{state}\n", safe(&group.name), members.join(", ")));
    }
    if out.is_empty() && !session.json {
        out.push_str("You are in no group: `dmls group create NAME` makes one, or let others invite you.\n");
    }
    write(&out)
}

fn members(session: &Session, group: &str) -> Result<(), Failure> {
    let id = session.group(group)?;
    let contacts = session.client.contacts()?;
    let own = session.client.fingerprint();
    let members = session.client.loaded(&id)?.head().members().unwrap_or_default();
    let mut out = String::new();
    for member in members {
        let name = String::from_utf8_lossy(member.credential.identity().unwrap_or_default()).into_owned();
        let fingerprint = Fingerprint::of(&name, &member.signature_key);
        let contact = contacts.iter().find(|contact| contact.name == name);
        let verified = contact.is_some_and(|contact| contact.verified && contact.key == member.signature_key);
        let other = fingerprint != own && contact.is_some_and(|contact| contact.key != member.signature_key);
        if session.json {
            let object = json!({
                "name": name, "leaf": member.leaf.0, "fingerprint": fingerprint.to_string(), "verified": verified,
                "you": fingerprint == own, "other_key": other,
            });
            out.push_str(&format!("{object}\n"));
            continue;
        }
        let mark = match (fingerprint == own, verified, other) {
            (true, ..) => "  (you)",
            (_, true, _) => "  (verified)",
            (_, _, true) => "  (another key than the one you know!)",
            _ => "",
        };
        out.push_str(&format!("{}  {fingerprint}{mark}\n", safe(&name)));
    }
    write(&out)
}

fn log(session: &Session, group: &str) -> Result<(), Failure> {
    let id = session.group(group)?;
    let mut out = String::new();
    for shown in session.client.entries(&id, None, usize::MAX)? {
        let Entry::Note(note) = &shown.entry else { continue };
        if session.json {
            out.push_str(&format!("{}\n", entry_json(&shown)));
        } else {
            out.push_str(&format!("{}  {}\n", time(note.at), safe(&note.to_string())));
        }
    }
    write(&out)
}
