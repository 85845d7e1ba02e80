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

/// Stands for a symbol of a distribution that is not known.
pub(crate) const UNKNOWN: u8 = SYMBOLS as u8;

/// Bits of a place that say nearly always which symbol's part holds it.
const GUESS_BITS: u32 = 7;
const GUESSES: usize = 1 << GUESS_BITS;
/// Places with the same highest bits.
const APART: usize = 1 << (CHANCE_BITS - GUESS_BITS);

/// Room for starts: a power of two beyond their number, so that masked places are inside.
const STARTS: usize = 2 * SYMBOLS;

/// A distribution over symbols: where the part of each begins, and at last where they end. A part has a length of at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    starts: [u16; STARTS],
    /// The symbol after the first one whose part holds a place of these highest bits.
    guesses: [u8; GUESSES],
}

impl Parts {
    /// Of no use yet: all places are those of [`UNKNOWN`].
    pub(crate) const NONE: Self = Self { starts: [WHOLE as u16; STARTS], guesses: [UNKNOWN + 1; GUESSES] };

    fn are_known(&self) -> bool {
        self.starts[0] == 0
    }

    /// Where parts end; the last end is [`WHOLE`].
    pub(crate) fn set(&mut self, ends: &[u16; SYMBOLS]) {
        self.starts[0] = 0;
        self.starts[1..=SYMBOLS].copy_from_slice(ends);
        let mut begun = [0; GUESSES];
        for &end in ends {
            if let Some(begun) = begun.get_mut(usize::from(end).div_ceil(APART)) {
                *begun += 1;
            }
        }
        // Sums up to each byte, of eight bytes at once by a multiplication.
        let mut before = 1;
        for (guesses, begun) in self.guesses.as_chunks_mut::<8>().0.iter_mut().zip(begun.as_chunks::<8>().0) {
            let sums = (u64::from_le_bytes(*begun) + before).wrapping_mul(0x0101_0101_0101_0101);
            *guesses = sums.to_le_bytes();
            before = sums >> 56;
        }
    }

    /// Where the part of a symbol begins, and its length.
    #[inline(always)]
    fn part(&self, symbol: usize) -> (u32, u32) {
        let symbol = symbol & (SYMBOLS - 1);
        let (start, end) = (u32::from(self.starts[symbol]), u32::from(self.starts[symbol + 1]));
        (start, end - start)
    }

    pub(crate) fn length(&self, symbol: u8) -> u32 {
        self.part(usize::from(symbol)).1
    }

    /// The symbol whose part holds the place, where that begins and its length.
    #[inline(always)]
    fn at(&self, place: u32) -> (usize, u32, u32) {
        let start_of = |symbol: usize| u32::from(self.starts[symbol & (STARTS - 1)]);
        let mut next = usize::from(self.guesses[(place >> (CHANCE_BITS - GUESS_BITS)) as usize & (GUESSES - 1)]);
        while place >= start_of(next) {
            next += 1;
        }
        let start = start_of(next - 1);
        (next - 1, start, start_of(next) - start)
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

    /// Codes a symbol in each of the first lanes, by the distribution that was picked for it; the others are zero. Returns the highest
    /// one. If a distribution is not known, that is [`UNKNOWN`] and nothing is coded.
    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut Lanes<u8>) -> u8;

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

fn are_known(parts: &[Parts], picked: &[i16]) -> bool {
    picked.iter().all(|&cell| parts[cell as usize].are_known())
}

#[inline(always)]
fn highest(symbols: &Lanes<u8>) -> u8 {
    symbols.iter().fold(0, |highest, &symbol| highest.max(symbol))
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
    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut Lanes<u8>) -> u8 {
        if !are_known(parts, picked) {
            return UNKNOWN;
        }
        for (lane, (&cell, &symbol)) in picked.iter().zip(&*symbols).enumerate() {
            let (start, length) = parts[cell as usize].part(usize::from(symbol));
            self.note(lane, start, length);
        }
        highest(symbols)
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

    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut Lanes<u8>) -> u8 {
        if are_known(parts, picked) { highest(symbols) } else { UNKNOWN }
    }
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

    pub(crate) fn bytes_left(&self) -> usize {
        self.bytes.len()
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

    /// Reads symbols where words may end.
    #[cold]
    #[inline(never)]
    fn read_last_symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut Lanes<u8>) -> u8 {
        if !are_known(parts, picked) {
            return UNKNOWN;
        }
        for (lane, (&cell, symbol)) in picked.iter().zip(&mut *symbols).enumerate() {
            let place = self.states[state_of(self.two, lane)] & (WHOLE - 1);
            let (found, start, length) = parts[cell as usize].at(place);
            *symbol = found as u8;
            self.take(lane, start, length);
        }
        highest(symbols)
    }

    /// Reads symbols where there are words for all of them. Returns the states behind them and how many words they took.
    #[inline(never)]
    fn read_symbols<const TWO: bool>(
        &self,
        words: &Lanes<[u8; 2]>,
        parts: &[Parts],
        picked: &[i16],
        symbols: &mut Lanes<u8>,
    ) -> ([u32; 2], usize) {
        let mut used = 0;
        let [mut even, mut odd] = self.states;
        let mut read = |state: &mut u32, cell: i16| {
            let place = *state & (WHOLE - 1);
            let (symbol, start, length) = parts[cell as usize].at(place);
            // It wraps where a distribution is not known, and what comes out is not used.
            let taken = (length * (*state >> CHANCE_BITS) + place).wrapping_sub(start);
            let filled = taken << 16 | u32::from(u16::from_le_bytes(words[used & (LANES - 1)]));
            let refill = taken < REFILL;
            *state = core::hint::select_unpredictable(refill, filled, taken);
            used += usize::from(refill);
            symbol as u8
        };
        let (pairs, last) = picked.as_chunks();
        for (&[a, b], symbols) in pairs.iter().zip(symbols.as_chunks_mut().0) {
            *symbols = [read(&mut even, a), read(if TWO { &mut odd } else { &mut even }, b)];
        }
        if let [cell] = *last {
            symbols[(picked.len() - 1) & (LANES - 1)] = read(&mut even, cell);
        }
        ([even, odd], used)
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
    fn symbols(&mut self, parts: &[Parts], picked: &[i16], symbols: &mut Lanes<u8>) -> u8 {
        let Some(words) = self.bytes.as_chunks().0.first_chunk() else {
            return self.read_last_symbols(parts, picked, symbols);
        };
        let (states, used) = if self.two {
            self.read_symbols::<true>(words, parts, picked, symbols)
        } else {
            self.read_symbols::<false>(words, parts, picked, symbols)
        };
        let highest = highest(symbols);
        if highest < UNKNOWN {
            self.states = states;
            self.bytes = &self.bytes[2 * used..];
        }
        highest
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
                let mut symbols = [0; LANES];
                if known {
                    symbols.iter_mut().zip(lanes).for_each(|(symbol, lane)| *symbol = lane.1);
                }
                assert_eq!(coder.symbols(&[Parts::NONE], &[0; LANES][..lanes.len()], &mut symbols.clone()), UNKNOWN);
                let highest = coder.symbols(&table, &picked, &mut symbols);
                assert_eq!(Some(&highest), symbols.iter().max());
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
            for symbol in 0..SYMBOLS {
                let (start, length) = parts.part(symbol);
                for place in [start, start + length - 1] {
                    assert_eq!(parts.at(place), (symbol, start, length));
                }
            }
        }
    }
}
