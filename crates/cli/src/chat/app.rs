//! What is on the screen, and what keys do to it. It knows no client: keys come in, intents go out.

use std::collections::{BTreeMap, VecDeque};

use dmls::Time;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;
use ratatui::text::{Line, Span};

use super::areas::Areas;
use super::block::Sight;
use super::clock::Clock;
use super::command::{self, Command, Wanted};
use super::input::Input;
use super::log::Log;
use super::page::Page;
use super::text::{clean, wrap};
use super::theme::Theme;
use crate::term::Ink;

/// Warnings that wait to be read, at most: the oldest go first.
const MAX_ALERTS: usize = 20;
/// Columns in front of what is typed.
pub const PROMPT: u16 = 2;

/// All that is shown, and the state of the keys.
pub struct App {
    pub theme: Theme,
    pub clock: Clock,
    pub size: Size,
    /// Our name.
    pub me: String,
    /// Our fingerprint.
    pub fingerprint: String,
    pub groups: Vec<GroupRow>,
    /// The id of the group that is shown.
    pub current: Option<Vec<u8>>,
    pub log: Log,
    /// The last entry of the group that was seen when it was opened: what came behind it is new.
    pub seen: Option<u64>,
    pub input: Input,
    /// What was typed in other groups and not sent.
    pub drafts: BTreeMap<Vec<u8>, String>,
    /// Lists that cover the messages.
    pub page: Option<Page>,
    /// Whether the epochs are shown.
    pub panel: bool,
    /// The epochs, if they are shown.
    pub epochs: Vec<Line<'static>>,
    pub status: Option<Status>,
    /// Warnings: each stays until it was read.
    pub alerts: VecDeque<String>,
    /// Why the network can't be reached.
    pub trouble: Option<String>,
    /// How many messages were taken in, while more are coming.
    pub busy: Option<usize>,
}

/// What happened last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it went well.
    pub good: bool,
    /// A sentence.
    pub text: String,
}

/// A group in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRow {
    pub id: Vec<u8>,
    /// As others wrote it.
    pub name: String,
    /// As others wrote them.
    pub members: Vec<String>,
    pub unread: usize,
    pub excluded: bool,
    pub stranded: bool,
    pub leaving: bool,
    pub damaged: bool,
}

impl GroupRow {
    /// Its name, as it is shown.
    pub fn title(&self) -> String {
        if self.name.is_empty() { "(no name)".to_owned() } else { clean(&self.name) }
    }
}

/// What a person wants that the client has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To say something.
    Send(String),
    /// A command.
    Do(Command),
    /// To see a group.
    Open(Vec<u8>),
    /// To know how what is typed may go on.
    Complete(Wanted),
    /// To have the screen drawn anew, because something else wrote on it.
    Redraw,
    /// The end.
    Quit,
}

impl App {
    /// Nothing is shown yet.
    pub fn new(me: &str, fingerprint: String, theme: Theme, clock: Clock) -> Self {
        Self {
            theme,
            clock,
            size: Size::new(80, 24),
            me: me.to_owned(),
            fingerprint,
            groups: Vec::new(),
            current: None,
            log: Log::default(),
            seen: None,
            input: Input::default(),
            drafts: BTreeMap::new(),
            page: None,
            panel: false,
            epochs: Vec::new(),
            status: None,
            alerts: VecDeque::new(),
            trouble: None,
            busy: None,
        }
    }

    /// The group that is shown.
    pub fn group(&self) -> Option<&GroupRow> {
        self.groups.iter().find(|group| Some(&group.id) == self.current.as_ref())
    }

    /// Where things are.
    pub fn areas(&self) -> Areas {
        let columns = self.size.width.saturating_sub(PROMPT);
        let input = self.input.rows(usize::from(columns)).0.len();
        Areas::of(self.size, self.panel, input, self.status_lines().len())
    }

