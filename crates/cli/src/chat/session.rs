//! The client behind the screen: what a person wants is done, and what there is comes onto the screen.

use dmls::{Member, Time};
use dmls_client::{Client, Entry, Error, Event, Fingerprint, Flow, Synced, Transport};
use rand_core::CryptoRng;
use ratatui::crossterm::event::{Event as Input, KeyEventKind};
use ratatui::layout::Size;

use super::app::{App, GroupRow, Intent};
use super::clock::Clock;
use super::command::{COMMANDS, Command, Wanted, Whom};
use super::drafts::Drafts;
use super::graph;
use super::input::Input as Typed;
use super::page::Page;
use super::text::clean;
use super::theme::Theme;

/// Unread messages that are counted when a group is seen first; then each is counted as it comes.
const MAX_COUNTED: usize = 1000;

/// A client with a screen.
pub struct Session<'a> {
    pub app: App,
    client: &'a mut Client,
    rng: &'a mut dyn CryptoRng,
    drafts: Drafts,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More keys.
    GoOn,
    /// The screen is drawn anew.
    Redraw,
    /// The end.
    Quit,
}

/// Why something was not done, as a sentence.
struct Refusal(String);

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        Self(e.to_string())
    }
}

impl<'a> Session<'a> {
    /// Shows a group, or the first one.
    pub fn new(
        client: &'a mut Client,
        rng: &'a mut dyn CryptoRng,
        group: Option<&str>,
        theme: Theme,
        clock: Clock,
    ) -> Result<Self, Error> {
        let wanted = group.map(|group| client.find_group(group)).transpose()?;
        let mut app = App::new(&client.name(), client.fingerprint().to_string(), theme, clock);
        let drafts = Drafts::load(client.profile())?;
        app.drafts = drafts.all();
        let mut session = Self { app, client, rng, drafts };
        session.list_groups()?;
        if let Some(id) = wanted.or_else(|| session.app.groups.first().map(|group| group.id.clone())) {
            session.open(id)?;
        }
        Ok(session)
    }

