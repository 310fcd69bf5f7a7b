//! The terminal: taken over, and given back whatever happens.

use std::io::{self, Stdout, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, poll, read};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::live::Keys;

/// How long a signal may wait until it is answered.
const GRACE: Duration = Duration::from_secs(3);

/// Whether the terminal is ours: it is given back once, so that what is reported after that stays on it.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// A terminal that is ours. Dropped, it is as it was.
pub struct Screen {
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes over the terminal. A panic gives it back before it is reported.
    pub fn open() -> io::Result<Self> {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            report(info);
        }));
        enable_raw_mode()?;
        IS_OURS.store(true, Ordering::SeqCst);
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste).inspect_err(|_| give_back())?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| give_back())?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// There is nobody to tell if it fails.
fn give_back() {
    if !IS_OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// The keys of the terminal, and the signals that ask for the end.
pub struct TerminalKeys {
    ended: Arc<AtomicBool>,
}

impl TerminalKeys {
    /// Listens. A second signal ends the process at once, should the first find nobody listening; and a signal that is not answered does, after
    /// a while: where the terminal is gone, reading from it never comes back.
    pub fn new() -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [
            SIGINT,
            SIGTERM,
            #[cfg(unix)]
            signal_hook::consts::SIGHUP,
        ] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&ended))?;
            signal_hook::flag::register(signal, Arc::clone(&ended))?;
        }
        let signalled = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !signalled.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(250));
            }
            std::thread::sleep(GRACE);
            // What is on the disk is whole, whenever this happens.
            give_back();
            std::process::exit(1);
        });
        Ok(Self { ended })
    }
}

impl Keys for TerminalKeys {
    fn next(&mut self, at_most: Duration) -> io::Result<Option<Event>> {
        match poll(at_most) {
            Ok(true) => read().map(Some),
            Ok(false) => Ok(None),
            // A signal: whoever asks next hears of it.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn is_waiting(&mut self) -> bool {
        poll(Duration::ZERO).unwrap_or(true)
    }

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
