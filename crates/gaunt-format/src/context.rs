//! How codes are predicted: their level and tendency, and what follows from these, for several kernels at once.

use crate::{
    grid,
    logarithm::{ONE, log, log_small, power},
    taps::FACTOR_BITS,
};

/// Fractional bits of means.
pub(crate) const MEAN_BITS: u32 = 10;
pub(crate) const MEAN_ONE: i32 = MEAN_BITS as i32 * ONE;
/// Logarithms of means are no farther from 0.
pub(crate) const LEVELS: i32 = 30 * ONE;
/// The mean of a kernel starts as if this many codes had been as expected.
const PRIOR: i32 = 3;
/// Sums of a kernel are at most this, and so is what a code adds.
const MAX_SUM: i16 = (1 << 13) - 1;
/// Means of a kernel are at most this.
const MAX_MEAN: u64 = 1 << 20;
/// Kernels whose codes are expected to be larger count them without their lowest bits.
const LARGE: i32 = 4 * ONE;

/// What is expected of a kernel before any of it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    /// Logarithm of the mean magnitude.
    level: i16,
    /// Lowest bits that are left out when magnitudes of this kernel are added.
    coarse: i16,
    /// The mean without them, with [`MEAN_BITS`] fractional bits, [`PRIOR`] times.
    prior: i32,
}

impl Expectation {
    /// Of a mean magnitude of this logarithm.
    pub(crate) fn new(level: i32) -> Self {
        let level = level.clamp(-LEVELS, LEVELS);
        let coarse = (level - LARGE).max(0) >> 8;
        let mean = power(level - (coarse << 8) + MEAN_ONE).min(MAX_MEAN);
        Self { level: level as i16, coarse: coarse as i16, prior: PRIOR * mean as i32 }
    }
}

/// What is the same for all codes at a tap of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    /// Logarithm of the tap's mean over the layer's.
    pub(crate) level: i16,
    /// That of what the sum of a kernel so far is divided by.
    divisor: i16,
    first_tendency: i16,
}

impl Tap {
    pub(crate) fn new(taps: usize, tap: usize, sparse: bool) -> Self {
        let divisor = (log(tap as u64 + PRIOR as u64) + MEAN_ONE) as i16;
        Self { level: 0, divisor, first_tendency: grid::first_tendency(taps, tap, sparse) }
    }
}

/// How codes are predicted, one in each lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contexts<const N: usize> {
    pub(crate) cells: [i16; N],
    /// All bits set where the sign is foretold to be negative: symbols are those of the negated code then.
    pub(crate) negate: [i16; N],
    /// Lowest bits that are coded apart.
    pub(crate) shifts: [i16; N],
}

/// What is known of kernels while their codes are read, one in each lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels<const N: usize> {
    pub(crate) levels: [i16; N],
    coarse: [i16; N],
    priors: [i32; N],
    /// Of the magnitudes so far.
    sums: [i16; N],
}

impl<const N: usize> Kernels<N> {
    /// No kernels.
    pub(crate) const NONE: Self = Self { levels: [0; N], coarse: [0; N], priors: [1; N], sums: [0; N] };

    pub(crate) fn set(&mut self, lane: usize, Expectation { level, coarse, prior }: Expectation) {
        (self.levels[lane], self.coarse[lane], self.priors[lane]) = (level, coarse, prior);
    }

    /// How the codes at a tap are predicted, which the taps before foretell to be `predictions`. One loop after the other, without branches:
    /// all of them are vectorised.
    #[inline(always)]
    pub(crate) fn contexts(&self, predictions: &[i16; N], tap: Tap) -> Contexts<N> {
        let so_far: [i16; N] =
            each(|lane| log_small((i32::from(self.sums[lane]) << MEAN_BITS) + self.priors[lane]) as i16);
        let sizes: [i16; N] = each(|lane| (log_small(i32::from(predictions[lane]).abs() | 1) >> 8) as i16);
        let empty: [i16; N] = each(|lane| -i16::from(self.sums[lane] == 0));
        let negative: [i16; N] = each(|lane| predictions[lane] >> 15);
        let levels: [i16; N] =
            each(|lane| ((self.levels[lane] + so_far[lane] + (self.coarse[lane] << 8) - tap.divisor) >> 1) + tap.level);
        let tendencies: [i16; N] = each(|lane| {
            let foretold = grid::tendency(sizes[lane] - FACTOR_BITS as i16, levels[lane]);
            (foretold & !empty[lane]) | (tap.first_tendency & empty[lane])
        });
        let shifts: [i16; N] = each(|lane| grid::shift(levels[lane]));
        let cells = each(|lane| grid::cell(levels[lane] - (shifts[lane] << 8), tendencies[lane]));
        let negate = each(|lane| negative[lane] & -i16::from(!grid::is_even(tendencies[lane])));
        Contexts { cells, negate, shifts }
    }

    /// Takes one more code of each kernel into its sum; `small` is as much of it as 16 bits hold.
    #[inline(always)]
    pub(crate) fn add(&mut self, codes: &[i32; N], small: &[i16; N]) {
        let sizes: [i16; N] = if self.coarse == [0; N] {
            each(|lane| small[lane].saturating_abs().min(MAX_SUM))
        } else {
            each(|lane| (codes[lane].unsigned_abs() >> self.coarse[lane]).min(MAX_SUM as u32) as i16)
        };
        self.sums = each(|lane| (self.sums[lane] + sizes[lane]).min(MAX_SUM));
    }
}

/// A number for each lane. Unlike with [`core::array::from_fn`], nothing of it is left as a call.
#[inline(always)]
pub(crate) fn each<T: Copy + Default, const N: usize>(mut number: impl FnMut(usize) -> T) -> [T; N] {
    let mut numbers = [T::default(); N];
    for (lane, entry) in numbers.iter_mut().enumerate() {
        *entry = number(lane);
    }
    numbers
}
