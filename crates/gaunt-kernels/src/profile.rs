//! Where the time goes: a stopwatch for each kind of operator, off unless it is asked for.
//!
//! A timer counts from [`timer`] to the end of its scope, less what timers within count on the same thread: the times
//! add up, and what is missing was in none of them. Time that other threads help is time of the thread that waits.
//!
//! ```
//! use gaunt_kernels::profile;
//!
//! profile::enable();
//! {
//!     let _timer = profile::timer("conv2d forward");
//! }
//! let entries = profile::take();
//! assert_eq!((entries[0].name, entries[0].calls), ("conv2d forward", 1));
//! assert!(profile::take().is_empty());
//! ```

use std::{
    cell::Cell,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Whether timers count.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// What was counted; names are so few that a search costs less than a hash.
static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// What timers that have ended counted within the innermost that runs.
    static INNER: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What the timers of one name have counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was done.
    pub name: &'static str,
    /// How long it took, without the timers within.
    pub time: Duration,
    /// How often it was done.
    pub calls: u64,
}

/// Counts from now on, from zero.
pub fn enable() {
    entries().clear();
    ENABLED.store(true, Ordering::Relaxed);
}

/// Stops counting and hands out what was counted since [`enable`], the longest first.
pub fn take() -> Vec<Entry> {
    ENABLED.store(false, Ordering::Relaxed);
    let mut entries = std::mem::take(&mut *self::entries());
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.time));
    entries
}

/// Counts for `name` until it is dropped; nothing, and at the cost of a load, while counting is off.
#[must_use = "a timer counts until it is dropped"]
pub fn timer(name: &'static str) -> Timer {
    let enabled = ENABLED.load(Ordering::Relaxed);
    Timer(enabled.then(|| Running { name, outer: INNER.replace(Duration::ZERO), start: Instant::now() }))
}

/// A stopwatch; see [`timer`].
#[derive(Debug)]
pub struct Timer(Option<Running>);

#[derive(Debug)]
struct Running {
    name: &'static str,
    /// What had been counted within the timer around this one.
    outer: Duration,
    start: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(Running { name, outer, start }) = self.0.take() else { return };
        let elapsed = start.elapsed();
        let own = elapsed.saturating_sub(INNER.replace(outer + elapsed));
        let mut entries = entries();
        match entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => {
                entry.time += own;
                entry.calls += 1;
            }
            None => entries.push(Entry { name, time: own, calls: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    const NAP: Duration = Duration::from_millis(20);

    /// One test, since the stopwatches are the process's: other tests' operators may be among the entries.
    #[test]
    fn times_exclude_what_is_within_and_nothing_counts_when_off() {
        let of = |entries: &[Entry], name| entries.iter().find(|entry| entry.name == name).copied();
        drop(timer("test: off"));
        enable();
        let start = Instant::now();
        {
            let _outer = timer("test: outer");
            sleep(NAP);
            for _ in 0..2 {
                let _inner = timer("test: inner");
                sleep(NAP);
            }
        }
        let total = start.elapsed();
        let entries = take();
        assert_eq!(of(&entries, "test: off"), None);
        let (outer, inner) = (of(&entries, "test: outer").unwrap(), of(&entries, "test: inner").unwrap());
        assert_eq!((outer.calls, inner.calls), (1, 2));
        assert!(outer.time >= NAP && inner.time >= 2 * NAP, "{entries:?}");
        assert!(outer.time + inner.time <= total, "{entries:?} in {total:?}");
        assert!(entries.is_sorted_by(|a, b| a.time >= b.time));
        drop(timer("test: off"));
        assert_eq!(of(&take(), "test: off"), None);
    }
}
