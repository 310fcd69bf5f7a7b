//! `dmls contacts`: whose keys are known, and which were compared.

use clap::Subcommand;
use dmls_client::Fingerprint;
use serde_json::json;

use super::Options;
use super::session::{Session, now};
use super::talk::time;
use crate::Failure;
use crate::graph::text::safe;
use crate::term::write;

/// Whose keys you know, and whether you compared them.
///
/// The first key that is seen under a name is pinned; another one is told. Compare fingerprints in person or by telephone, then `verify`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// You compared somebody's fingerprint: it belongs to this name from now on
    Verify {
        /// The name
        name: String,
        /// The fingerprint that its owner told you
        fingerprint: String,
    },
}

/// Lists, or verifies.
pub fn run(args: &Args, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.begin()?;
    session.tell_events();
    match &args.command {
        None => list(&session),
        Some(Command::Verify { name, fingerprint }) => verify(&mut session, name, fingerprint),
    }
}

fn verify(session: &mut Session, name: &str, fingerprint: &str) -> Result<(), Failure> {
    let told = Fingerprint::parse(fingerprint)
        .ok_or_else(|| Failure::Usage("a fingerprint has 32 hexadecimal digits".to_owned()))?;
    if !session.client.verify(name, told, now())? {
        return Err(Failure::Failed(format!(
            "nobody named {} with the fingerprint {told} was seen here: if it is what {} told you, somebody else uses the name",
            safe(name),
            safe(name)
        )));
    }
    session.say(
        &format!("{} is verified.", safe(name)),
        || json!({ "name": name, "fingerprint": told.to_string(), "verified": true }),
    )
}

fn list(session: &Session) -> Result<(), Failure> {
    let (own, name) = (session.client.fingerprint(), session.client.name());
    let people = session.client.people(now())?;
    let can_be_invited =
        |name: &str, key: Fingerprint| people.iter().any(|(other, found)| other == name && *found == key);
    let mut out = String::new();
    if !session.json {
        out.push_str(&format!("{}  {own}  (you)\n", safe(&name)));
    }
    for contact in session.client.contacts()? {
        let fingerprint = contact.fingerprint();
        let invitable = can_be_invited(&contact.name, fingerprint);
        if session.json {
            let object = json!({
                "name": contact.name, "fingerprint": fingerprint.to_string(), "verified": contact.verified,
                "since": contact.since.0, "can_be_invited": invitable,
            });
            out.push_str(&format!("{object}\n"));
            continue;
        }
        let verified = if contact.verified { "verified" } else { "not verified" };
        let invite = if invitable { "" } else { ", no valid key package" };
        out.push_str(&format!(
            "{}  {fingerprint}  ({verified}, since {}{invite})\n",
            safe(&contact.name),
            time(contact.since)
        ));
    }
    write(&out)
}
