//! The entropy coder of tensors: range asymmetric numeral systems (Duda, *Asymmetric numeral systems*, 2013), in integers only.
//!
//! A decision takes a part of 32768; a state of 32 bits swallows it, and spills 16 bits when it is full. Tensors of some size
//! have two states that take turns, so that the processor works at one while it waits for the other. An encoder works from the last decision to the
//! first and notes all of them before; a decoder ends in the state from which the encoder began, or the stream was none of ours.

use alloc::vec::Vec;

/// Bits of a part.
pub(crate) const CHANCE_BITS: u32 = 15;
/// All parts together.
pub(crate) const WHOLE: u32 = 1 << CHANCE_BITS;
/// Symbols that one decision tells apart.
pub(crate) const SYMBOLS: usize = 16;
/// Symbols that are decided at once, each in its lane.
pub(crate) const LANES: usize = 16;
/// Something for each lane.
pub(crate) type Lanes<T> = [T; LANES];
/// Decisions that two states pay from: they cost four bytes.
const ENOUGH: usize = 2048;
/// States are refilled below this.
const REFILL: u32 = 1 << 16;
/// Plain bits in one decision.
const PLAIN_BITS: u32 = 8;

/// Bits of a place that say nearly always which symbol's part holds it.
const GUESS_BITS: u32 = 7;
const GUESSES: usize = 1 << GUESS_BITS;
/// Places with the same highest bits.
const APART: usize = 1 << (CHANCE_BITS - GUESS_BITS);

/// A distribution over symbols: where the part of each begins, and its length, which is at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    starts: [u16; SYMBOLS],
    lengths: [u16; SYMBOLS],
    /// The first symbol whose part holds a place of these highest bits.
    guesses: [u8; GUESSES],
}

impl Parts {
    /// Of no use yet.
    pub(crate) const NONE: Self = Self { starts: [0; SYMBOLS], lengths: [0; SYMBOLS], guesses: [0; GUESSES] };

    /// Where parts end; the last end is [`WHOLE`].
    pub(crate) fn set(&mut self, ends: &[u16; SYMBOLS]) {
        let mut start = 0;
        let mut begun = [0; GUESSES];
        for (symbol, &end) in ends.iter().enumerate() {
            (self.starts[symbol], self.lengths[symbol]) = (start, end - start);
            start = end;
            if let Some(begun) = begun.get_mut(usize::from(end).div_ceil(APART)) {
                *begun += 1;
            }
        }
        // Sums up to each byte, of eight bytes at once by a multiplication.
        let mut before = 0;
        for (guesses, begun) in self.guesses.as_chunks_mut::<8>().0.iter_mut().zip(begun.as_chunks::<8>().0) {
            let sums = (u64::from_le_bytes(*begun) + before).wrapping_mul(0x0101_0101_0101_0101);
            *guesses = sums.to_le_bytes();
            before = sums >> 56;
        }
    }

    pub(crate) fn length(&self, symbol: u8) -> u32 {
        u32::from(self.lengths[usize::from(symbol) & (SYMBOLS - 1)])
    }

    /// The symbol whose part holds the place, with that part.
    #[inline(always)]
    fn at(&self, place: u32) -> (usize, u32, u32) {
        let mut symbol = usize::from(self.guesses[(place >> (CHANCE_BITS - GUESS_BITS)) as usize & (GUESSES - 1)]);
        loop {
            symbol &= SYMBOLS - 1;
            let (start, length) = (u32::from(self.starts[symbol]), u32::from(self.lengths[symbol]));
            if place < start + length || symbol == SYMBOLS - 1 {
                return (symbol, start, length);
            }
            symbol += 1;
        }
    }
}

/// Something that decisions go through: written, read or only counted. What a reader is given to write, it ignores. The *lane*
/// of a decision says by its lowest bit which state takes it.
pub(crate) trait Coder {
    /// Whether decisions are found rather than given.
    const READS: bool = false;

