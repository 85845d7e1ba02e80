//! Times steps: some to warm up, those that count, and a few more with the profile on.

use std::time::{Duration, Instant};

use gaunt_train::profile::{self, Entry};
use serde::Serialize;

/// Steps before those that count: buffers are filled, and processors reach their speed.
const WARM_UP: usize = 3;
/// Steps with the profile on, which costs a little: they do not count.
const PROFILED: usize = 3;

/// Takes the time whenever a step ends.
#[derive(Debug)]
pub struct Clock {
    timed: usize,
    /// When the clock was made, and when each step ended.
    marks: Vec<Instant>,
    entries: Vec<Entry>,
}

/// The part of one kind of operator in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpReport {
    /// What is done.
    pub op: &'static str,
    /// How long, in a step.
    pub ms: f64,
    /// Part of the step's time.
    pub share: f64,
    /// How often, in a step.
    pub calls: f64,
}

impl Clock {
    /// A clock that starts now, for `timed` steps that count.
    pub fn start(timed: usize) -> Self {
        Self { timed, marks: vec![Instant::now()], entries: Vec::new() }
    }

    /// Steps to take.
    pub fn steps(&self) -> usize {
        WARM_UP + self.timed + PROFILED
    }

    /// A step has ended.
    pub fn tick(&mut self) {
        self.marks.push(Instant::now());
        let done = self.marks.len() - 1;
        if done == self.steps() - PROFILED {
            profile::enable();
        } else if done == self.steps() {
            self.entries = profile::take();
        }
    }

    /// Median time of the steps that count.
    pub fn median(&self) -> Duration {
        let mut times: Vec<Duration> = self.times().skip(WARM_UP).take(self.timed).collect();
        times.sort();
        let middle = times.len() / 2;
        let around = &times[middle.saturating_sub(usize::from(times.len().is_multiple_of(2)))..=middle];
        around.iter().sum::<Duration>() / around.len() as u32
    }

    /// Where a step's time goes, the longest first; last, what no operator counted.
    pub fn ops(&self) -> Vec<OpReport> {
        let total: Duration = self.times().skip(WARM_UP + self.timed).sum();
        let counted: Duration = self.entries.iter().map(|entry| entry.time).sum();
        let other = Entry { name: "other", time: total.saturating_sub(counted), calls: PROFILED as u64 };
        let report = |&Entry { name, time, calls }: &Entry| OpReport {
            op: name,
            ms: 1e3 * time.as_secs_f64() / PROFILED as f64,
            share: time.as_secs_f64() / total.as_secs_f64(),
            calls: calls as f64 / PROFILED as f64,
        };
        self.entries.iter().chain([&other]).map(report).collect()
    }

    fn times(&self) -> impl Iterator<Item = Duration> {
        self.marks.windows(2).map(|marks| marks[1] - marks[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock whose steps took so many milliseconds.
    fn clock(timed: usize, steps: &[u64]) -> Clock {
        let mut clock = Clock::start(timed);
        for &step in steps {
            clock.marks.push(clock.marks[clock.marks.len() - 1] + Duration::from_millis(step));
        }
        clock
    }

    #[test]
    fn the_median_is_of_the_steps_that_count() {
        for (steps, median) in [(&[2][..], 2.0), (&[2, 8], 5.0), (&[9, 1, 3], 3.0), (&[1, 2, 4, 8], 3.0)] {
            let all = [&[100; WARM_UP], steps, &[200; PROFILED]].concat();
            assert_eq!(clock(steps.len(), &all).median().as_secs_f64() * 1e3, median, "{steps:?}");
        }
    }

    #[test]
    fn shares_add_up() {
        let mut clock = clock(1, &[[100; WARM_UP].as_slice(), &[50], &[10; PROFILED]].concat());
        let entry = |name, millis| Entry { name, time: Duration::from_millis(millis), calls: 2 * PROFILED as u64 };
        clock.entries = vec![entry("a", 18), entry("b", 6)];
        let ops = clock.ops();
        assert_eq!(ops.iter().map(|op| op.op).collect::<Vec<_>>(), ["a", "b", "other"]);
        assert_eq!(ops.iter().map(|op| op.share).collect::<Vec<_>>(), [0.6, 0.2, 0.2]);
        assert_eq!((ops[0].ms, ops[0].calls), (6.0, 2.0));
    }
}
