//! `dmls init` and `dmls key-package`.

use dmls_client::{Client, Settings};
use dmls_store::Profile;
use serde_json::json;

use super::key::NewKey;
use super::session::{Session, make_folder, now, set_folder};
use super::{Options, account};
use crate::Failure;
use crate::graph::text::safe;

/// Make yourself a profile: your name, your keys, and the folder that you share with others.
///
/// Your key package is published in the folder, so that others can invite you by your name. Invitations are accepted as they
/// come; with --ask they wait for `dmls group join`.
///
/// The profile is encrypted. On a terminal the keyring of this computer keeps the key, where there is one; else you are asked for a passphrase
/// (--keyring or --passphrase choose), or it is read from --passphrase-file. With --no-passphrase the key lies beside the profile in the file `key`: whoever can
/// read your files can read your messages.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What others call you: up to 64 characters
    #[arg(long)]
    name: String,
    #[command(flatten)]
    key: NewKey,
    /// Invitations wait for `dmls group join`
    #[arg(long)]
    ask: bool,
    /// Seconds that members give each other before they do what anybody can do (commit a proposal, repeat what a lost branch did)
    #[arg(long, value_name = "SECONDS", default_value_t = Settings::default().patience)]
    patience: u64,
}

/// Publish a fresh key package, by which others can invite you.
///
/// It is done by itself when yours was used, or is old: `sync` is enough.
#[derive(clap::Args, Debug)]
pub struct KeyPackageArgs {}

/// Makes a profile.
pub fn run(args: &Args, options: &Options) -> Result<(), Failure> {
    let Some(folder) = options.folder.clone() else {
        return Err(Failure::Usage("name the folder that you share with others: --folder DIR".into()));
    };
    let mut settings = Settings::default();
    (settings.ask, settings.patience) = (args.ask, args.patience);
    dmls_client::check_name(&args.name)?;
    let directory = account::vacant(options, false)?;
    let folder = make_folder(&folder)?;
    let (mut profile, opener) =
        account::create(options, &directory, &args.key, |key, rng| Profile::create(&directory, key, rng))?;
    set_folder(&mut profile, &folder)?;
    let client = Client::create(profile, &args.name, settings, &mut rand::rng())?;
    let options = Options { folder: None, ..options.clone() };
    let mut session = Session::with(client, &options)?;
    session.begin()?;
    let (name, fingerprint) = (session.client.name(), session.client.fingerprint());
    session.say(
        &format!(
            "You are {} in {}.\n{}\nYour fingerprint, for others to compare: {fingerprint}",
            safe(&name),
            safe(&directory.display().to_string()),
            opener.sentence(),
        ),
        || json!({ "name": name, "fingerprint": fingerprint.to_string(), "profile": directory.display().to_string(), "key": opener.name() }),
    )
}

/// Publishes a key package.
pub fn key_package(_: &KeyPackageArgs, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.client.publish_key_package(now(), &mut rand::rng())?;
    session.end()?;
    session.tell_events();
    let (name, fingerprint) = (session.client.name(), session.client.fingerprint());
    session.say(
        &format!("Others can invite you as {} ({fingerprint}).", safe(&name)),
        || json!({ "name": name, "fingerprint": fingerprint.to_string() }),
    )
}
