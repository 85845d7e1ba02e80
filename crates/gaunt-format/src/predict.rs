//! Predicting one decision: adaptive counters, and a mixer that weighs several of them.
//!
//! Probabilities are 16-bit integers; the mixer works on their logits in units of 1/256 (as the lpaq family of
//! compressors does), with tables that are computed from integers alone, so every machine gets the same.

use crate::range::{Coder, PROBABILITY_BITS};

/// One, as a probability.
const ONE: i32 = 1 << PROBABILITY_BITS;
/// Logits are kept inside plus and minus this: 11 in units of 1/256.
const LOGIT_MAX: i32 = 11 * 256;
/// A counter learns at a rate of `1 / (n + 1.5)` until `n` gets here.
const COUNT_LIMIT: u8 = 250;
/// Bits of a counter beyond those of a probability.
const FINE: u32 = 12;
/// Mixed probabilities keep this distance from 0 and 1.
const MARGIN: i32 = 4;

/// `65536 / (1 + exp(-i / 256))` for `i` from 0.
static SQUASH: [u16; LOGIT_MAX as usize + 1] = squash_table();
/// Logit of `(16 i + 8) / 65536`.
static STRETCH: [i16; 4096] = stretch_table();

const fn squash_table() -> [u16; LOGIT_MAX as usize + 1] {
    // exp(1 / 256) in units of 2^-48.
    const GROWTH: u128 = 282_576_638_621_015;
    let mut table = [0; LOGIT_MAX as usize + 1];
    let mut exp: u128 = 1 << 48;
    let mut i = 0;
    while i < table.len() {
        let p = (exp << 16) / (exp + (1 << 48));
        table[i] = if p > 65535 { 65535 } else { p as u16 };
        exp = (exp * GROWTH) >> 48;
        i += 1;
    }
    table
}

const fn stretch_table() -> [i16; 4096] {
    let squash = squash_table();
    let mut table = [0; 4096];
    let mut logit = 0;
    let mut i = 2048;
    while i < 4096 {
        let p = (16 * i + 8) as u16;
        while logit < LOGIT_MAX && squash[logit as usize] < p {
            logit += 1;
        }
        table[i] = logit as i16;
        table[4095 - i] = -(logit as i16);
        i += 1;
    }
    table
}

/// Probability of a logit.
fn squash(logit: i32) -> i32 {
    let p = i32::from(SQUASH[logit.unsigned_abs().min(LOGIT_MAX as u32) as usize]);
    if logit >= 0 { p } else { ONE - p }
}

/// An adaptive probability: where it stands and how much it has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    /// In units of 2^-28, so that slow learning does not stall far from 0.
    p: u32,
    seen: u8,
}

impl Counter {
    pub(crate) const fn new(p: u16) -> Self {
        Self { p: (p as u32) << FINE, seen: 0 }
    }

    /// Logit, trusted the less the less was seen.
    fn logit(self) -> i32 {
        let seen = i32::from(self.seen);
        i32::from(STRETCH[(self.p >> (FINE + 4)) as usize]) * (4 * seen + 2) / (4 * seen + 5)
    }

    fn update(&mut self, bit: bool, limit: u8) {
        let target = if bit { (ONE << FINE) - 1 } else { 0 };
        let p = self.p as i32;
        let rate = 2 * i32::from(self.seen) + 3;
        self.p = (p + (target - p) / rate * 2) as u32;
        self.seen = if self.seen < limit { self.seen + 1 } else { limit };
    }

    /// Probability by itself, away from certainty.
    pub(crate) fn probability(self) -> u32 {
        (self.p >> FINE).clamp(32, ONE as u32 - 32)
    }

    /// Codes one decision by this counter alone.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, bit: bool) -> bool {
        let bit = coder.code(self.probability(), bit);
        self.update(bit, COUNT_LIMIT);
        bit
    }
}

/// Weighs the predictions of `N` counters; one set of weights for each of some contexts.
#[derive(Clone, Debug)]
pub(crate) struct Mixer<const N: usize> {
    weights: alloc::vec::Vec<[i32; N]>,
}

/// Weights are in units of 1/65536.
const WEIGHT_ONE: i32 = 1 << 16;
/// How fast weights move: the product of a logit and an error is shifted right by this.
const MIXER_SHIFT: u32 = 14;

