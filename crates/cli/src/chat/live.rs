//! Keys, screen and network by turns, in one thread: the network gets short slices, and stops for a key.

use std::io;
use std::time::{Duration, Instant};

use dmls::Time;
use dmls_client::Transport;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::crossterm::event::Event;

use super::session::{Next, Session};
use super::ui;
use crate::Failure;

/// How long to wait for a key before the network is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How long to take in what comes before the screen shows it.
const SLICE: Duration = Duration::from_millis(150);
/// How long to trust that nothing is new. What is due by time is done then, too.
const EVERY: Duration = Duration::from_secs(3);
/// How long what was typed is nowhere but in memory, at most.
const DRAFTS: Duration = Duration::from_secs(1);
/// Keys between which the screen is drawn, at most: whoever copies a book into it sees where it goes.
const BURST: usize = 1000;

/// Where keys come from.
pub trait Keys {
    /// What happens next on the terminal, unless nothing does for so long.
    fn next(&mut self, at_most: Duration) -> io::Result<Option<Event>>;

    /// Whether something happened already.
    fn is_waiting(&mut self) -> bool;

    /// Whether the process was asked to end.
    fn is_ended(&self) -> bool;
}

/// Runs a session until its person, or a signal, ends it.
pub fn live<B: Backend, T: Transport>(
    session: &mut Session<'_>,
    terminal: &mut Terminal<B>,
    keys: &mut dyn Keys,
    transport: &mut T,
    watch: &mut dyn FnMut(Duration) -> bool,
    now: &dyn Fn() -> Time,
) -> Result<(), Failure> {
    let result = take_turns(session, terminal, keys, transport, watch, now);
    session.keep_drafts();
    result
}

fn take_turns<B: Backend, T: Transport>(
    session: &mut Session<'_>,
    terminal: &mut Terminal<B>,
    keys: &mut dyn Keys,
    transport: &mut T,
    watch: &mut dyn FnMut(Duration) -> bool,
    now: &dyn Fn() -> Time,
) -> Result<(), Failure> {
    let mut synced: Option<Instant> = None;
    let mut typed: Option<Instant> = None;
    show(session, terminal)?;
    loop {
        let mut patience = GLANCE;
        if session.app.busy.is_some() || synced.is_none() {
            patience = Duration::ZERO;
        }
        let mut changed = false;
        for _ in 0..BURST {
            let Some(event) = keys.next(patience).map_err(|e| failed(&e))? else { break };
            match session.handle(event, now()) {
                Next::GoOn => {}
                Next::Redraw => terminal.clear().map_err(|e| failed(&e))?,
                Next::Quit => return Ok(()),
            }
            typed.get_or_insert_with(Instant::now);
            changed = true;
            patience = Duration::ZERO;
        }
        if keys.is_ended() {
            return Ok(());
        }
        if changed {
            show(session, terminal)?;
        }
        if typed.is_some_and(|since| since.elapsed() >= DRAFTS) {
            session.keep_drafts();
            typed = None;
        }
        let is_due = session.app.busy.is_some() || synced.is_none_or(|at| at.elapsed() >= EVERY);
        if watch(Duration::ZERO) || is_due {
            let start = Instant::now();
            let mut go_on = || start.elapsed() < SLICE && !keys.is_waiting() && !keys.is_ended();
            session.sync(transport, now(), &mut go_on);
            synced = Some(Instant::now());
            show(session, terminal)?;
        }
    }
}

fn show<B: Backend>(session: &mut Session<'_>, terminal: &mut Terminal<B>) -> Result<(), Failure> {
    session.app.size = terminal.size().map_err(|e| failed(&e))?;
    session.refresh();
    terminal.draw(|frame| ui::draw(frame, &session.app)).map_err(|e| failed(&e))?;
    Ok(())
}

fn failed(e: &dyn std::error::Error) -> Failure {
    Failure::Failed(format!("the terminal fails: {e}"))
}
