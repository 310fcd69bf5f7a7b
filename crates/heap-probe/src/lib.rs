//! An allocator that remembers what is in each block when it is given back, so that a test can look for secrets there.
//!
//! Growing a block always moves it: where the system would not, another day it does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

/// The allocator: make it the global one.
pub struct Probe;

thread_local! {
    /// Whether this thread is inside of [`watch`], and not inside of the probe itself.
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What was freed while somebody watched, one block after the other.
static FREED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

// SAFETY: everything is the system's allocator; `realloc` is the default one, which allocates, copies and frees.
unsafe impl GlobalAlloc for Probe {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract of `alloc`. Zeroed, so that all of a block may be read later.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WATCHING.replace(false) {
            // SAFETY: the block is still allocated, `size` bytes long, nobody else may use it any more, and all of it was
            // written when it was allocated.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            if bytes.iter().any(|byte| *byte != 0) {
                FREED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            }
            WATCHING.set(true);
        }
        // SAFETY: the caller keeps to the contract of `dealloc`, and the block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Remembers what this thread frees in `work`.
pub fn watch<T>(work: impl FnOnce() -> T) -> T {
    WATCHING.set(true);
    let result = work();
    WATCHING.set(false);
    result
}

/// The names of the secrets that are in something freed since this was asked last. Each is at least 8 bytes long.
pub fn found(secrets: &[(String, Vec<u8>)]) -> Vec<&str> {
    let freed = std::mem::take(&mut *FREED.lock().unwrap_or_else(PoisonError::into_inner));
    let start = |bytes: &[u8]| bytes.first_chunk::<8>().copied();
    let mut sorted: Vec<_> = secrets.iter().filter_map(|s| Some((start(&s.1)?, s))).collect();
    sorted.sort();
    let mut found = Vec::new();
    for at in 0..freed.len() {
        let Some(window) = start(&freed[at..]) else { break };
        let from = sorted.partition_point(|(start, _)| *start < window);
        let same = sorted[from..].iter().take_while(|(start, _)| *start == window);
        found.extend(same.filter(|(_, s)| freed[at..].starts_with(&s.1)).map(|(_, s)| s.0.as_str()));
    }
    found.sort_unstable();
    found.dedup();
    found
}