    /// What is told below the messages: warnings first, then what was asked for, then what is going on.
    pub fn status_lines(&self) -> Vec<Line<'static>> {
        let unseen = self.group().filter(|_| !self.log.is_at_end()).map_or(0, |group| group.unread);
        let (text, ink) = match (&self.alerts.front(), &self.status, &self.trouble) {
            (Some(alert), ..) => (format!("! {alert} (Esc: seen)"), Ink::Bad),
            (None, Some(status), _) if status.good => (status.text.clone(), Ink::Good),
            (None, Some(status), _) => (status.text.clone(), Ink::Bad),
            (None, None, Some(trouble)) => (format!("not synchronized: {trouble}"), Ink::Bad),
            _ if unseen > 0 => (format!("{unseen} new below (Ctrl-End)"), Ink::Note),
            _ if !self.log.is_at_end() => ("older messages (Ctrl-End: the newest)".to_owned(), Ink::Faint),
            _ => match self.busy {
                Some(count) => (format!("more is coming: {count} taken in"), Ink::Faint),
                None => (String::new(), Ink::Plain),
            },
        };
        wrap(&[Span::styled(clean(&text), self.theme.style(ink))], usize::from(self.size.width), 0)
    }

    /// How entries are shown.
    pub fn sight(&self) -> Sight {
        let others = self.group().map_or(0, |group| group.members.len().saturating_sub(1));
        let width = usize::from(self.areas().log.width);
        Sight { width, clock: self.clock.clone(), theme: self.theme, others, seen: self.seen }
    }

    /// Something went well.
    pub fn say(&mut self, text: impl Into<String>) {
        self.status = Some(Status { good: true, text: text.into() });
    }

    /// Something did not.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.status = Some(Status { good: false, text: text.into() });
    }

    /// Something that nobody may miss.
    pub fn warn(&mut self, text: String) {
        if !self.alerts.contains(&text) {
            self.alerts.push_back(text);
        }
        if self.alerts.len() > MAX_ALERTS {
            self.alerts.pop_front();
        }
    }

    /// What is typed goes with the group; false if it is there already.
    pub fn switch(&mut self, id: Option<Vec<u8>>) -> bool {
        if self.current == id {
            return false;
        }
        self.stow();
        self.current = id;
        let draft = self.current.as_ref().and_then(|id| self.drafts.get(id));
        self.input = Input::new(draft.cloned().unwrap_or_default());
        self.log = Log::default();
        self.log.go_to_end();
        self.page = None;
        true
    }

    /// What is typed is noted as the draft of its group.
    pub fn stow(&mut self) {
        let Some(id) = self.current.clone() else { return };
        if self.input.text().is_empty() {
            self.drafts.remove(&id);
        } else {
            self.drafts.insert(id, self.input.text().to_owned());
        }
    }

    /// Something was copied into the terminal: one message, however many lines it has.
    pub fn paste(&mut self, text: &str) {
        if !self.input.paste(text) {
            self.complain(dmls_client::Error::TooLong.to_string());
        }
    }

    /// A key.
    pub fn key(&mut self, key: KeyEvent, now: Time) -> Option<Intent> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Char(c) if control => return self.control(c),
            KeyCode::Char('b') if alt => self.input.word_left(),
            KeyCode::Char('f') if alt => self.input.word_right(),
            KeyCode::Char(_) if alt => {}
            KeyCode::Char(c) => self.type_in(c.encode_utf8(&mut [0; 4])),
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.type_in("\n"),
            KeyCode::Enter => return self.submit(now),
            KeyCode::Tab if self.input.text().starts_with('/') => {
                return Some(Intent::Complete(command::unfinished(self.input.before()).0));
            }
            KeyCode::Tab => return self.neighbour(1),
            KeyCode::BackTab => return self.neighbour(-1),
            KeyCode::Down if control || alt => return self.neighbour(1),
            KeyCode::Up if control || alt => return self.neighbour(-1),
            KeyCode::F(1) => self.toggle_help(now),
            KeyCode::F(2) => self.toggle_panel(),
            KeyCode::Esc => self.dismiss(),
            KeyCode::PageUp | KeyCode::PageDown | KeyCode::Up | KeyCode::Down => self.vertical(key.code),
            KeyCode::Home if control => self.log.go_to_start(),
            KeyCode::End if control => self.log.go_to_end(),
            code => self.edit(code, control || alt),
        }
        None
    }

    fn control(&mut self, c: char) -> Option<Intent> {
        match c.to_ascii_lowercase() {
            'c' | 'q' => return Some(Intent::Quit),
            'l' => return Some(Intent::Redraw),
            'n' => return self.neighbour(1),
            'p' => return self.neighbour(-1),
            'g' => self.toggle_panel(),
            'j' => self.type_in("\n"),
            'a' => self.input.home(),
            'e' => self.input.end(),
            'b' => self.input.left(),
            'f' => self.input.right(),
            'd' => self.input.delete(),
            'w' => self.input.delete_word(),
            'h' => self.input.backspace(),
            'u' => self.input.delete_to_start(),
            'k' => self.input.delete_to_end(),
            _ => {}
        }
        None
    }

    fn edit(&mut self, code: KeyCode, by_word: bool) {
        match code {
            KeyCode::Backspace if by_word => self.input.delete_word(),
            KeyCode::Backspace => self.input.backspace(),
            KeyCode::Delete => self.input.delete(),
            KeyCode::Left if by_word => self.input.word_left(),
            KeyCode::Left => self.input.left(),
            KeyCode::Right if by_word => self.input.word_right(),
            KeyCode::Right => self.input.right(),
            KeyCode::Home => self.input.home(),
            KeyCode::End => self.input.end(),
            _ => {}
        }
    }

    fn type_in(&mut self, text: &str) {
        if !self.input.insert(text) {
            self.complain(dmls_client::Error::TooLong.to_string());
        }
    }

    fn vertical(&mut self, code: KeyCode) {
        let up = matches!(code, KeyCode::Up | KeyCode::PageUp);
        let by_page = matches!(code, KeyCode::PageUp | KeyCode::PageDown);
        let areas = self.areas();
        let height = usize::from(areas.log.height);
        let lines = if by_page { height.saturating_sub(1).max(1) } else { 1 };
        if let Some(page) = &mut self.page {
            let area = areas.body;
            page.scroll(up, lines, usize::from(area.width), usize::from(area.height));
            return;
        }
        let in_text = match (by_page, up) {
            (true, _) => false,
            (false, true) => self.input.up(),
            (false, false) => self.input.down(),
        };
        let sight = self.sight();
        match up {
            _ if in_text => {}
            true => self.log.up(lines, height, &sight),
            false => self.log.down(lines, &sight),
        }
    }

    /// The next group, or the one before.
    fn neighbour(&self, step: isize) -> Option<Intent> {
        let count = self.groups.len();
        let here = self.groups.iter().position(|group| Some(&group.id) == self.current.as_ref())?;
        let there = here.checked_add_signed(step).unwrap_or(count - 1) % count;
        Some(Intent::Open(self.groups[there].id.clone()))
    }

    fn toggle_help(&mut self, now: Time) {
        let zone = self.clock.zone(now);
        self.page = if self.page.is_some() { None } else { Some(Page::help(&zone)) };
    }

    fn toggle_panel(&mut self) {
        self.panel = !self.panel;
    }

    /// One thing goes: a warning, a list, a sentence; or the newest message comes.
    fn dismiss(&mut self) {
        if self.alerts.pop_front().is_some() || self.page.take().is_some() || self.status.take().is_some() {
            return;
        }
        self.log.go_to_end();
    }

    fn submit(&mut self, now: Time) -> Option<Intent> {
        self.status = None;
        let text = self.input.text();
        if let Some(message) = text.strip_prefix("//") {
            return self.message(format!("/{message}"));
        }
        if !text.starts_with('/') {
            return self.message(text.to_owned());
        }
        let command = match command::parse(text) {
            Ok(command) => command,
            Err(why) => {
                self.complain(why);
                return None;
            }
        };
        match command {
            Command::Graph => self.toggle_panel(),
            Command::Help => self.toggle_help(now),
            Command::Quit => {
                self.input = Input::default();
                return Some(Intent::Quit);
            }
            command => return Some(Intent::Do(command)),
        }
        self.input = Input::default();
        None
    }

    fn message(&mut self, text: String) -> Option<Intent> {
        if text.trim().is_empty() {
            return None;
        }
        if self.current.is_none() {
            self.complain("there is no group to write to yet: /create NAME makes one");
            return None;
        }
        Some(Intent::Send(text.trim_end().to_owned()))
    }

    /// What is typed goes on as far as there is one way; if there are several they are told.
    pub fn complete(&mut self, candidates: &[String]) {
        let (wanted, start, partial) = command::unfinished(self.input.before());
        let lower = partial.to_lowercase();
        let mut fitting: Vec<_> =
            candidates.iter().filter(|name| name.to_lowercase().starts_with(&lower)).collect();
        fitting.sort();
        fitting.dedup();
        let behind = self.input.text()[self.input.before().len()..].to_owned();
        let before = self.input.before()[..start].to_owned();
        let written = |name: &str| match wanted {
            Wanted::Person | Wanted::Member => command::quote(name).into_owned(),
            _ => name.to_owned(),
        };
        match &fitting[..] {
            [] => self.complain("nothing here begins like this"),
            [only] => self.input = Input::around(format!("{before}{} ", written(only)), &behind),
            several => {
                let common = common_start(several);
                if common.len() > partial.len() && written(common) == common {
                    self.input = Input::around(format!("{before}{common}"), &behind);
                }
                self.say(several.iter().map(|name| written(name)).collect::<Vec<_>>().join("  "));
            }
        }
    }
}

/// What all of several names begin with.
fn common_start<'a>(names: &[&'a String]) -> &'a str {
    let Some((first, rest)) = names.split_first() else { return "" };
    let end = first.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| {
        rest.iter().all(|name| name.as_bytes().get(..*end) == first.as_bytes().get(..*end))
    });
    &first[..end.last().unwrap_or(0)]
}
