//! `dmls export` and `dmls import`: a profile moves to another computer.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use dmls_client::Client;
use dmls_store::{Export, Phrase, Profile};
use serde_json::json;
use zeroize::Zeroizing;

use super::key::{self, NewKey, failed, write_private};
use super::session::{Session, folder_of, make_folder, now, set_folder};
use super::{Options, account};
use crate::Failure;
use crate::graph::text::safe;
use crate::term::write;

/// Move your profile into a file, to go on with it on another computer.
///
/// Here it opens no more from then on. The file is sealed by a recovery phrase, which is shown once: write it down, type it, and what is left
/// of the profile here is erased. `dmls import` opens the file. If anything goes wrong meanwhile, the same command goes on.
#[derive(clap::Args, Debug)]
pub struct ExportArgs {
    /// The file to make
    file: PathBuf,
    /// Write the recovery phrase into this file, instead of showing it
    #[arg(long, value_name = "FILE")]
    phrase_file: Option<PathBuf>,
}

/// Go on with a profile that was exported on another computer.
///
/// Once only: two copies of one profile can't go on. With --folder it belongs to that folder here.
#[derive(clap::Args, Debug)]
pub struct ImportArgs {
    /// The file that `dmls export` made
    file: PathBuf,
    /// A file whose first line is the recovery phrase
    #[arg(long, value_name = "FILE")]
    phrase_file: Option<PathBuf>,
    #[command(flatten)]
    key: NewKey,
}

/// Exports.
pub fn export(args: &ExportArgs, options: &Options) -> Result<(), Failure> {
    let directory = account::directory(options)?;
    let file = std::path::absolute(&args.file).map_err(failed("name", &args.file))?;
    // Of one that was exported there may be a phrase already.
    let is_here = Profile::look(&directory).is_ok();
    let slip = args.phrase_file.as_deref().map(|path| Slip::prepare(path, is_here)).transpose()?;
    if slip.is_none() && !can_ask() {
        return Err(Failure::Usage("no terminal to show the recovery phrase: give --phrase-file".into()));
    }
    let exported = match (account::export(options, &directory, &file, now()), &slip) {
        (Ok(exported), _) => exported,
        (Err(e), slip) => {
            slip.iter().for_each(Slip::discard);
            return Err(e);
        }
    };
    let is_written_down = match &slip {
        Some(slip) => slip.write(exported.phrase()).map(|()| true)?,
        None => show(exported.phrase(), &file)?,
    };
    if is_written_down {
        exported.erase()?;
        key::forget(&directory)?;
    }
    let file = file.display().to_string();
    if options.json {
        return write(&format!("{}\n", json!({ "file": file, "erased": is_written_down })));
    }
    write(&match is_written_down {
        true => format!("Your profile is in {} now, and nothing of it is left here.\n", safe(&file)),
        false => format!(
            "Your profile is in {} now. `dmls export` of the same file shows the phrase again, until what is left here is erased.\n",
            safe(&file)
        ),
    })
}

/// Shows the phrase, and asks for it: whether it was written down.
fn show(phrase: &Phrase, file: &Path) -> Result<bool, Failure> {
    eprintln!(
        "The recovery phrase of {}. Write it down: without it nobody opens the file, and whoever has both has your profile.\n\n    {}\n",
        safe(&file.display().to_string()),
        *phrase.text()
    );
    loop {
        let typed = ask("Type it, and what is left here is erased (or nothing, to do that later): ")?;
        if typed.trim().is_empty() {
            return Ok(false);
        }
        match Phrase::parse(&typed) {
            Some(typed) if typed.text() == phrase.text() => return Ok(true),
            _ => eprintln!("That is another one."),
        }
    }
}

