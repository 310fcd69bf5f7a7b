//! The commands of a person who takes part in groups: `init`, `group`, `send`, `read`, `chat` and so on.
//!
//! | | |
//! |---|---|
//! | `account.rs`, `key.rs`, `keyring.rs` | where the profile is, what opens it, and where the operating system keeps that |
//! | `session.rs` | a client with its folder, for the length of a command |
//! | `init.rs`, `group.rs`, `talk.rs`, `chat.rs`, `contacts.rs`, `state.rs`, `folder.rs`, `settings.rs`, `moving.rs` | the commands |

mod account;
mod chat;
mod contacts;
mod folder;
mod group;
mod init;
mod key;
#[cfg(feature = "keyring")]
mod keyring;
#[cfg(not(feature = "keyring"))]
#[path = "no_keyring.rs"]
mod keyring;
mod moving;
mod session;
mod settings;
mod state;
mod talk;

use std::path::PathBuf;

use clap::Subcommand;

use crate::Failure;
use crate::graph::text::safe;

/// What every command of a person takes.
#[derive(clap::Args, Debug, Clone)]
pub struct Options {
    /// The directory of your keys, groups and messages [default: dmls in the directory for data of applications]
    #[arg(long, global = true, value_name = "DIR", env = "DMLS_PROFILE")]
    pub profile: Option<PathBuf>,
    /// Another folder than the profile's, for this call
    #[arg(long, global = true, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// A file whose first line is the passphrase of the profile
    #[arg(long, global = true, value_name = "FILE", env = "DMLS_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Neither read nor write the folder now: what you send waits for the next time
    #[arg(long, global = true)]
    pub offline: bool,
    /// JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// No colours, and ASCII only
    #[arg(long, global = true)]
    pub plain: bool,
}

/// A command of a person.
#[derive(Subcommand, Debug)]
pub enum Command {
    Init(init::Args),
    KeyPackage(init::KeyPackageArgs),
    #[command(subcommand)]
    Group(group::Command),
    Heads(state::HeadsArgs),
    Send(talk::SendArgs),
    Read(talk::ReadArgs),
    Sync(talk::SyncArgs),
    Chat(chat::Args),
    #[command(subcommand_required = false)]
    Contacts(contacts::Args),
    Exposure(state::ExposureArgs),
    Doctor(state::DoctorArgs),
    Settings(settings::Args),
    Key(settings::KeyArgs),
    Export(moving::ExportArgs),
    Import(moving::ImportArgs),
    #[command(subcommand)]
    Folder(folder::Command),
}

/// Runs one.
pub fn run(command: &Command, options: &Options) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args, options),
        Command::KeyPackage(args) => init::key_package(args, options),
        Command::Group(command) => group::run(command, options),
        Command::Heads(args) => state::heads(args, options),
        Command::Send(args) => talk::send(args, options),
        Command::Read(args) => talk::read(args, options),
        Command::Sync(args) => talk::sync(args, options),
        Command::Chat(args) => chat::run(args, options),
        Command::Contacts(args) => contacts::run(args, options),
        Command::Exposure(args) => state::exposure(args, options),
        Command::Doctor(args) => state::doctor(args, options),
        Command::Settings(args) => settings::run(args, options),
        Command::Key(args) => settings::key(args, options),
        Command::Export(args) => moving::export(args, options),
        Command::Import(args) => moving::import(args, options),
        Command::Folder(command) => folder::run(command, options),
    }
}

/// What the store says, with the commands that help.
pub fn explain(e: &dmls_store::Error) -> String {
    match e {
        dmls_store::Error::Exported { at, to, erased } => {
            let to = to.display().to_string();
            let to = safe(&to);
            let when = talk::time(*at);
            let way = match erased {
                false => {
                    format!(
                        "`dmls export {to}` shows the recovery phrase again, and erases what is left here"
                    )
                }
                true => "if it goes on nowhere else, the same brings it back here".to_owned(),
            };
            format!(
                "this profile was exported into {to} ({when}): it goes on where `dmls import` has opened that file; {way}"
            )
        }
        dmls_store::Error::RolledBack { found, seen } => format!(
            "an old copy of this profile was restored ({found} transactions, {seen} were made): find the newer one; if it is lost, \
             delete the file `seen` beside it, then `dmls sync`, and `dmls group rejoin` for each group before you send anything"
        ),
        other => other.to_string(),
    }
}
