//! Adaptive distributions over 16 symbols.
//!
//! A *cell* is a distribution with the number of symbols it has seen. It moves towards each symbol by a share that falls
//! with that number. Two cells predict together, with the mean of their chances: so neighbours on two grids that are shifted
//! against each other blend into one smooth prediction.

use alloc::{vec, vec::Vec};

use crate::range::{CHANCE_BITS, SYMBOLS, Starts};

/// Fractional bits of a cell's chances beyond those of the coder.
const FINE_BITS: u32 = 8;
const WHOLE: i32 = 1 << (CHANCE_BITS + FINE_BITS);
/// The least chance that a cell gives a symbol: one part of the coder's.
const LEAST: i32 = 1 << FINE_BITS;

/// Weights add up to two to this.
const WEIGHT_BITS: u32 = 24;

/// The share of the way that a cell moves which has seen so many symbols, up to the last entry.
const RATES: [Rate; 256] = rates();

/// `2 / 2^shift` if `third` is 0, `3 / 2^shift` if all its bits are set: fractions that take no multiplication.
#[derive(Clone, Copy, Debug)]
struct Rate {
    third: i32,
    shift: u8,
}

/// Many cells.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    /// Where each symbol starts; the first one starts at 0, the last one ends at [`WHOLE`].
    starts: Vec<[i32; SYMBOLS]>,
    seen: Vec<u8>,
}

impl Cells {
    /// `count` cells that all symbols are equally likely in.
    pub(crate) fn new(count: usize) -> Self {
        Self { starts: vec![[0; SYMBOLS]; count], seen: vec![0; count] }
    }

    /// Sets a cell to the distribution of `weights`, whose sum is 2^24, as if it had seen `seen` symbols.
    pub(crate) fn set(&mut self, cell: usize, weights: [u32; SYMBOLS], seen: u8) {
        let free = (WHOLE - SYMBOLS as i32 * LEAST) as u64;
        let mut sum = 0;
        for (place, (start, weight)) in self.starts[cell].iter_mut().zip(weights).enumerate() {
            *start = ((free * sum) >> WEIGHT_BITS) as i32 + place as i32 * LEAST;
            sum += u64::from(weight);
        }
        self.seen[cell] = seen;
    }

    /// The mean of two cells.
    #[inline(always)]
    pub(crate) fn blend(&self, [a, b]: [usize; 2]) -> Starts {
        let (a, b) = (self.starts[a], self.starts[b]);
        Starts(core::array::from_fn(|place| (a[place] + b[place]) >> (FINE_BITS + 1)))
    }

    /// Moves a cell towards a symbol.
    #[inline(always)]
    pub(crate) fn learn(&mut self, cell: usize, target: &[i32; SYMBOLS]) {
        let seen = &mut self.seen[cell];
        let Rate { third, shift } = RATES[usize::from(*seen)];
        *seen = seen.saturating_add(1);
        // Arrays by value: the compiler sees that they do not overlap, and takes them as vectors.
        let starts = self.starts[cell];
        self.starts[cell] = core::array::from_fn(|place| {
            let way = target[place] - starts[place];
            starts[place] + ((way + way + (way & third)) >> shift)
        });
    }
}

/// What a cell moves to on a symbol.
pub(crate) static TARGETS: [[i32; SYMBOLS]; SYMBOLS] = targets(false);
/// The same where a number and its negative are to stay equally likely: half way to each; see [`mirror`].
pub(crate) static EVEN_TARGETS: [[i32; SYMBOLS]; SYMBOLS] = targets(true);

/// The symbol of the negative number: 1 and 2, 3 and 4 and so on change places.
pub(crate) const fn mirror(symbol: usize) -> usize {
    match symbol {
        0 | 15 => symbol,
        _ => ((symbol - 1) ^ 1) + 1,
    }
}

