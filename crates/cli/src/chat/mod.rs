//! `chat`: groups, people and messages on a screen.
//!
//! [`app::App`] is all that is shown, and what keys do to it; [`ui`] draws it; [`session::Session`] has the client do what is wanted; [`live`]
//! lets them take turns with the network; [`screen`] is the terminal. So each but the last is tested without a terminal.

mod app;
mod areas;
mod block;
mod clock;
mod command;
mod drafts;
mod graph;
mod input;
mod live;
mod log;
mod page;
mod screen;
mod session;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod ui;

use std::io::{self, IsTerminal};
use std::time::Duration;

use dmls::Time;
use dmls_client::{Client, Transport};
use rand_core::CryptoRng;

use crate::Failure;
use crate::term::Look;
use clock::Clock;
use screen::{Screen, TerminalKeys};
use session::Session;
use theme::Theme;

/// Shows a client on the terminal until its person ends it: a group, by name or id, or the first one.
///
/// `watch` waits for so long, or until something may be new in the network, which it says; it is asked without waiting, several times a second.
pub fn run<T: Transport>(
    mut client: Client,
    transport: &mut T,
    mut watch: impl FnMut(Duration) -> bool,
    group: Option<&str>,
    now: impl Fn() -> Time,
    rng: &mut dyn CryptoRng,
) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Usage("chat needs a terminal: run it in one, without pipes".to_owned()));
    }
    let theme = Theme { color: Look::of_stdout(false).color };
    let failed = |e: &dyn std::error::Error| Failure::Failed(e.to_string());
    let mut session = Session::new(&mut client, rng, group, theme, Clock::local()).map_err(|e| failed(&e))?;
    // Before the terminal is taken over: a signal in between must not leave it as it is.
    let mut keys = TerminalKeys::new().map_err(|e| failed(&e))?;
    let mut screen = Screen::open().map_err(|e| failed(&e))?;
    live::live(&mut session, &mut screen.terminal, &mut keys, transport, &mut watch, &now)
}
