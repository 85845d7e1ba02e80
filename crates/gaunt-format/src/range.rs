//! A binary range coder: one decision at a time, with a 16-bit probability, in integers only.
//!
//! The encoder keeps a 32-bit range and a 64-bit low end; carries run through a cached byte, as in LZMA. It starts
//! with no spare byte and ends with as few as tell the last interval apart; a decoder that runs past the end reads zeros.

use alloc::vec::Vec;

/// Bits of a probability.
const PROBABILITY_BITS: u32 = 16;
/// Zero bytes that an encoder leaves out at the end, at most. (Any number would do but for the reader, who could not tell
/// a stream that was cut.)
const SPARED: usize = 4;
/// The range is refilled below this.
const REFILL: u32 = 1 << 24;

/// Something that decisions go through: written or read. What a reader is given to write, it ignores.
pub(crate) trait Coder {
    /// Codes one decision of which `true` has the probability `p / 65536`, `0 < p < 65536`. Returns the decision.
    fn code(&mut self, p: u32, bit: bool) -> bool;

    /// Whether more was read than was written, beyond what an encoder leaves out.
    fn is_exhausted(&self) -> bool {
        false
    }
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
        for _ in 0..SPARED {
            if self.bytes.last() == Some(&0) {
                self.bytes.pop();
            }
        }
        self.bytes
    }

    fn refill(&mut self) {
        while self.range < REFILL {
            self.range <<= 8;
            self.shift();
        }
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
        self.refill();
        bit
    }
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
        decoder.value = decoder.next_four();
        decoder.at = 4;
        decoder
    }

    #[inline(always)]
    /// The four bytes to come, highest first; behind the end there are zeros.
    fn next_four(&self) -> u32 {
        match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(four) => u32::from_be_bytes(*four),
            None => (self.at..self.at + 4)
                .fold(0, |four, at| four << 8 | u32::from(self.bytes.get(at).copied().unwrap_or(0))),
        }
    }

    #[inline(always)]
    /// Brings the range back above [`REFILL`], by as many bytes as it takes at once: a loop would branch on chance.
    fn refill(&mut self) {
        let missing = self.range.leading_zeros() / 8;
        let bits = 8 * missing;
        self.range <<= bits;
        self.value = self.value << bits | (u64::from(self.next_four()) << bits >> 32) as u32;
        self.at += missing as usize;
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
        self.refill();
        bit
    }

    fn is_exhausted(&self) -> bool {
        self.at > self.bytes.len() + SPARED + 1
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
