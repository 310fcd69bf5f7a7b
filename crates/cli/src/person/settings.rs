//! `dmls settings` and `dmls key`: what was decided with `init`, and is decided anew.

use std::path::PathBuf;

use serde_json::json;

use super::key::NewKey;
use super::session::{Session, folder_of, make_folder, set_folder};
use super::{Options, account};
use crate::Failure;
use crate::graph::text::safe;
use crate::term::write;
use dmls_client::Client;

/// How your client behaves by itself; change it, or look at it.
///
/// With --folder the profile belongs to that folder from now on.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Invitations wait for `dmls group join`
    #[arg(long)]
    ask: bool,
    /// Invitations are accepted as they come
    #[arg(long, conflicts_with = "ask")]
    no_ask: bool,
    /// Seconds that members give each other before they do what anybody can do
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
}

/// What opens your profile; change it, or look at it.
///
/// With none of the options nothing changes. The old passphrase or key goes on to open copies of the profile that were made before, so delete
/// those if somebody knows it.
#[derive(clap::Args, Debug)]
pub struct KeyArgs {
    #[command(flatten)]
    key: NewKey,
    /// A file whose first line is the new passphrase (--passphrase-file has that of now)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keyring", "no_passphrase"])]
    new_passphrase_file: Option<PathBuf>,
}

/// Changes the key, and says what opens the profile.
pub fn key(args: &KeyArgs, options: &Options) -> Result<(), Failure> {
    let new = Options { passphrase_file: args.new_passphrase_file.clone(), ..options.clone() };
    let opener = account::change_key(options, &new, &args.key)?;
    if options.json {
        return write(&format!("{}\n", json!({ "key": opener.name() })));
    }
    write(&format!("{}\n", opener.sentence()))
}

/// Changes what is asked for, and prints all.
pub fn run(args: &Args, options: &Options) -> Result<(), Failure> {
    let mut client = Client::open(account::open(options)?)?;
    let mut settings = client.settings().clone();
    settings.ask = (settings.ask || args.ask) && !args.no_ask;
    settings.patience = args.patience.unwrap_or(settings.patience);
    if settings != *client.settings() {
        client.set_settings(settings.clone())?;
    }
    if let Some(folder) = &options.folder {
        let folder = make_folder(folder)?;
        set_folder(client.profile_mut(), &folder)?;
    }
    let folder = folder_of(client.profile())?.display().to_string();
    let session = Session::with(client, &Options { folder: None, ..options.clone() })?;
    let invitations = if settings.ask { "wait for `dmls group join`" } else { "are accepted as they come" };
    session.say(
        &format!(
            "Invitations {invitations}.\nMembers give each other {} seconds (patience).\nThe folder is {}.",
            settings.patience,
            safe(&folder)
        ),
        || json!({ "ask": settings.ask, "patience": settings.patience, "folder": folder }),
    )
}