    /// Codes one decision of which `true` has the probability `p / 32768`, `0 < p < 32768`. Returns the decision.
    fn bit(&mut self, lane: usize, p: u32, bit: bool) -> bool;

    /// Codes the lowest `count` bits, 8 at most, of `value` without a model. Returns them.
    fn few_plain(&mut self, lane: usize, value: u32, count: u32) -> u32;

    /// Codes one symbol for each lane, by the distribution that was picked for it.
    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut [u8]);

    /// Whether what is read cannot have been written.
    fn is_broken(&self) -> bool {
        false
    }

    /// Codes the lowest `count` bits of `value`, highest first, without a model. Returns them.
    fn plain(&mut self, lane: usize, value: u32, count: u32) -> u32 {
        let (mut read, mut left) = (0, count);
        while left > 0 {
            let few = left.min(PLAIN_BITS);
            left -= few;
            read = read << few | self.few_plain(lane, value >> left & ((1 << few) - 1), few);
        }
        read
    }
}

/// Whether a stream of so many numbers has two states.
fn has_two_states(numbers: usize) -> bool {
    numbers >= ENOUGH
}

/// Which state takes a decision.
fn state_of(two: bool, lane: usize) -> usize {
    if two { lane & 1 } else { 0 }
}

/// Where states begin, seen from the encoder. One that is alone may begin with nothing: there is no other whose words it could take.
fn first_state(two: bool) -> u32 {
    if two { REFILL } else { 1 }
}

/// Notes decisions, and writes them all at the end.
pub(crate) struct Encoder {
    /// Of each decision, where its part begins, its length from bit 15 on, its state in bit 30.
    decisions: Vec<u32>,
    two: bool,
}

impl Encoder {
    /// For a stream of so many numbers.
    pub(crate) fn new(numbers: usize) -> Self {
        Self { decisions: Vec::new(), two: has_two_states(numbers) }
    }

    #[inline(always)]
    fn note(&mut self, lane: usize, start: u32, length: u32) {
        let state = state_of(self.two, lane) as u32;
        self.decisions.push(start | length << CHANCE_BITS | state << (2 * CHANCE_BITS));
    }

    /// Ends the stream and returns its bytes; none if there was no decision.
    pub(crate) fn finish(self) -> Vec<u8> {
        if self.decisions.is_empty() {
            return Vec::new();
        }
        let mut states = [first_state(self.two); 2];
        let mut words: Vec<u16> = Vec::new();
        for &decision in self.decisions.iter().rev() {
            let (start, length) = (decision & (WHOLE - 1), decision >> CHANCE_BITS & (WHOLE - 1));
            let state = &mut states[(decision >> (2 * CHANCE_BITS)) as usize];
            if *state >= length << (32 - CHANCE_BITS) {
                words.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / length) << CHANCE_BITS) + *state % length + start;
        }
        let count = if self.two { 2 } else { 1 };
        let mut bytes: Vec<u8> = states[..count].iter().flat_map(|state| state.to_le_bytes()).collect();
        while words.is_empty() && !self.two && bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
        bytes
    }
}

impl Coder for Encoder {
    #[inline(always)]
    fn bit(&mut self, lane: usize, p: u32, bit: bool) -> bool {
        if bit {
            self.note(lane, 0, p)
        } else {
            self.note(lane, p, WHOLE - p)
        }
        bit
    }

    fn few_plain(&mut self, lane: usize, value: u32, count: u32) -> u32 {
        self.note(lane, value << (CHANCE_BITS - count), 1 << (CHANCE_BITS - count));
        value
    }

    #[inline(always)]
    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut [u8]) {
        for (lane, (&cell, symbol)) in picked.iter().zip(symbols).enumerate() {
            let (parts, symbol) = (&parts[cell as usize], usize::from(*symbol) & (SYMBOLS - 1));
            self.note(lane, u32::from(parts.starts[symbol]), u32::from(parts.lengths[symbol]));
        }
    }
}

/// Writes nothing: for a model that only learns.
pub(crate) struct Discard;

