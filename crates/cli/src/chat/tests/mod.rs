//! The chat without a terminal: real clients, a network in memory, and a screen that is read like a person does.

mod commands;
mod input;
mod live;
mod robust;
mod screens;
mod text;

// The clients and the network of the engine's own tests.
#[path = "../../../../client/tests/common/mod.rs"]
mod common;

use dmls::Time;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::clock::Clock;
use super::session::{Next, Session};
use super::theme::Theme;
use super::ui;
use common::{Network, Person, Seen};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Somebody in front of a screen.
struct Desk<'a> {
    session: Session<'a>,
    terminal: Terminal<TestBackend>,
    now: Time,
}

impl<'a> Desk<'a> {
    fn new(person: &'a mut Person, now: Time) -> Self {
        Self::with(person, now, (80, 24), true)
    }

    fn with(person: &'a mut Person, now: Time, (width, height): (u16, u16), color: bool) -> Self {
        let session =
            Session::new(&mut person.client, &mut person.rng, None, Theme { color }, Clock::utc()).unwrap();
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut desk = Self { session, terminal, now };
        desk.resize(width, height);
        desk
    }

    fn event(&mut self, event: Event) -> Next {
        let next = self.session.handle(event, self.now);
        self.session.refresh();
        next
    }

    fn resize(&mut self, width: u16, height: u16) {
        self.terminal.backend_mut().resize(width, height);
        self.event(Event::Resize(width, height));
    }

    fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Next {
        self.event(Event::Key(KeyEvent::new(code, modifiers)))
    }

    fn press(&mut self, code: KeyCode) -> Next {
        self.key(code, KeyModifiers::NONE)
    }

    fn ctrl(&mut self, c: char) -> Next {
        self.key(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    fn write(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c));
        }
    }

    /// Types a line.
    fn enter(&mut self, line: &str) {
        self.write(line);
        self.press(KeyCode::Enter);
    }

    fn sync(&mut self, network: &Network) {
        let mut seen = Seen { network, rng: ChaCha20Rng::seed_from_u64(7) };
        self.session.sync(&mut seen, self.now, &mut || true);
        self.session.refresh();
    }

    /// What is on the screen.
    fn screen(&mut self) -> String {
        self.session.refresh();
        let app = &self.session.app;
        self.terminal.draw(|frame| ui::draw(frame, app)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width).max(1);
        let mut screen = String::new();
        for row in buffer.content.chunks(width) {
            let mut skip = 0;
            for cell in row {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                skip = super::text::width(cell.symbol()).saturating_sub(1);
                screen.push_str(cell.symbol());
            }
            screen.truncate(screen.trim_end_matches(' ').len());
            screen.push('\n');
        }
        screen
    }

    #[track_caller]
    fn sees(&mut self, what: &str) {
        let screen = self.screen();
        // What is wrapped is found, too: each column is read by itself.
        let mut columns = [String::new(), String::new(), String::new()];
        for line in screen.lines() {
            for (column, part) in columns.iter_mut().zip(line.split('│')) {
                column.extend(part.split_whitespace().flat_map(|word| [word, " "]));
            }
        }
        assert!(
            columns.iter().any(|column| column.contains(what)),
            "{what:?} is not on the screen:\n{screen}"
        );
    }

    #[track_caller]
    fn misses(&mut self, what: &str) {
        let screen = self.screen();
        assert!(!screen.contains(what), "{what:?} is on the screen:\n{screen}");
    }
}
