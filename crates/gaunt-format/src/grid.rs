//! The grid of cells: which cell predicts a code of some level and tendency, and what it begins with.

use alloc::vec::Vec;

use crate::{
    ans::{LANES, Lanes, SYMBOLS},
    context::each,
    logarithm::{ONE, power},
    mix::Counter,
    symbols::{Prior, WEIGHT_BITS},
};

/// Levels below and above what the grid tells apart.
const LOWEST: i32 = -12 * ONE;
const HIGHEST: i32 = 2 * ONE;
/// The grid tells octaves apart, and the halves of the highest one: what bits apart leave of large codes lies there, and in the
/// upper half it is twice as much.
const STEPS: usize = ((HIGHEST - LOWEST) >> 8) as usize + 1;
const LAST_HALF: i16 = (HIGHEST - ONE / 2) as i16;
/// For kernels that may be empty, half octaves.
const KERNEL_STEP_BITS: u32 = 7;
const KERNEL_STEPS: usize = ((HIGHEST - LOWEST) >> KERNEL_STEP_BITS) as usize;
/// Most bits of a code that are coded apart.
const MAX_SHIFT: i16 = 24;
/// The highest octave of the grid begins here.
const LAST_OCTAVE: i16 = (HIGHEST - ONE) as i16;
/// Tendencies: 0, where nothing foretells the sign, to 7, where the taps before do; then those of codes before which all of the
/// kernel is zero.
pub(crate) const TENDENCIES: usize = 12;
const FORETOLD: i16 = 8;
/// The tendency of a prediction of the size that is expected.
const AS_EXPECTED: i16 = 2;
/// Predictions are compared with a level of at least this.
const LEAST_LEVEL: i16 = -(ONE as i16) / 3;

pub(crate) const CELLS: usize = STEPS * TENDENCIES;

/// Stands for all magnitudes from [`ESCAPED`] on.
pub(crate) const ESCAPE: u8 = SYMBOLS as u8 - 1;
pub(crate) const ESCAPED: u64 = 8;

/// Lowest bits of a code of this level that are coded apart: so many that what remains lies in the grid.
#[inline(always)]
pub(crate) fn shift(level: i16) -> i16 {
    ((level.max(LAST_OCTAVE) - LAST_OCTAVE) >> 8).min(MAX_SHIFT)
}

/// The cell of a level, which is that of the code without the bits apart, and a tendency.
#[inline(always)]
pub(crate) fn cell(level: i16, tendency: i16) -> i16 {
    let octave = (level.clamp(LOWEST as i16, HIGHEST as i16 - 1) - LOWEST as i16) >> 8;
    (octave + i16::from(level >= LAST_HALF)) * TENDENCIES as i16 + tendency
}

/// The tendency of a code whose size is foretold, as a whole logarithm, where `level` is expected.
#[inline(always)]
pub(crate) fn tendency(size: i16, level: i16) -> i16 {
    (size - (level.max(LEAST_LEVEL) >> 8) + AS_EXPECTED).clamp(0, FORETOLD - 1)
}

/// That of a tap before which all is zero: in a kernel that is known to have another code, the fewer taps are to come the likelier is this
/// one not zero.
pub(crate) fn first_tendency(taps: usize, tap: usize, sparse: bool) -> i16 {
    match taps - 1 - tap {
        _ if !sparse => FORETOLD + 3,
        0 => FORETOLD,
        1 => FORETOLD + 1,
        2 | 3 => FORETOLD + 2,
        _ => FORETOLD + 3,
    }
}

/// Whether no sign is to be preferred.
#[inline(always)]
pub(crate) fn is_even(tendency: i16) -> bool {
    tendency == 0 || tendency >= FORETOLD
}

/// The counter that says whether a kernel is empty which is not so with a probability of this logarithm.
#[inline(always)]
pub(crate) fn kernel_counter(level: i32, above: bool) -> usize {
    let step = (level.clamp(LOWEST, HIGHEST - 1) - LOWEST) >> KERNEL_STEP_BITS;
    step as usize * 2 + usize::from(above)
}

/// The middle of a step.
fn middle(step: usize) -> i32 {
    match STEPS - 1 - step {
        0 => HIGHEST - ONE / 4,
        1 => HIGHEST - ONE + ONE / 4,
        _ => LOWEST + step as i32 * ONE + ONE / 2,
    }
}

/// Chances, of 256, that a code has the sign that is foretold, for each tendency.
const AGREE: [u64; FORETOLD as usize] = [128, 205, 230, 243, 248, 250, 251, 251];
/// Odds, in sixteenths, that it is not zero, against those of a code about which nothing is known.
const ODDS: [u64; FORETOLD as usize] = [13, 19, 28, 51, 90, 154, 256, 256];

/// How magnitudes of a layer exceed one another: shares, of 65536, of those of at least 1 to 7 that are larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Magnitudes {
    /// Codes of at least each magnitude from 1 on.
    at_least: [u64; ESCAPED as usize],
    exceed: [u64; ESCAPED as usize - 1],
}

impl Magnitudes {
    /// Codes that the first shares are worth, and these.
    const PRIOR: u64 = 8;
    const FIRST: u64 = 26_214;