impl Coder for Discard {
    fn bit(&mut self, _: usize, _: u32, bit: bool) -> bool {
        bit
    }

    fn few_plain(&mut self, _: usize, value: u32, _: u32) -> u32 {
        value
    }

    fn symbols(&mut self, _: &[Parts], _: &[i16], _: &mut [u8]) {}
}

/// Reads decisions.
pub(crate) struct Decoder<'a> {
    states: [u32; 2],
    two: bool,
    /// The words to come.
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Of a stream of so many numbers.
    pub(crate) fn new(bytes: &'a [u8], numbers: usize) -> Self {
        let two = has_two_states(numbers);
        let first = first_state(two);
        if bytes.is_empty() {
            return Self { states: [first; 2], two, bytes };
        }
        let (head, bytes) = bytes.split_at_checked(if two { 8 } else { 4 }).unwrap_or((bytes, &[]));
        let state = |bytes: &[u8]| bytes.iter().rev().fold(0, |state, &byte| state << 8 | u32::from(byte));
        let (a, b) = head.split_at_checked(4).unwrap_or((head, &[]));
        Self { states: [state(a), if two { state(b) } else { first }], two, bytes }
    }

    /// Whether all was read that was written.
    pub(crate) fn is_complete(&self) -> bool {
        self.bytes.is_empty() && self.states == [first_state(self.two); 2]
    }

    /// Takes the part out of the state, whose lowest bits are the place in it.
    #[inline(always)]
    fn take(&mut self, lane: usize, start: u32, length: u32) {
        let state = &mut self.states[state_of(self.two, lane)];
        *state = length * (*state >> CHANCE_BITS) + (*state & (WHOLE - 1)) - start;
        if *state < REFILL
            && let Some((word, rest)) = self.bytes.split_first_chunk()
        {
            *state = *state << 16 | u32::from(u16::from_le_bytes(*word));
            self.bytes = rest;
        }
    }

    /// The next words, as many as lanes can take, and how many of them there are.
    #[inline(always)]
    fn words(&self) -> (Lanes<u16>, usize) {
        let mut words = [0; LANES];
        let pairs = self.bytes.as_chunks::<2>().0;
        if let Some(full) = pairs.first_chunk::<LANES>() {
            return (full.map(u16::from_le_bytes), LANES);
        }
        words.iter_mut().zip(pairs).for_each(|(word, pair)| *word = u16::from_le_bytes(*pair));
        (words, pairs.len())
    }

    #[inline(always)]
    fn read_symbols<const TWO: bool>(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut [u8]) {
        let (words, count) = self.words();
        let mut used = 0;
        // The state that is next, and the other one.
        let [mut next, mut other] = self.states;
        for (&cell, symbol) in picked.iter().zip(symbols.iter_mut()) {
            let parts = &parts[cell as usize];
            let place = next & (WHOLE - 1);
            let (found, start, length) = parts.at(place);
            *symbol = found as u8;
            let taken = length * (next >> CHANCE_BITS) + place - start;
            let refill = taken < REFILL && used < count;
            let filled = if refill { taken << 16 | u32::from(words[used & (LANES - 1)]) } else { taken };
            used += usize::from(refill);
            (next, other) = if TWO { (other, filled) } else { (filled, other) };
        }
        self.states = if TWO && picked.len() % 2 == 1 { [other, next] } else { [next, other] };
        self.bytes = &self.bytes[2 * used..];
    }
}