impl<const N: usize> Mixer<N> {
    /// Weights that sum to a little more than one: agreeing counters know more than each of them.
    pub(crate) fn new(contexts: usize) -> Self {
        Self { weights: alloc::vec![[WEIGHT_ONE * 5 / (4 * N as i32); N]; contexts] }
    }

    /// Probability of `true`, as a 16-bit integer away from certainty.
    pub(crate) fn probability(&self, context: usize, counters: &[Counter; N]) -> u32 {
        let weights = &self.weights[context];
        let dot: i64 = counters.iter().zip(weights).map(|(c, &w)| i64::from(c.logit()) * i64::from(w)).sum();
        let logit = (dot >> 16).clamp(i64::from(-LOGIT_MAX), i64::from(LOGIT_MAX)) as i32;
        squash(logit).clamp(MARGIN, ONE - MARGIN) as u32
    }

    /// Learns the outcome of a decision that was given `p`.
    pub(crate) fn update(&mut self, context: usize, counters: &[Counter; N], p: u32, bit: bool) {
        let error = i64::from(if bit { ONE - 1 } else { 0 } - p as i32);
        for (weight, counter) in self.weights[context].iter_mut().zip(counters) {
            let delta = (i64::from(counter.logit()) * error) >> MIXER_SHIFT;
            *weight = (i64::from(*weight) + delta).clamp(-8 * i64::from(WEIGHT_ONE), 8 * i64::from(WEIGHT_ONE)) as i32;
        }
    }
}

/// Counters in `N` tables, of which a decision picks one each, and their mixer.
#[derive(Clone, Debug)]
pub(crate) struct Mixed<const N: usize> {
    tables: [alloc::vec::Vec<Counter>; N],
    mixer: Mixer<N>,
    limit: u8,
}

impl<const N: usize> Mixed<N> {
    /// Tables of the given sizes whose counters start at `p`.
    pub(crate) fn new(sizes: [usize; N], mixers: usize, p: u16, limit: u8) -> Self {
        Self { tables: sizes.map(|size| alloc::vec![Counter::new(p); size]), mixer: Mixer::new(mixers), limit }
    }

    /// Probability of `true` for the picked counters.
    pub(crate) fn probability(&self, picked: &[usize; N], context: usize) -> u32 {
        self.mixer.probability(context, &self.counters(picked))
    }

    /// Codes one decision and learns from it.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, picked: &[usize; N], context: usize, bit: bool) -> bool {
        let counters = self.counters(picked);
        let p = self.mixer.probability(context, &counters);
        let bit = coder.code(p, bit);
        self.mixer.update(context, &counters, p, bit);
        for (table, &at) in self.tables.iter_mut().zip(picked) {
            table[at].update(bit, self.limit);
        }
        bit
    }

    fn counters(&self, picked: &[usize; N]) -> [Counter; N] {
        core::array::from_fn(|i| self.tables[i][picked[i]])
    }
}

/// Bits that a decision of probability `p / 65536` costs.
pub(crate) fn bits(p: u32, bit: bool) -> f32 {
    let p = if bit { p } else { ONE as u32 - p };
    16.0 - libm::log2f(p as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squash_is_the_logistic_function() {
        for logit in (-2816..=2816).step_by(64) {
            let expected = 65536.0 / (1.0 + (-f64::from(logit) / 256.0).exp());
            assert!((f64::from(squash(logit)) - expected).abs() < 1.6, "{logit}: {} for {expected}", squash(logit));
        }
    }

    #[test]
    fn stretch_inverts_squash() {
        for i in 0..4096usize {
            let p = (16.0 * i as f64 + 8.0) / 65536.0;
            let expected = 256.0 * (p / (1.0 - p)).ln();
            assert!((f64::from(STRETCH[i]) - expected).abs() < 2.0 + expected.abs() * 0.01, "{i}");
        }
    }

    #[test]
    fn a_counter_learns_a_frequency() {
        let mut counter = Counter::new(1 << 15);
        (0..4000).for_each(|i| counter.update(i % 4 == 0, COUNT_LIMIT));
        assert!((f64::from(counter.p >> FINE) / 65536.0 - 0.25).abs() < 0.02);
    }
}