    pub(crate) const NEW: Self = Self { at_least: [0; ESCAPED as usize], exceed: [Self::FIRST; ESCAPED as usize - 1] };

    /// Counts the magnitudes of symbols, which are the highest bits of their codes.
    pub(crate) fn learn(&mut self, symbols: &[Lanes<u8>]) {
        let mut counts = [[0; LANES]; ESCAPED as usize];
        for symbols in symbols {
            for (magnitude, counts) in counts.iter_mut().enumerate() {
                *counts = each(|lane| counts[lane] + u8::from(symbols[lane] > 2 * magnitude as u8));
            }
        }
        for (at_least, counts) in self.at_least.iter_mut().zip(counts) {
            *at_least += counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        }
        for (exceed, pair) in self.exceed.iter_mut().zip(self.at_least.windows(2)) {
            *exceed = ((pair[1] << 16) + Self::PRIOR * Self::FIRST) / (pair[0] + Self::PRIOR);
        }
    }
}

/// What a cell expects before it has seen any symbol.
pub(crate) fn prior(cell: i16, sparse: bool, magnitudes: &Magnitudes) -> Prior {
    let (step, tendency) = (cell as usize / TENDENCIES, cell as usize % TENDENCIES);
    let mean = power(middle(step) + 16 * ONE);
    let exceed = magnitudes.exceed.map(|exceed| exceed.max(LAPLACE[step]).clamp(1311, 58_982));
    // The mean of magnitudes that are not zero: each is there with the product of the shares before it.
    let (mut size, mut share) = (65_536, 65_536);
    for exceed in exceed {
        share = (share * exceed) >> 16;
        size += share;
    }
    let odds = mean * ODDS.get(tendency).copied().unwrap_or(16) * 5;
    let least = match tendency as i16 - FORETOLD {
        first @ 0.. if sparse => [65_536, 32_768, 21_845, 10_922][first as usize],
        _ => 0,
    };
    let nonzero = ((odds << 16) / (odds + 32 * size)).max(least).clamp(32, 65_500);
    let agree = AGREE.get(tendency).copied().unwrap_or(128);
    let mut weights = [0; SYMBOLS];
    weights[0] = ((65_536 - nonzero) << (WEIGHT_BITS - 16)) as u32;
    let mut rest = nonzero << (WEIGHT_BITS - 16);
    for (pair, exceed) in weights[1..usize::from(ESCAPE)].chunks_exact_mut(2).zip(exceed) {
        let beyond = (rest * exceed) >> 16;
        pair[0] = (((rest - beyond) * agree) >> 8) as u32;
        pair[1] = (rest - beyond) as u32 - pair[0];
        rest = beyond;
    }
    weights[usize::from(ESCAPE)] = rest as u32;
    Prior { weights, even: is_even(tendency as i16) }
}

/// Share, of 65536, of magnitudes that exceed one, in the middle of each step, of a rounded Laplace density.
const LAPLACE: [u64; STEPS] = [0, 0, 0, 1, 2, 9, 36, 143, 566, 2155, 7282, 18_771, 34_046, 44_045, 49_296];

/// The counters of kernels.
pub(crate) fn kernel_counters() -> Vec<Counter> {
    let middle = |step: usize| LOWEST + ((step as i32) << KERNEL_STEP_BITS) + (1 << (KERNEL_STEP_BITS - 1));
    let chance = |step| Counter::new((power(middle(step) + 16 * ONE).min(63_000) << 16) as u32, 2, 511);
    (0..KERNEL_STEPS).flat_map(|step| [chance(step); 2]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up() {
        let mut magnitudes = Magnitudes::NEW;
        for round in 0..5 {
            for (cell, sparse) in (0..CELLS as i16).flat_map(|cell| [(cell, false), (cell, true)]) {
                let prior = prior(cell, sparse, &magnitudes);
                assert_eq!(prior.weights.iter().sum::<u32>(), 1 << WEIGHT_BITS, "cell {cell}");
            }
            magnitudes.learn(&[core::array::from_fn(|lane| (lane * 7 + round) as u8 % 16); 60]);
        }
    }

    #[test]
    fn laplace_densities_have_the_means_of_their_steps() {
        for (step, exceed) in LAPLACE.into_iter().enumerate().skip(6) {
            let q = exceed as f64 / 65_536.0;
            let mean = q.sqrt() / (1.0 - q);
            let expected = power(middle(step) + 16 * ONE) as f64 / 65_536.0;
            assert!((mean / expected - 1.0).abs() < 0.02, "{mean} for {expected}");
        }
    }

    #[test]
    fn any_level_has_a_cell() {
        for level in [-20_000, -3073, -3072, 0, 511, 512, 20_000] {
            let shift = shift(level);
            assert!((0..CELLS as i16).contains(&cell(level - shift * ONE as i16, 11)), "{level}");
            assert!((0..FORETOLD).contains(&tendency(30, level)) && (0..FORETOLD).contains(&tendency(-10, level)));
        }
        assert_eq!([511, 512, 767, 768].map(shift), [0, 1, 1, 2]);
    }
}
