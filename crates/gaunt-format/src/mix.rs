//! Predicting a bit: counters that learn its probability in some context, and a mixer that learns whom to trust.

use alloc::{vec, vec::Vec};

use crate::{
    ans::{CHANCE_BITS, WHOLE},
    logistic::{MAX_ODDS, squash, stretch},
};

/// `2^22 / (n + 1.5)`.
const RATES: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < table.len() {
        table[n] = (1 << 23) / (2 * n as u32 + 3);
        n += 1;
    }
    table
};

/// The share, with 22 fractional bits, by which a counter moves that has seen `n` bits: about `1 / (n + 1.5)`.
pub(crate) fn rate(n: u16) -> u32 {
    let shift = match n {
        0..256 => 0,
        256..4096 => 4,
        _ => 8,
    };
    RATES[usize::from(n >> shift)] >> shift
}

/// An adaptive probability: the mean of the bits seen at first, later a decaying mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    /// Probability of a set bit, as a 32-bit fraction.
    p: u32,
    /// How many bits `p` stands for, and how many it may.
    n: u16,
    limit: u16,
}

impl Counter {
    /// A counter that starts at probability `p` (a 32-bit fraction), as if it had seen `n` bits; it
    /// never forgets faster than by a share of `1 / (limit + 1.5)`.
    pub(crate) fn new(p: u32, n: u16, limit: u16) -> Self {
        Self { p, n, limit }
    }

    /// The probability, in the parts of [`ans`](crate::ans): neither none nor all of them.
    pub(crate) fn chance(self) -> u32 {
        (self.p >> (32 - CHANCE_BITS)).clamp(4, WHOLE - 4)
    }

    /// Moves towards the bit that was seen, by a share of `1 / (n + 1.5)`; `n` grows up to its limit.
    pub(crate) fn learn(&mut self, bit: bool) {
        let target: u32 = if bit { u32::MAX } else { 0 };
        let step = ((i64::from(target) - i64::from(self.p)) * i64::from(rate(self.n))) >> 22;
        self.p = (i64::from(self.p) + step) as u32;
        if self.n < self.limit {
            self.n += 1;
        }
    }
}

/// A mixed prediction, with what it was made from, so that it can be learnt from.
#[derive(Clone, Debug)]
pub(crate) struct Prediction<const N: usize> {
    slots: [usize; N],
    odds: [i32; N],
    set: usize,
    p: u32,
}

impl<const N: usize> Prediction<N> {
    /// The probability of a set bit, as a 16-bit fraction.
    pub(crate) fn p(&self) -> u32 {
        self.p
    }
}

/// Mixes `N` counters per bit in the logistic domain, with weights that follow the gradient of the code length.
#[derive(Clone, Debug)]
pub(crate) struct Mixer<const N: usize> {
    counters: Vec<Counter>,
    /// One set of weights per mixing context, with 16 fractional bits.
    weights: Vec<[i32; N]>,
}

impl<const N: usize> Mixer<N> {
    /// A mixer over `counters`, with `sets` sets of weights that all start at `weights` (16 fractional bits).
    pub(crate) fn new(counters: Vec<Counter>, sets: usize, weights: [i32; N]) -> Self {
        Self { counters, weights: vec![weights; sets] }
    }

    /// Predicts from the counters in `slots`, with weights of `set`.
    pub(crate) fn predict(&self, slots: [usize; N], set: usize) -> Prediction<N> {
        let odds = slots.map(|slot| stretch(self.counters[slot].p));
        let sum: i64 = odds.iter().zip(&self.weights[set]).map(|(&o, &w)| i64::from(o) * i64::from(w)).sum();
        let mixed = (sum >> 16).clamp(-i64::from(MAX_ODDS), i64::from(MAX_ODDS)) as i32;
        Prediction { slots, odds, set, p: squash(mixed).clamp(MARGIN, 65_536 - MARGIN) }
    }

    /// Learns what the predicted bit was. Weights move by `odds * error >> rate`.
    pub(crate) fn learn(&mut self, prediction: &Prediction<N>, bit: bool, rate: u32) {
        let error = (i32::from(bit) << 16) - prediction.p as i32;
        for (weight, odds) in self.weights[prediction.set].iter_mut().zip(prediction.odds) {
            *weight = (*weight + ((odds * error + (1 << (rate - 1))) >> rate)).clamp(-MAX_WEIGHT, MAX_WEIGHT);
        }
        for slot in prediction.slots {
            self.counters[slot].learn(bit);
        }
    }
}

/// Weights stay within this: 16, with 16 fractional bits.
const MAX_WEIGHT: i32 = 16 << 16;

/// Mixed probabilities keep this distance from 0 and 1, in 1/65536. It is also what bounds how many codes a byte can hold
/// (see [`crate::limits`]): a decision costs at least `1 / 11,356` bits.
const MARGIN: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_the_mean_of_what_it_saw() {
        for limit in [255, 1023, 65_535] {
            let mut counter = Counter::new(1 << 31, 0, limit);
            (0..20_000).for_each(|i| counter.learn(i % 4 == 0));
            let p = f64::from(counter.p) / f64::from(u32::MAX);
            assert!((p - 0.25).abs() < 0.005, "{p} at limit {limit}");
        }
    }

    #[test]
    fn a_mixer_finds_out_whom_to_trust() {
        // Counter 0 has a context that decides the bit, counter 1 has none.
        let mut mixer = Mixer::new(vec![Counter::new(1 << 31, 0, 255); 3], 1, [1 << 15; 2]);
        let mut late = 0.0;
        for i in 0..4000u32 {
            let bit = i.wrapping_mul(0x9E37_79B1) >> 31 != 0;
            let prediction = mixer.predict([usize::from(bit), 2], 0);
            if i >= 3000 {
                late += crate::logistic::cost(if bit { prediction.p() } else { 65_536 - prediction.p() });
            }
            mixer.learn(&prediction, bit, 14);
        }
        assert!(late < 5.0, "{late} bits for 1000 certain ones");
    }
}