impl Coder for Decoder<'_> {
    const READS: bool = true;

    #[inline(always)]
    fn bit(&mut self, lane: usize, p: u32, _: bool) -> bool {
        let bit = self.states[state_of(self.two, lane)] & (WHOLE - 1) < p;
        let (start, length) = if bit { (0, p) } else { (p, WHOLE - p) };
        self.take(lane, start, length);
        bit
    }

    fn few_plain(&mut self, lane: usize, _: u32, count: u32) -> u32 {
        let shift = CHANCE_BITS - count;
        let value = (self.states[state_of(self.two, lane)] & (WHOLE - 1)) >> shift;
        self.take(lane, value << shift, 1 << shift);
        value
    }

    #[inline(always)]
    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut [u8]) {
        if self.two {
            self.read_symbols::<true>(parts, picked, symbols);
        } else {
            self.read_symbols::<false>(parts, picked, symbols);
        }
    }

    fn is_broken(&self) -> bool {
        let least = first_state(self.two);
        self.states.iter().any(|&state| state < least)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One symbol has nearly everything.
    fn parts(likely: usize) -> Parts {
        let mut parts = Parts::NONE;
        parts.set(&core::array::from_fn(|symbol| symbol as u16 + if symbol < likely { 1 } else { 32_753 }));
        parts
    }

    #[derive(Clone, Debug)]
    enum Decision {
        Bit(usize, u32, bool),
        Plain(usize, u32),
        Symbols(Vec<(i16, u8)>),
    }

    fn decision() -> impl Strategy<Value = Decision> {
        prop_oneof![
            (0usize..16, 1u32..WHOLE, any::<bool>()).prop_map(|(lane, p, bit)| Decision::Bit(lane, p, bit)),
            (0usize..16, any::<u32>()).prop_map(|(lane, value)| Decision::Plain(lane, value)),
            prop::collection::vec((0i16..16, 0u8..16), 1..=LANES).prop_map(Decision::Symbols),
        ]
    }

    fn code(coder: &mut impl Coder, decisions: &[Decision], known: bool) -> Vec<Decision> {
        let table: Vec<Parts> = (0..SYMBOLS).map(parts).collect();
        let mut code = |decision: &Decision| match decision {
            &Decision::Bit(lane, p, bit) => Decision::Bit(lane, p, coder.bit(lane, p, known && bit)),
            &Decision::Plain(lane, value) => {
                Decision::Plain(lane, coder.plain(lane, if known { value } else { 0 }, 32))
            }
            Decision::Symbols(lanes) => {
                let picked: Vec<i16> = lanes.iter().map(|lane| lane.0).collect();
                let mut symbols: Vec<u8> = lanes.iter().map(|lane| if known { lane.1 } else { 0 }).collect();
                coder.symbols(&table, &picked, &mut symbols);
                Decision::Symbols(picked.into_iter().zip(symbols).collect())
            }
        };
        decisions.iter().map(&mut code).collect()
    }

    proptest! {
        #[test]
        fn decisions_come_back(decisions in prop::collection::vec(decision(), 0..300), numbers in prop_oneof![Just(1), Just(1 << 20)]) {
            let mut encoder = Encoder::new(numbers);
            code(&mut encoder, &decisions, true);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes, numbers);
            let back = code(&mut decoder, &decisions, false);
            prop_assert_eq!(alloc::format!("{back:?}"), alloc::format!("{decisions:?}"));
            prop_assert!(decoder.is_complete() && !decoder.is_broken());
            if numbers > 1 && bytes.len() > 8 {
                let mut decoder = Decoder::new(&bytes[..bytes.len() - 2], numbers);
                code(&mut decoder, &decisions, false);
                prop_assert!(!decoder.is_complete(), "a cut stream is no whole one");
            }
        }
    }

    #[test]
    fn certain_decisions_cost_next_to_nothing() {
        let mut encoder = Encoder::new(1);
        (0..10_000).for_each(|lane| {
            encoder.bit(lane, WHOLE - 1, true);
        });
        assert!(encoder.finish().len() <= 2);
        assert!(Encoder::new(1 << 20).finish().is_empty());
    }

    #[test]
    fn symbols_are_found_by_their_place() {
        for likely in 0..SYMBOLS {
            let parts = parts(likely);
            for (symbol, (&start, &length)) in parts.starts.iter().zip(&parts.lengths).enumerate() {
                for place in [start, start + length - 1] {
                    assert_eq!(parts.at(u32::from(place)), (symbol, u32::from(start), u32::from(length)));
                }
            }
        }
    }
}