    /// Something that happened on the terminal.
    pub fn handle(&mut self, input: Input, now: Time) -> Next {
        let intent = match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.app.key(key, now),
            Input::Paste(text) => {
                self.app.paste(&text);
                None
            }
            Input::Resize(width, height) => {
                self.app.size = Size::new(width, height);
                None
            }
            _ => None,
        };
        let done = match intent {
            None => Ok::<_, Refusal>(()),
            Some(Intent::Quit) => return Next::Quit,
            Some(Intent::Redraw) => return Next::Redraw,
            Some(Intent::Send(text)) => self.send(&text, now),
            Some(Intent::Open(id)) => self.open(id).map_err(Refusal::from),
            Some(Intent::Complete(wanted)) => self.complete(wanted, now).map_err(Refusal::from),
            Some(Intent::Do(command)) => self.carry_out(command, now),
        };
        if let Err(Refusal(why)) = done {
            self.app.complain(why);
        }
        Next::GoOn
    }

    /// Synchronizes for as long as `go_on` says; the rest comes with the next call.
    pub fn sync<T: Transport>(&mut self, transport: &mut T, now: Time, go_on: &mut dyn FnMut() -> bool) {
        let before = self.app.busy.unwrap_or(0);
        let mut flow = |_: &Synced| if go_on() { Flow::Continue } else { Flow::Stop };
        match self.client.sync_while(transport, now, self.rng, &mut flow) {
            Ok(synced) => {
                self.app.busy = synced.stopped.then_some(before + synced.taken_in);
                self.app.trouble = None;
            }
            Err(e) => {
                self.app.busy = None;
                self.app.trouble = Some(e.to_string());
            }
        }
    }

    /// What there is comes onto the screen.
    pub fn refresh(&mut self) {
        if let Err(e) = self.try_refresh() {
            self.app.complain(e.to_string());
        }
    }

    fn try_refresh(&mut self) -> Result<(), Error> {
        for event in self.client.events() {
            self.hear(event);
        }
        self.list_groups()?;
        if self.app.group().is_none() {
            match self.app.groups.first().map(|group| group.id.clone()) {
                Some(id) => self.open(id)?,
                None => _ = self.app.switch(None),
            }
        }
        let Some(id) = self.app.current.clone() else { return Ok(()) };
        self.load_log(&id)?;
        if self.app.log.is_at_end() && self.app.areas().log.width > 0 {
            self.note_shown(&id)?;
        }
        let panel = self.app.areas().panel.map(|panel| usize::from(panel.width.saturating_sub(1)));
        let shown = self.client.group(&id).zip(panel);
        let (own, theme) = (self.client.name(), self.app.theme);
        self.app.epochs =
            shown.map(|(group, width)| graph::lines(group, &own, theme, width)).unwrap_or_default();
        Ok(())
    }

    /// What was typed and not sent is kept on the disk.
    pub fn keep_drafts(&mut self) {
        self.app.stow();
        if let Err(e) = self.drafts.store(self.client.profile_mut(), &self.app.drafts) {
            self.app.complain(e.to_string());
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Entry { group, entry: Entry::Message(message) } if !message.own => {
                if let Some(row) = self.app.groups.iter_mut().find(|row| row.id == group) {
                    row.unread += 1;
                }
            }
            Event::Invited { .. } => self.app.say("you are invited to a group: /join accepts"),
            Event::Met { name, fingerprint } => {
                self.app.say(format!("{name} is here; fingerprint {fingerprint}"));
            }
            Event::OtherKey { name, pinned, found } => {
                self.app.warn(Error::OtherKey { name, pinned, found }.to_string());
            }
            Event::Refused { why, .. } => {
                self.app.complain(format!("something is no good, and was dropped: {why}"))
            }
            Event::Failed { why, .. } => self
                .app
                .complain(format!("something that is due could not be done, and is tried again: {why}")),
            Event::Damaged { name, why, .. } => {
                self.app.complain(Error::DamagedGroup { name, why }.to_string());
            }
            Event::Unreadable { why, .. } => self.app.complain(format!("a message can't be read: {why}")),
            _ => {}
        }
    }

    fn list_groups(&mut self) -> Result<(), Error> {
        let before = std::mem::take(&mut self.app.groups);
        for info in self.client.groups() {
            let unread = match before.iter().find(|row| row.id == info.id) {
                Some(row) => row.unread,
                None => self.count_unread(&info.id)?,
            };
            self.app.groups.push(GroupRow {
                id: info.id,
                name: info.name,
                members: info.members,
                unread,
                excluded: info.excluded,
                stranded: info.stranded,
                leaving: info.leaving,
                damaged: info.damaged.is_some(),
            });
        }
        Ok(())
    }

    fn count_unread(&self, id: &[u8]) -> Result<usize, Error> {
        let entries = self.client.entries(id, self.client.shown_to(id), MAX_COUNTED)?;
        let is_new = |entry: &Entry| matches!(entry, Entry::Message(message) if !message.own);
        Ok(entries.iter().filter(|shown| is_new(&shown.entry)).count())
    }

    fn open(&mut self, id: Vec<u8>) -> Result<(), Error> {
        let unread = self.app.groups.iter().find(|row| row.id == id).is_some_and(|row| row.unread > 0);
        let seen = self.client.shown_to(&id).filter(|_| unread);
        if self.app.switch(Some(id.clone())) {
            self.app.seen = seen;
            self.keep_drafts();
        }
        self.load_log(&id)
    }

    /// Entries for two screens above the lowest line and one below it: a page up or down moves within them.
    fn load_log(&mut self, id: &[u8]) -> Result<(), Error> {
        // Each time the place may turn out to have too little below it, or above.
        for _ in 0..4 {
            let height = usize::from(self.app.size.height).max(1);
            let place = self.app.log.place();
            let before = place.map(|place| place.saturating_add(1));
            let up_to = self.client.last_entries(id, before, 2 * height)?;
            let behind = match place {
                Some(place) => self.client.entries(id, Some(place), height)?,
                None => Vec::new(),
            };
            let to_end = behind.len() < height;
            self.app.log.load(up_to, behind, to_end);
            let (sight, height) = (self.app.sight(), usize::from(self.app.areas().log.height));
            self.app.log.settle(height, &sight);
            if !self.app.log.has_moved() {
                break;
            }
        }
        Ok(())
    }

    fn note_shown(&mut self, id: &[u8]) -> Result<(), Error> {
        let Some(last) = self.app.log.last() else { return Ok(()) };
        if let Some(row) = self.app.groups.iter_mut().find(|row| row.id == id) {
            row.unread = 0;
        }
        if self.client.shown_to(id) == Some(last) {
            return Ok(());
        }
        self.client.set_shown(id, last)
    }

    fn send(&mut self, text: &str, now: Time) -> Result<(), Refusal> {
        let id = self.here()?;
        self.client.send(&id, text, now, self.rng)?;
        self.app.input = Typed::default();
        // Sent already: it must not come back as a draft.
        self.keep_drafts();
        self.app.log.go_to_end();
        Ok(())
    }

    fn here(&self) -> Result<Vec<u8>, Refusal> {
        let here = self.app.current.clone();
        here.ok_or_else(|| Refusal("there is no group yet: /create NAME makes one".to_owned()))
    }

    /// What was typed stays if it can't be done: mostly little of it is to be changed.
    fn carry_out(&mut self, command: Command, now: Time) -> Result<(), Refusal> {
        let typed = std::mem::take(&mut self.app.input);
        match self.perform(command, now) {
            Ok(done) => {
                self.keep_drafts();
                if !done.is_empty() {
                    self.app.say(done);
                }
                Ok(())
            }
            Err(e) => {
                self.app.input = typed;
                Err(e)
            }
        }
    }

    /// Does it, and what to say then, if the log does not.
    fn perform(&mut self, command: Command, now: Time) -> Result<String, Refusal> {
        let names = |whom: &Whom| whom.names.join(", ");
        let done = match command {
            Command::Create(name) => {
                let id = self.client.create_group(&name, now, self.rng)?;
                self.list_groups()?;
                self.open(id)?;
                "here it is; /people shows who can be invited".to_owned()
            }
            Command::Invite(whom) => {
                self.client.invite(&self.here()?, &whom.as_strs(), whom.key, now, self.rng)?;
                format!("invited {}: in as soon as they synchronize", names(&whom))
            }
            Command::Remove(whom) => {
                self.client.remove(&self.here()?, &whom.as_strs(), whom.key, now, self.rng)?;
                format!("removed {}", names(&whom))
            }
            Command::Rename(name) => {
                self.client.rename(&self.here()?, &name, now, self.rng)?;
                String::new()
            }
            Command::Leave => {
                self.client.leave(&self.here()?, now, self.rng)?;
                String::new()
            }
            Command::Update => {
                self.client.update(&self.here()?, now, self.rng)?;
                "you have new keys".to_owned()
            }
            Command::Rejoin => {
                self.client.rejoin(&self.here()?, now, self.rng)?;
                String::new()
            }
            Command::Join if self.client.join(now)? == 0 => return Err(Error::NoInvitation.into()),
            Command::Join => String::new(),
            Command::Verify(name, fingerprint) if self.client.verify(&name, fingerprint, now)? => {
                format!("{name} is verified")
            }
            Command::Verify(name, _) => {
                return Err(Refusal(format!("no key of {name} that was seen here has this fingerprint")));
            }
            Command::Go(name) => {
                self.open(self.client.find_group(&name)?)?;
                String::new()
            }
            Command::Members => {
                self.app.page = Some(self.members(&self.here()?)?);
                String::new()
            }
            Command::People => {
                self.app.page = Some(self.people(now)?);
                String::new()
            }
            // The screen alone does these.
            Command::Graph | Command::Help | Command::Quit => String::new(),
        };
        Ok(done)
    }

    fn members(&self, id: &[u8]) -> Result<Page, Error> {
        let members = self.client.group(id).and_then(|group| group.head().members()).unwrap_or_default();
        let line = |member: &Member| {
            let name = name(member);
            Ok(person(&name, Fingerprint::of(&name, &member.signature_key), &self.trust(&name, member)?))
        };
        Ok(Page::new("members", members.iter().map(line).collect::<Result<_, Error>>()?))
    }

    fn trust(&self, name: &str, member: &Member) -> Result<String, Error> {
        if *name == self.client.name()
            && Fingerprint::of(name, &member.signature_key) == self.client.fingerprint()
        {
            return Ok("you".to_owned());
        }
        self.known(name, Fingerprint::of(name, &member.signature_key))
    }

    /// What is known of a fingerprint.
    fn known(&self, name: &str, fingerprint: Fingerprint) -> Result<String, Error> {
        let contacts = self.client.contacts()?;
        Ok(match contacts.iter().find(|contact| contact.name == name) {
            None => "not seen before".to_owned(),
            Some(contact) if contact.fingerprint() != fingerprint => "ANOTHER KEY THAN BEFORE".to_owned(),
            Some(contact) if contact.verified => "verified".to_owned(),
            Some(_) => "as first seen; compare it, then /verify".to_owned(),
        })
    }

    fn people(&self, now: Time) -> Result<Page, Error> {
        let mut lines = vec![person(&self.client.name(), self.client.fingerprint(), "you")];
        for (name, fingerprint) in self.client.people(now)? {
            if fingerprint != self.client.fingerprint() {
                lines.push(person(&name, fingerprint, &self.known(&name, fingerprint)?));
            }
        }
        if lines.len() == 1 {
            lines.push("Nobody else has published a key package here yet.".to_owned());
        }
        Ok(Page::new("people", lines))
    }

    fn complete(&mut self, wanted: Wanted, now: Time) -> Result<(), Error> {
        let me = self.client.name();
        let members = self.app.group().map(|group| group.members.clone()).unwrap_or_default();
        let candidates: Vec<_> = match wanted {
            Wanted::Command => COMMANDS.iter().map(|(name, ..)| format!("/{name}")).collect(),
            Wanted::Person => self.client.people(now)?.into_iter().map(|(name, _)| name).collect(),
            Wanted::Member => members.into_iter().filter(|name| *name != me).collect(),
            Wanted::Group => self.app.groups.iter().map(|group| group.name.clone()).collect(),
            Wanted::Anything => return Ok(()),
        };
        self.app.complete(&candidates);
        Ok(())
    }
}

/// The name of a member, as it is: to be cleaned.
fn name(member: &Member) -> String {
    let name = member.credential.identity().and_then(|identity| std::str::from_utf8(identity).ok());
    name.unwrap_or("?").to_owned()
}

fn person(name: &str, fingerprint: Fingerprint, remark: &str) -> String {
    format!("{:<16} {fingerprint}  {remark}", clean(name))
}
