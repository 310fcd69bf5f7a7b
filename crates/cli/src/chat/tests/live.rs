//! Keys, screen and network by turns.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use dmls::Time;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::common::{Person, START, Seen, group};
use crate::chat::clock::Clock;
use crate::chat::live::{Keys, live};
use crate::chat::session::Session;
use crate::chat::theme::Theme;

/// Somebody who types a letter whenever three parcels were taken in.
struct Typist<'a> {
    letters: VecDeque<Event>,
    asked: u32,
    /// How many letters were typed while messages came.
    typed: &'a Cell<usize>,
    /// Whether to be asked to end, once all is typed.
    killed: bool,
}

impl Keys for Typist<'_> {
    fn next(&mut self, _: Duration) -> io::Result<Option<Event>> {
        if self.asked < 3 {
            return Ok(None);
        }
        self.asked = 0;
        let letter = self.letters.pop_front();
        self.typed.set(self.typed.get() + usize::from(letter.is_some()));
        Ok(letter)
    }

    fn is_waiting(&mut self) -> bool {
        self.asked += 1;
        self.asked >= 3 && !self.letters.is_empty()
    }

    fn is_ended(&self) -> bool {
        self.killed && self.letters.is_empty()
    }
}

fn session(person: &mut Person) -> Session<'_> {
    let theme = Theme { color: true };
    Session::new(&mut person.client, &mut person.rng, None, theme, Clock::utc()).unwrap()
}

fn keys(text: &str, last: Option<Event>) -> VecDeque<Event> {
    let letter = |c| Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    text.chars().map(letter).chain(last).collect()
}

#[test]
fn keys_come_between_the_messages_and_nothing_is_lost() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 60, &mut now);
    for n in 0..200 {
        people[1].say("friends", &format!("message {n}"), now);
    }
    people[1].sync(&network, now);
    let clock = || Time(START.0 + 1000);
    let mut seen = Seen { network: &network, rng: ChaCha20Rng::seed_from_u64(1) };
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let typed = Cell::new(0);
    // A signal comes while messages come in, before the last word was sent.
    {
        let mut session = session(&mut people[0]);
        let mut typist = Typist { letters: keys("half a wor", None), asked: 3, typed: &typed, killed: true };
        live(&mut session, &mut terminal, &mut typist, &mut seen, &mut |_| true, &clock).unwrap();
        assert_eq!(typed.get(), 10);
        assert!(session.app.busy.is_some(), "most of the messages are still to come");
        let screen = terminal.backend().to_string();
        assert!(screen.contains("> half a w"), "{screen}");
    }
    let alice = people.remove(0);
    let mut alice = alice.restart();
    // The next process has what was typed, and takes in the rest.
    let enter = Event::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    let mut session = session(&mut alice);
    let mut typist = Typist { letters: keys("d", Some(enter)), asked: 3, typed: &typed, killed: true };
    live(&mut session, &mut terminal, &mut typist, &mut seen, &mut |_| false, &clock).unwrap();
    while session.app.busy.is_some() {
        session.sync(&mut seen, clock(), &mut || true);
    }
    session.refresh();
    assert_eq!(session.app.trouble, None);
    drop(session);
    let said = alice.messages("friends");
    assert_eq!(
        said.iter().filter(|message| message.own).map(|message| &*message.text).collect::<Vec<_>>(),
        ["half a word"]
    );
    assert_eq!(said.len(), 201);
    assert_eq!(alice.client.outbox(1).unwrap(), []);
}

/// A network that fails.
struct Down;

impl dmls_client::Transport for Down {
    type Error = io::Error;

    fn publish(&mut self, _: &dmls_client::Parcel) -> Result<(), io::Error> {
        Err(io::Error::other("the disk is gone"))
    }

    fn arrived(
        &mut self,
        _: dmls_client::Place,
        _: &dyn Fn(&dmls_client::Name) -> bool,
        _: &mut dyn FnMut(dmls_client::Name, Vec<u8>) -> dmls_client::Flow,
    ) -> Result<Vec<dmls_client::Fault>, io::Error> {
        Err(io::Error::other("the disk is gone"))
    }

    fn remove(&mut self, _: dmls_client::Place, _: &dmls_client::Name) -> Result<(), io::Error> {
        Ok(())
    }
}

/// One key at a time, and time for the network after each.
struct Slow(VecDeque<Event>, bool);

impl Keys for Slow {
    fn next(&mut self, _: Duration) -> io::Result<Option<Event>> {
        self.1 = !self.1;
        Ok(if self.1 { self.0.pop_front() } else { None })
    }

    fn is_waiting(&mut self) -> bool {
        false
    }

    fn is_ended(&self) -> bool {
        false
    }
}

#[test]
fn without_a_network_one_can_write() {
    let mut alice = Person::new("Alice", 61);
    alice.create("notes", START);
    let mut letters = keys("to myself", Some(Event::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE))));
    letters.extend(keys("x", Some(Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)))));
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut session = session(&mut alice);
    let mut slow = Slow(letters, false);
    live(&mut session, &mut terminal, &mut slow, &mut Down, &mut |_| true, &|| START).unwrap();
    let screen = terminal.backend().to_string();
    assert!(screen.contains("Alice: to myself (waits in the outbox)"), "{screen}");
    assert!(screen.contains("not synchronized: the disk is gone"), "{screen}");
    drop(session);
    assert_eq!(alice.texts("notes"), ["to myself"]);
}

/// All keys at once.
struct Fast(VecDeque<Event>);

impl Keys for Fast {
    fn next(&mut self, _: Duration) -> io::Result<Option<Event>> {
        Ok(self.0.pop_front())
    }

    fn is_waiting(&mut self) -> bool {
        !self.0.is_empty()
    }

    fn is_ended(&self) -> bool {
        self.0.is_empty()
    }
}

#[test]
fn every_key_of_many_arrives() {
    let mut alice = Person::new("Alice", 62);
    alice.create("notes", START);
    let text = "0123456789".repeat(250);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut session = session(&mut alice);
    let mut fast = Fast(keys(&text, None));
    live(&mut session, &mut terminal, &mut fast, &mut Down, &mut |_| false, &|| START).unwrap();
    assert_eq!(session.app.input.text(), text);
}