const fn targets(even: bool) -> [[i32; SYMBOLS]; SYMBOLS] {
    let mut table = [[0; SYMBOLS]; SYMBOLS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let mut place = 0;
        while place < SYMBOLS {
            let other = if even { mirror(symbol) } else { symbol };
            table[symbol][place] = (start_at(symbol, place) + start_at(other, place)) / 2;
            place += 1;
        }
        symbol += 1;
    }
    table
}

/// Where `place` starts when nearly everything belongs to `symbol`.
const fn start_at(symbol: usize, place: usize) -> i32 {
    if place <= symbol { place as i32 * LEAST } else { WHOLE - (SYMBOLS - place) as i32 * LEAST }
}

/// The fractions next to `1 / (n + 1.5)`.
const fn rates() -> [Rate; 256] {
    let mut table = [Rate { third: 0, shift: 1 }; 256];
    let mut n = 0;
    while n < 256 {
        // In 65536ths, with twice the denominator to stay whole.
        let wanted = 131_072 / (2 * n as i32 + 3);
        let (mut distance, mut shift) = (i32::MAX, 1);
        while shift <= 11 {
            let mut factor = 2;
            while factor <= 3 {
                let rate = (factor * 65_536) >> shift;
                let off = if rate > wanted { rate - wanted } else { wanted - rate };
                if rate <= 49_152 && off < distance {
                    (table[n], distance) = (Rate { third: 2 - factor, shift: shift as u8 }, off);
                }
                factor += 1;
            }
            shift += 1;
        }
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EQUAL: [u32; SYMBOLS] = [1 << 20; SYMBOLS];

    fn chances(cells: &Cells, cell: usize) -> Vec<f64> {
        let starts = cells.blend([cell, cell]);
        (0..SYMBOLS).map(|symbol| f64::from(starts.part(symbol)) / 32_768.0).collect()
    }

    proptest! {
        /// The coder needs a part of the range for each symbol.
        #[test]
        fn no_symbol_is_ever_impossible(
            likely in 0..SYMBOLS, seen: u8, symbols in prop::collection::vec((0..SYMBOLS, any::<bool>()), 0..2000),
        ) {
            let mut cells = Cells::new(2);
            cells.set(0, core::array::from_fn(|symbol| u32::from(symbol == likely) << 24), seen);
            cells.set(1, EQUAL, 0);
            for (symbol, even) in symbols {
                cells.learn(0, if even { &EVEN_TARGETS[symbol] } else { &TARGETS[symbol] });
                let starts = cells.blend([0, 1]);
                prop_assert!(starts.0[0] == 0 && (0..SYMBOLS).all(|symbol| starts.part(symbol) as i32 > 0), "{starts:?}");
            }
        }
    }

    #[test]
    fn a_cell_learns_the_frequencies() {
        let mut cells = Cells::new(1);
        cells.set(0, EQUAL, 2);
        for i in 0..20_000 {
            cells.learn(0, &TARGETS[if i % 10 < 7 { 0 } else { i % 10 - 6 }]);
        }
        let found = chances(&cells, 0);
        for (symbol, expected) in [(0, 0.7), (1, 0.1), (2, 0.1), (3, 0.1), (4, 0.0)] {
            assert!((found[symbol] - expected).abs() < 0.01, "{symbol} has {}", found[symbol]);
        }
    }

    #[test]
    fn even_targets_keep_signs_equally_likely() {
        let mut cells = Cells::new(1);
        cells.set(0, EQUAL, 2);
        (0..1000).for_each(|i| cells.learn(0, &EVEN_TARGETS[i % 5 + 1]));
        let found = chances(&cells, 0);
        assert!((1..15).all(|symbol| (found[symbol] - found[mirror(symbol)]).abs() < 0.001), "{found:?}");
    }

    #[test]
    fn shares_are_within_a_quarter_of_the_mean_of_what_was_seen() {
        for (n, Rate { third, shift }) in RATES.into_iter().enumerate() {
            let ratio = f64::from(2 - third) / f64::from(1 << shift) * (n as f64 + 1.5);
            assert!((0.75..1.25).contains(&ratio), "{ratio} at {n}");
        }
    }
}
