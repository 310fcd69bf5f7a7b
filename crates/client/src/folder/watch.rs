//! When to look again: the operating system says so, and a clock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::layout;

/// How often to look although nothing was told: network drives tell nobody what others write.
const EVERY: Duration = Duration::from_secs(5);

/// Tells when something new may be in a folder.
pub struct Watch {
    told: Receiver<()>,
    /// So that the other end of the channel stays, also without a watcher.
    _tell: SyncSender<()>,
    watcher: Option<RecommendedWatcher>,
    every: Duration,
    /// When we last said that there may be something.
    last: Instant,
}

impl Watch {
    /// If the operating system does not watch (it has a limit, or does not know how), the clock must do.
    pub(super) fn new(root: &Path) -> Self {
        let (tell, told) = sync_channel(1);
        let watcher = watcher(root, tell.clone());
        Self { told, _tell: tell, watcher, every: EVERY, last: now() }
    }

    /// Looks this often although nothing was told. Without this it is every 5 seconds.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Whether the operating system watches. If not, only the clock tells.
    ///
    /// It may watch and not tell all the same: of a network drive it tells what this machine writes.
    pub fn is_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Waits until something new may be in the folder, but not longer than this. Says whether it may.
    ///
    /// What came before this call and after the last one counts. What we publish ourselves is told, too.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let until_next = self.every.saturating_sub(self.last.elapsed());
        let told = self.told.recv_timeout(at_most.min(until_next)).is_ok();
        let may_be = told || self.last.elapsed() >= self.every;
        if may_be {
            self.last = now();
        }
        may_be
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("is_told", &self.is_told()).field("every", &self.every).finish()
    }
}

fn watcher(root: &Path, tell: SyncSender<()>) -> Option<RecommendedWatcher> {
    let heard = move |event: notify::Result<Event>| {
        // An error may mean that events were lost.
        if event.as_ref().map_or(true, matters) {
            // It fails if a message waits already: one is enough.
            let _ = tell.try_send(());
        }
    };
    let config = Config::default().with_follow_symlinks(false);
    let mut watcher = RecommendedWatcher::new(heard, config).ok()?;
    watcher.watch(root, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}

/// Whether there can be something new after an event. Not if somebody only read: we do, after each event.
fn matters(event: &Event) -> bool {
    let is_change = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Remove(_) => false,
        _ => true,
    };
    let is_silent =
        |path: &PathBuf| path.file_name().is_some_and(|name| layout::is_silent(&name.to_string_lossy()));
    let is_ours = event.paths.is_empty() || !event.paths.iter().all(is_silent);
    event.need_rescan() || is_change && is_ours
}

#[allow(clippy::disallowed_methods, reason = "a wait is all that this measures")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use notify::event::{AccessKind, AccessMode, CreateKind, Flag, RemoveKind};
    use notify::{Event, EventKind};

    use super::{Watch, matters, now};

    const LONG: Duration = Duration::from_secs(600);

    fn without_watcher(every: Duration) -> Watch {
        let (tell, told) = sync_channel(1);
        Watch { told, _tell: tell, watcher: None, every, last: now() }
    }

    #[test]
    fn the_clock_tells() {
        let mut watch = without_watcher(Duration::from_millis(50));
        let start = now();
        assert!(watch.wait(LONG) && watch.wait(LONG));
        assert!(start.elapsed() >= Duration::from_millis(100), "twice as long as the interval");
        assert!(start.elapsed() < LONG);
        assert!(!watch.is_told());
    }

    /// Short waits add up to the interval, and each really waits.
    #[test]
    fn short_waits() {
        let mut watch = without_watcher(Duration::from_millis(200));
        let start = now();
        let mut waits = 1;
        while !watch.wait(Duration::from_millis(50)) {
            waits += 1;
        }
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert!(waits <= 5, "{waits}: a loop that is busy");
    }

    #[test]
    fn which_events_matter() {
        let event = |kind| Event::new(kind);
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let create = EventKind::Create(CreateKind::File);
        assert!(matters(&event(create).add_path("people/ab/ab".into())));
        assert!(matters(&event(close).add_path("people/ab/ab".into())));
        assert!(!matters(&event(open).add_path("people/ab/ab".into())), "reading would wake the reader");
        assert!(!matters(&event(EventKind::Remove(RemoveKind::File)).add_path("people/ab/ab".into())));
        assert!(!matters(&event(create).add_path("tmp/~syncthing~dmls-1-1.tmp".into())));
        let renamed = event(create).add_path("tmp/~syncthing~dmls-1-1.tmp".into());
        assert!(matters(&renamed.add_path("people/ab/ab".into())));
        assert!(matters(&event(EventKind::Any)), "no path says that nothing is new");
        assert!(matters(&event(open).set_flag(Flag::Rescan)), "events were lost");
    }
}
