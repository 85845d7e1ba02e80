//! A binary range coder: one decision at a time, with a 16-bit probability, in integers only.
//!
//! The encoder keeps a 32-bit range and a 64-bit low end; carries run through a cached byte, as in LZMA. It starts
//! with no spare byte and ends with as few as tell the last interval apart; a decoder that runs past the end reads zeros.

use alloc::vec::Vec;

/// Bits of a probability.
pub(crate) const PROBABILITY_BITS: u32 = 16;
/// The range is refilled below this.
const REFILL: u32 = 1 << 24;

/// Something that decisions go through: written, read or only counted.
pub(crate) trait Coder {
    /// Codes one decision of which `true` has the probability `p / 65536`, `0 < p < 65536`. A writer writes `bit`; a
    /// reader ignores it. Returns the decision.
    fn code(&mut self, p: u32, bit: bool) -> bool;
}

/// Writes decisions.
pub(crate) struct Encoder {
    low: u64,
    range: u32,
    /// The last byte that a carry may still change, and how many 0xFF follow it.
    cache: Option<u8>,
    pending: u64,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { low: 0, range: u32::MAX, cache: None, pending: 0, bytes: Vec::new() }
    }

    /// Ends the stream and returns its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // Any number in [low, low + range) will do: take the one with the most trailing zero bits.
        let top = self.low + u64::from(self.range) - 1;
        let rounded = |zeros: u32| self.low.next_multiple_of(1 << zeros);
        let zeros = (0..=32).rev().find(|&zeros| rounded(zeros) <= top).unwrap_or(0);
        self.low = rounded(zeros);
        for _ in 0..5 {
            self.shift();
        }
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }

    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        if (self.low as u32) < 0xFF00_0000 || carry != 0 {
            if let Some(cache) = self.cache {
                self.bytes.push(cache.wrapping_add(carry));
            }
            for _ in 0..self.pending {
                self.bytes.push(0xFFu8.wrapping_add(carry));
            }
            self.pending = 0;
            self.cache = Some((self.low >> 24) as u8);
        } else {
            self.pending += 1;
        }
        self.low = (self.low << 8) & 0xFFFF_FFFF;
    }
}

impl Coder for Encoder {
    fn code(&mut self, p: u32, bit: bool) -> bool {
        let bound = split(self.range, p);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < REFILL {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

/// Writes nothing: for a model that only learns.
pub(crate) struct Discard;

impl Coder for Discard {
    fn code(&mut self, _: u32, bit: bool) -> bool {
        bit
    }
}

/// Codes the lowest `count` bits of `value`, highest first, without a model; a reader's `value` is ignored.
pub(crate) fn code_plain(coder: &mut impl Coder, value: u32, count: u32) -> u32 {
    (0..count)
        .rev()
        .fold(0, |read, i| read << 1 | u32::from(coder.code(1 << (PROBABILITY_BITS - 1), value >> i & 1 != 0)))
}

/// The part of the range that belongs to a set bit: neither empty nor all of it.
fn split(range: u32, p: u32) -> u32 {
    ((u64::from(range) * u64::from(p)) >> PROBABILITY_BITS) as u32
}

/// Reads decisions.
pub(crate) struct Decoder<'a> {
    value: u32,
    range: u32,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { value: 0, range: u32::MAX, bytes, at: 0 };
        for _ in 0..4 {
            decoder.shift();
        }
        decoder
    }

    /// Whether more bytes were used than there are, beyond what an encoder leaves out.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.at > self.bytes.len() + 5
    }

    fn shift(&mut self) {
        self.value = self.value << 8 | u32::from(self.bytes.get(self.at).copied().unwrap_or(0));
        self.at += 1;
    }
}

impl Coder for Decoder<'_> {
    fn code(&mut self, p: u32, _: bool) -> bool {
        let bound = split(self.range, p);
        let bit = self.value < bound;
        if bit {
            self.range = bound;
        } else {
            self.value -= bound;
            self.range -= bound;
        }
        while self.range < REFILL {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decisions_come_back(decisions in prop::collection::vec((1u32..65536, any::<bool>()), 0..600)) {
            let mut encoder = Encoder::new();
            decisions.iter().for_each(|&(p, bit)| { encoder.code(p, bit); });
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            for &(p, bit) in &decisions {
                prop_assert_eq!(decoder.code(p, false), bit);
            }
            prop_assert!(!decoder.is_exhausted());
        }

        /// Long runs of near-certain decisions, so that carries run far.
        #[test]
        fn carries_run_through(first in 1u32..65536, run in 1usize..2000) {
            let decisions: Vec<(u32, bool)> =
                core::iter::once((first, false)).chain((0..run).map(|i| (65535, i % 997 != 996))).collect();
            let mut encoder = Encoder::new();
            decisions.iter().for_each(|&(p, bit)| { encoder.code(p, bit); });
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            for &(p, bit) in &decisions {
                prop_assert_eq!(decoder.code(p, false), bit);
            }
        }
    }

    #[test]
    fn certain_decisions_cost_next_to_nothing() {
        let mut encoder = Encoder::new();
        (0..10_000).for_each(|_| {
            encoder.code(65535, true);
        });
        assert!(encoder.finish().len() <= 2);
        assert!(Encoder::new().finish().is_empty());
    }
}
