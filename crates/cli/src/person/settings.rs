//! `dmls settings`: what was decided with `init`, and is decided anew.

use serde_json::json;

use super::session::{Session, folder_of, make_folder, set_folder};
use super::{Options, account};
use crate::Failure;
use crate::graph::text::safe;
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
