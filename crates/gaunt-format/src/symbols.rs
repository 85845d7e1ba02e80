//! Adaptive distributions over 16 symbols.
//!
//! A *cell* is a distribution that begins as its prior says, as if it had seen 32 symbols, and counts those that come. Its parts are
//! computed anew only when a quarter more have come, from the prior as it is then: a decoder spends its time on symbols, not on learning.

use alloc::{vec, vec::Vec};

use crate::{
    ans::{Parts, SYMBOLS, WHOLE},
    context::each,
};

/// The weights of a prior add up to two to this.
pub(crate) const WEIGHT_BITS: u32 = 24;
/// What one symbol weighs, as a power of two.
const ONE_BITS: u32 = WEIGHT_BITS - 5;
/// Symbols after which a cell forgets half of what it has seen.
const MOST: u16 = 4096;
/// Parts that are left when each symbol has one.
const FREE: u64 = WHOLE as u64 - SYMBOLS as u64;

/// What a cell expects before it has seen any symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prior {
    /// They add up to two to the [`WEIGHT_BITS`].
    pub(crate) weights: [u32; SYMBOLS],
    /// Whether a number and its negative stay equally likely.
    pub(crate) even: bool,
}

/// Symbols that a cell has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    counts: [u16; SYMBOLS],
    /// Symbols until parts are computed anew; none in a cell without parts.
    left: u16,
}

/// Many cells.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    parts: Vec<Parts>,
    seen: Vec<Seen>,
}

impl Cells {
    /// Cells that have to be [begun](Self::begin) before they are used.
    pub(crate) fn new(count: usize) -> Self {
        Self { parts: vec![Parts::NONE; count], seen: vec![Seen::default(); count] }
    }

    pub(crate) fn parts(&self) -> &[Parts] {
        &self.parts
    }

    /// Whether a cell has begun.
    pub(crate) fn is_set(&self, cell: i16) -> bool {
        self.seen[cell as usize].left > 0
    }

    /// Gives cells that are used for the first time their prior's parts.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(&mut self, cells: &[i16], prior: impl Fn(i16) -> Prior) {
        for &cell in cells {
            if !self.is_set(cell) {
                self.seen[cell as usize].compute(&prior(cell), &mut self.parts[cell as usize]);
            }
        }
    }

    /// Counts a symbol of each cell, and computes parts anew where it is time.
    #[inline(always)]
    pub(crate) fn learn(&mut self, cells: &[i16], symbols: &[u8], prior: impl Fn(i16) -> Prior) {
        let (all, parts) = (self.seen.as_mut_slice(), self.parts.as_mut_slice());
        for (&cell, &symbol) in cells.iter().zip(symbols) {
            let seen = &mut all[cell as usize];
            seen.counts[usize::from(symbol) & (SYMBOLS - 1)] += 1;
            seen.left -= 1;
            if seen.left == 0 {
                seen.compute(&prior(cell), &mut parts[cell as usize]);
            }
        }
    }
}

impl Seen {
    /// Computes the parts of a cell.
    #[cold]
    #[inline(never)]
    fn compute(&mut self, prior: &Prior, parts: &mut Parts) {
        let mut all: u16 = self.counts.iter().sum();
        if all >= MOST {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            all = self.counts.iter().sum();
        }
        self.left = 1 + all / 4;
        let counts = &self.counts;
        let others = if prior.even { each(|symbol| counts[mirror(symbol)]) } else { *counts };
        let weights: [u32; SYMBOLS] = each(|symbol| {
            let count = u32::from(counts[symbol]) + u32::from(others[symbol]);
            prior.weights[symbol] + (count << (ONE_BITS - 1))
        });
        let factor = (FREE << 32) / ((1 << WEIGHT_BITS) + (u64::from(all) << ONE_BITS));
        let mut sum = 0;
        let mut ends = [WHOLE as u16; SYMBOLS];
        for (symbol, end) in ends[..SYMBOLS - 1].iter_mut().enumerate() {
            sum += u64::from(weights[symbol]);
            *end = ((sum * factor) >> 32) as u16 + symbol as u16 + 1;
        }
        parts.set(&ends);
    }
}

/// The symbol of the negative number: 1 and 2, 3 and 4 and so on change places.
const fn mirror(symbol: usize) -> usize {
    match symbol {
        0 | 15 => symbol,
        _ => ((symbol - 1) ^ 1) + 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EQUAL: [u32; SYMBOLS] = [1 << 20; SYMBOLS];

    /// A cell that has learnt symbols.
    fn taught(weights: [u32; SYMBOLS], even: bool, symbols: impl Iterator<Item = u8>) -> Cells {
        let mut cells = Cells::new(1);
        cells.begin(&[0], |_| Prior { weights, even });
        for symbol in symbols {
            cells.learn(&[0], &[symbol], |_| Prior { weights, even });
        }
        cells
    }

    fn chances(cells: &Cells) -> [f64; SYMBOLS] {
        core::array::from_fn(|symbol| f64::from(cells.parts[0].length(symbol as u8)) / f64::from(WHOLE))
    }

    proptest! {
        /// The coder needs a part for each symbol.
        #[test]
        fn no_symbol_is_ever_impossible(
            likely in 0..SYMBOLS, symbols in prop::collection::vec(0u8..16, 0..50), repeat in 1usize..300, even: bool,
        ) {
            let prior = core::array::from_fn(|symbol| u32::from(symbol == likely) << WEIGHT_BITS);
            for count in 0..=symbols.len() {
                let all = symbols[..count].iter().flat_map(|&symbol| core::iter::repeat_n(symbol, repeat));
                let parts = taught(prior, even, all).parts[0];
                prop_assert!((0..16).all(|symbol| parts.length(symbol) > 0), "{parts:?}");
                prop_assert_eq!((0..16).map(|symbol| parts.length(symbol)).sum::<u32>(), WHOLE);
            }
        }
    }

    #[test]
    fn a_cell_learns_the_frequencies() {
        let cells = taught(EQUAL, false, (0..20_000).map(|i| if i % 10 < 7 { 0 } else { (i % 10 - 6) as u8 }));
        let found = chances(&cells);
        for (symbol, expected) in [(0, 0.7), (1, 0.1), (2, 0.1), (3, 0.1), (4, 0.0)] {
            assert!((found[symbol] - expected).abs() < 0.01, "{symbol} has {}", found[symbol]);
        }
    }

    #[test]
    fn even_cells_keep_signs_equally_likely() {
        let found = chances(&taught(EQUAL, true, (0..1000).map(|i| (i % 5 + 1) as u8)));
        assert!((1..15).all(|symbol| (found[symbol] - found[mirror(symbol)]).abs() < 0.001), "{found:?}");
    }
}