/// Imports.
pub fn import(args: &ImportArgs, options: &Options) -> Result<(), Failure> {
    let directory = account::vacant(options, true)?;
    let phrase = match &args.phrase_file {
        Some(path) => {
            let text = Zeroizing::new(fs::read_to_string(path).map_err(failed("read", path))?);
            Phrase::parse(text.lines().next().unwrap_or_default()).ok_or_else(|| {
                Failure::Failed(format!("the first line of {} is no recovery phrase", path.display()))
            })?
        }
        None if can_ask() => ask_for_phrase()?,
        None => {
            return Err(Failure::Usage(
                "no terminal to ask for the recovery phrase: give --phrase-file".into(),
            ));
        }
    };
    let export = Export::open(&args.file, &phrase)?;
    let folder = options.folder.as_deref().map(make_folder).transpose()?;
    let (mut profile, opener) =
        account::create(options, &directory, &args.key, |key, rng| export.import(&directory, key, rng))?;
    if let Some(folder) = folder {
        set_folder(&mut profile, &folder)?;
    }
    let folder = folder_of(&profile)?.display().to_string();
    let session = Session::with(Client::open(profile)?, &Options { folder: None, ..options.clone() })?;
    let (name, fingerprint) = (session.client.name(), session.client.fingerprint());
    let groups = session.client.groups().len();
    let mut sentence = format!(
        "You are {} in {}; groups: {groups}. Your fingerprint is {fingerprint}, as before.\nThe folder is {}.\n{}",
        safe(&name),
        safe(&directory.display().to_string()),
        safe(&folder),
        opener.sentence()
    );
    if let Err(Failure::Failed(e)) = session.folder() {
        sentence.push_str(&format!("\n{}: `dmls settings --folder DIR` names another.", safe(&e)));
    }
    session.say(&sentence, || {
        json!({
            "name": name, "fingerprint": fingerprint.to_string(), "profile": directory.display().to_string(),
            "groups": groups, "folder": folder, "key": opener.name(),
        })
    })
}

fn ask_for_phrase() -> Result<Phrase, Failure> {
    loop {
        let typed = ask("Recovery phrase: ")?;
        match Phrase::parse(&typed) {
            Some(phrase) => return Ok(phrase),
            None if typed.is_empty() => return Err(Failure::Failed("no recovery phrase was typed".into())),
            None => eprintln!("That is none: it has 32 letters and digits, and one at least is wrong."),
        }
    }
}

fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line, which is seen as it is typed. Empty at the end of the input.
fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    eprint!("{question}");
    let mut line = Zeroizing::new(String::with_capacity(256));
    let read = io::stderr().flush().and_then(|()| io::stdin().read_line(&mut line));
    read.map_err(|e| Failure::Failed(format!("can't read from the terminal: {e}")))?;
    Ok(line)
}

/// A file for a phrase: it is there before anything is done for which there must be a phrase.
struct Slip<'a> {
    path: &'a Path,
    /// From a time before.
    found: Zeroizing<String>,
}

impl<'a> Slip<'a> {
    fn prepare(path: &'a Path, must_be_new: bool) -> Result<Self, Failure> {
        let found = match fs::read_to_string(path) {
            Ok(found) if found.is_empty() || !must_be_new => found,
            Ok(_) => {
                return Err(Failure::Failed(format!(
                    "{} is there already: give another --phrase-file",
                    path.display()
                )));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                write_private(path, &[]).map_err(failed("write", path))?;
                String::new()
            }
            Err(e) => return Err(failed("read", path)(e)),
        };
        Ok(Self { path, found: Zeroizing::new(found) })
    }

    fn discard(&self) {
        if self.found.is_empty() {
            let _ = fs::remove_file(self.path);
        }
    }

    /// On the disk when this returns. What another phrase stands in is not written over.
    fn write(&self, phrase: &Phrase) -> Result<(), Failure> {
        let text = phrase.text();
        // Half of it, if writing it was interrupted.
        if !text.starts_with(self.found.trim()) {
            return Err(Failure::Failed(format!(
                "{} holds something else: give another --phrase-file",
                self.path.display()
            )));
        }
        write_private(self.path, format!("{}\n", *text).as_bytes()).map_err(failed("write", self.path))?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        key::sync(directory.unwrap_or(Path::new(".")))
    }
}
