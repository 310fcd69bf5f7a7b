//! What is typed behind a slash.

use std::borrow::Cow;

use dmls_client::Fingerprint;

/// What a person wants that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new group.
    Create(String),
    /// People into the group; the key says who is meant where a name does not.
    Invite(Whom),
    /// Members out of the group.
    Remove(Whom),
    /// Another name for the group.
    Rename(String),
    /// Out of the group.
    Leave,
    /// New keys.
    Update,
    /// Asks to be taken in again.
    Rejoin,
    /// Accepts the invitations that wait.
    Join,
    /// A fingerprint was compared.
    Verify(String, Fingerprint),
    /// To another group.
    Go(String),
    /// Who is in the group.
    Members,
    /// Who can be invited.
    People,
    /// The epochs of the group.
    Graph,
    /// What there is.
    Help,
    /// The end.
    Quit,
}

/// People, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whom {
    /// Their names.
    pub names: Vec<String>,
    /// The fingerprint of the one who is meant.
    pub key: Option<Fingerprint>,
}

impl Whom {
    /// Their names, as the client takes them.
    pub fn as_strs(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }
}

/// The commands, with what belongs behind them and what they do.
pub const COMMANDS: [(&str, &str, &str); 15] = [
    ("create", "NAME", "a new group, with you as its only member"),
    ("invite", "NAME..", "people into this group (see /people)"),
    ("remove", "NAME..", "members out of this group"),
    ("rename", "NAME", "another name for this group"),
    ("leave", "", "out of this group; the next who commits carries it out"),
    ("update", "", "new keys for you: what was stolen before reads nothing after"),
    ("rejoin", "", "asks the others to take you in again"),
    ("join", "", "accepts the invitations that wait"),
    ("verify", "NAME FINGERPRINT", "you compared it with NAME in person: it is the right one"),
    ("go", "GROUP", "to another group"),
    ("members", "", "who is in this group"),
    ("people", "", "who can be invited, with fingerprints; yours too"),
    ("graph", "", "the epochs of this group, and where it forked (F2)"),
    ("help", "", "this (F1)"),
    ("quit", "", "the end (Ctrl-C); what you have not sent yet is kept"),
];

/// What a line that begins with a slash means, or what is wrong with it.
pub fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (name, rest) = (name.trim_start_matches('/'), rest.trim());
    let Some((name, usage, _)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!(
            "there is no command /{name}: /help lists them; // begins a message with a slash"
        ));
    };
    let wrong = || format!("it goes like this: /{name} {usage}").trim_end().to_owned();
    match (*name, rest.is_empty()) {
        ("create", false) => Ok(Command::Create(unquoted(rest))),
        ("rename", false) => Ok(Command::Rename(unquoted(rest))),
        ("go", false) => Ok(Command::Go(unquoted(rest))),
        ("invite", false) => whom(rest).map(Command::Invite).ok_or_else(wrong),
        ("remove", false) => whom(rest).map(Command::Remove).ok_or_else(wrong),
        ("verify", false) => match whom(rest) {
            Some(Whom { names, key: Some(key) }) if names.len() == 1 => {
                Ok(Command::Verify(names[0].clone(), key))
            }
            _ => Err(wrong()),
        },
        ("leave", true) => Ok(Command::Leave),
        ("update", true) => Ok(Command::Update),
        ("rejoin", true) => Ok(Command::Rejoin),
        ("join", true) => Ok(Command::Join),
        ("members", true) => Ok(Command::Members),
        ("people", true) => Ok(Command::People),
        ("graph", true) => Ok(Command::Graph),
        ("help", true) => Ok(Command::Help),
        ("quit", true) => Ok(Command::Quit),
        _ => Err(wrong()),
    }
}

/// Names, and a fingerprint among them.
fn whom(rest: &str) -> Option<Whom> {
    let (mut names, mut key) = (Vec::new(), None);
    for word in words(rest) {
        match Fingerprint::parse(&word.text) {
            Some(fingerprint) => key = Some(fingerprint),
            None => names.push(word.text),
        }
    }
    (!names.is_empty()).then_some(Whom { names, key })
}

/// A name that is all of a line, with or without quotes.
fn unquoted(rest: &str) -> String {
    match &words(rest)[..] {
        [word] => word.text.clone(),
        _ => rest.to_owned(),
    }
}

/// A word of a line; names with spaces stand in quotes.
struct Word {
    start: usize,
    text: String,
}

fn words(line: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut quoted, mut inside) = (false, false);
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() && !quoted {
            inside = false;
            continue;
        }
        if !inside {
            inside = true;
            words.push(Word { start: at, text: String::new() });
        }
        let taken = match c {
            '"' => {
                quoted = !quoted;
                None
            }
            '\\' if quoted => chars.next().map(|(_, c)| c),
            c => Some(c),
        };
        if let Some(word) = words.last_mut() {
            word.text.extend(taken);
        }
    }
    words
}

/// A name as it is typed in a command.
pub fn quote(name: &str) -> Cow<'_, str> {
    if name.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')) {
        Cow::Owned(format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
    } else {
        Cow::Borrowed(name)
    }
}

/// What may stand at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The name of a command.
    Command,
    /// Somebody who can be invited.
    Person,
    /// A member of the group.
    Member,
    /// A group.
    Group,
    /// Something that only the person knows.
    Anything,
}

/// What can be completed: what it is, where it begins, and what of it is there.
pub fn unfinished(line: &str) -> (Wanted, usize, String) {
    let Some((name, rest)) = line.split_once(' ') else { return (Wanted::Command, 0, line.to_owned()) };
    let behind = name.len() + 1;
    let wanted = match name {
        "/invite" | "/verify" => Wanted::Person,
        "/remove" => Wanted::Member,
        "/go" => Wanted::Group,
        _ => Wanted::Anything,
    };
    let is_open = rest.matches('"').count() % 2 == 1;
    match words(rest).pop() {
        Some(word) if is_open || !rest.ends_with(' ') => (wanted, behind + word.start, word.text),
        _ => (wanted, line.len(), String::new()),
    }
}
