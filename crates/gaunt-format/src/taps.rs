//! Which sign a tap of a kernel will have: a linear prediction from the taps before it.
//!
//! Neighbouring taps of trained kernels go together. Their second moments over all kernels so far give, by a Cholesky
//! factorisation, the best linear prediction of each tap from those before it, as in the multivariate normal
//! distribution. It is fitted anew whenever half as many kernels again have been seen.

use alloc::{vec, vec::Vec};

use crate::{
    ans::{LANES, Lanes},
    context::each,
    logarithm::{ONE, power_small},
};

/// Kernels of more taps are not predicted.
pub(crate) const MAX_TAPS: usize = 25;
/// Fractional bits of a factor of a tap in a prediction.
pub(crate) const FACTOR_BITS: u32 = 6;
/// Fractional bits of what is summed.
const UNIT_BITS: i32 = 4;
/// The moments of this many kernels of independent taps of mean square 1 are there at the start.
const PRIOR: i64 = 28;
/// Kernels that are learnt from; further ones would change little.
const MAX_KERNELS: u32 = 4096;
/// Largest size that is summed: what of [`MAX_KERNELS`] and a batch must fit 32 bits.
const MAX_SIZE: i16 = 511;
/// Codes and factors count at most this much, so that their products fit 16 bits.
const MAX_CODE: i16 = 127;
const MAX_FACTOR: i64 = 2 << FACTOR_BITS;
/// Fractional bits of what codes are scaled with.
const SCALE_BITS: i32 = 8;
/// Fractional bits inside of the factorisation.
const FIT_BITS: u32 = 20;

#[derive(Clone, Debug)]
pub(crate) struct TapPredictor {
    taps: usize,
    /// Sums of products of a tap with those up to it.
    moments: Vec<[i32; MAX_TAPS]>,
    kernels: u32,
    /// The number of kernels at which it is fitted next.
    next_fit: u32,
    /// For each tap, its factor in the predictions of the taps behind it.
    factors: Vec<[i16; MAX_TAPS]>,
    /// What is learnt from; kept for the next time.
    sizes: Vec<Lanes<i16>>,
}

impl TapPredictor {
    /// For kernels of `taps` taps; one that says nothing if that is too many, or one.
    pub(crate) fn new(taps: usize) -> Self {
        let taps = if (2..=MAX_TAPS).contains(&taps) { taps } else { 0 };
        Self {
            taps,
            moments: vec![[0; MAX_TAPS]; taps],
            kernels: 0,
            next_fit: 8,
            factors: vec![[0; MAX_TAPS]; taps],
            sizes: vec![[0; LANES]; taps],
        }
    }

    /// Whether it says anything yet.
    pub(crate) fn is_fitted(&self) -> bool {
        self.kernels >= 8
    }

    /// Takes the codes at `tap` of several kernels into the predictions of the taps behind it.
    #[inline(always)]
    pub(crate) fn extend<const N: usize>(&self, predictions: &mut [[i16; N]], tap: usize, codes: &[i16; N]) {
        let Some(factors) = self.factors.get(tap) else { return };
        let codes: [i16; N] = each(|lane| codes[lane].clamp(-MAX_CODE, MAX_CODE));
        let behind = predictions.iter_mut().zip(&factors[..self.taps]).skip(tap + 1);
        for (predictions, &factor) in behind {
            for lane in 0..N {
                predictions[lane] = predictions[lane].saturating_add(factor * codes[lane]);
            }
        }
    }

    /// Learns from `count` kernels, tap by tap, whose codes were expected to be of sizes `2^(level / 256)`. Lanes beyond are zero.
    pub(crate) fn learn(&mut self, codes: &[Lanes<i16>], levels: &Lanes<i16>, count: usize) {
        if self.taps == 0 || self.kernels >= MAX_KERNELS {
            return;
        }
        self.kernels += count as u32;
        let scales = Scales::of(levels);
        self.sizes.iter_mut().zip(codes).for_each(|(sizes, codes)| *sizes = scales.sizes(codes));
        for (tap, (moments, sizes)) in self.moments.iter_mut().zip(&self.sizes).enumerate() {
            for (moment, others) in moments[..=tap].iter_mut().zip(&self.sizes) {
                *moment += product_sum(sizes, others);
            }
        }
        if self.kernels >= self.next_fit {
            while self.kernels >= self.next_fit {
                self.next_fit += self.next_fit.div_ceil(2);
            }
            self.fit();
        }
    }

    /// With moments `L D L^T`, `L` of unit diagonal, a tap is predicted by the rows of `1 - L^-1`.
    fn fit(&mut self) {
        let lower = self.factorize();
        for row in 0..self.taps {
            let mut inverse = [0i64; MAX_TAPS];
            inverse[row] = 1 << FIT_BITS;
            for column in (0..row).rev() {
                let sum: i64 = (column + 1..=row).map(|m| product(inverse[m], lower[m * self.taps + column])).sum();
                inverse[column] = (-sum).clamp(-(4 << FIT_BITS), 4 << FIT_BITS);
                let factor = (-inverse[column]) >> (FIT_BITS - FACTOR_BITS);
                self.factors[column][row] = factor.clamp(-MAX_FACTOR, MAX_FACTOR) as i16;
            }
        }
    }

    /// `L`, with [`FIT_BITS`] fractional bits.
    fn factorize(&self) -> Vec<i64> {
        let taps = self.taps;
        let mut lower = vec![0i64; taps * taps];
        let mut pivots = [0i64; MAX_TAPS];
        for row in 0..taps {
            for column in 0..=row {
                let known: i64 = (0..column)
                    .map(|m| product(product(lower[row * taps + m], lower[column * taps + m]), pivots[m]))
                    .sum();
                let rest = i64::from(self.moments[row][column]) - known;
                if column == row {
                    pivots[row] = (rest + (PRIOR << (2 * UNIT_BITS))).max(1);
                } else {
                    lower[row * taps + column] =
                        quotient(rest, pivots[column]).clamp(-(64 << FIT_BITS), 64 << FIT_BITS);
                }
            }
        }
        lower
    }
}

/// What codes are multiplied by, so that what is as large as expected becomes one.
struct Scales {
    /// With [`SCALE_BITS`] fractional bits, but for what of it 15 bits cannot hold.
    factors: Lanes<i16>,
    /// That: 1, 2 or 4.
    multiples: Lanes<i16>,
}

impl Scales {
    fn of(levels: &Lanes<i16>) -> Self {
        // At most 16 times one, of which a factor holds less than 15.
        let scales = levels.map(|level| ((UNIT_BITS + SCALE_BITS) * ONE) as i16 - level.max(-4 * ONE as i16));
        let excess = scales.map(|scale| (scale - 14 * ONE as i16).max(0) >> 8);
        Self {
            factors: each(|lane| power_small(i32::from((scales[lane] - (excess[lane] << 8)).max(0))) as i16),
            multiples: excess.map(|excess| 1 + excess + (excess >> 1)),
        }
    }

    /// The codes in units of what is expected, with [`UNIT_BITS`] fractional bits. The higher half of a product of 16 bits is what processors find at once;
    /// this is a function of its own so that the loop around it is not vectorised in place of the lanes.
    #[inline(never)]
    fn sizes(&self, codes: &Lanes<i16>) -> Lanes<i16> {
        let limited = |number: i16, limit: i16| number.clamp(-limit, limit);
        each(|lane| {
            let code = limited(limited(codes[lane], MAX_CODE) * self.multiples[lane], MAX_CODE);
            let product = i32::from(code << (16 - SCALE_BITS)) * i32::from(self.factors[lane]);
            limited((product >> 16) as i16, MAX_SIZE)
        })
    }
}

/// The sum of the products of the lanes. It is a function of its own so that the loop around it is not vectorised in place of the lanes.
#[inline(never)]
fn product_sum(a: &Lanes<i16>, b: &Lanes<i16>) -> i32 {
    let mut sum = 0;
    for lane in 0..LANES {
        sum += i32::from(a[lane]) * i32::from(b[lane]);
    }
    sum
}

/// Of a number and one with [`FIT_BITS`] fractional bits.
fn product(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> FIT_BITS) as i64
}

/// With [`FIT_BITS`] fractional bits, as far as 64 bits reach; the divisor is positive. Division of 128 bits is slow, and hardly ever needed.
fn quotient(a: i64, b: i64) -> i64 {
    match a.checked_mul(1 << FIT_BITS) {
        Some(a) => a / b,
        None => ((i128::from(a) << FIT_BITS) / i128::from(b)).clamp(i64::MIN.into(), i64::MAX.into()) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(predictor: &mut TapPredictor, codes: &[i16], level: i16) {
        let lanes: Vec<Lanes<i16>> =
            codes.iter().map(|&code| core::array::from_fn(|lane| if lane == 0 { code } else { 0 })).collect();
        predictor.learn(&lanes, &[level; LANES], 1);
    }

    #[test]
    fn a_tap_that_follows_another_is_predicted() {
        let mut predictor = TapPredictor::new(4);
        for i in 0..400i16 {
            let (first, free) = (i * 7 % 11 - 5, i * 5 % 7 - 3);
            learn(&mut predictor, &[first, free, -first, first / 2], 0);
        }
        let mut predictions = [[0]; 4];
        predictor.extend(&mut predictions, 0, &[4]);
        predictor.extend(&mut predictions, 1, &[0]);
        let [_, [second], [third], [fourth]] = predictions;
        assert!(second.abs() < 25, "{second}");
        assert!((third + 4 * 64).abs() < 18, "{third}");
        predictor.extend(&mut predictions, 2, &[-4]);
        assert!((predictions[3][0] - 2 * 64).abs() < 31, "{fourth}, then {}", predictions[3][0]);
    }

    #[test]
    fn extremes_do_no_harm() {
        for taps in [0, 1, 2, 25, 26, 1000] {
            let mut predictor = TapPredictor::new(taps);
            let codes: Vec<i16> = (0..taps).map(|tap| if tap % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
            (0..9000).for_each(|round| learn(&mut predictor, &codes, (round - 4500) * 2));
            let mut predictions = vec![[0]; taps];
            codes.iter().enumerate().for_each(|(tap, &code)| predictor.extend(&mut predictions, tap, &[code]));
        }
    }

    #[test]
    fn many_kernels_teach_what_single_ones_do() {
        let kernel = |i: i16| [i % 5 - 2, i % 7 - 3, i % 5 - 2];
        let [mut one, mut many] = [TapPredictor::new(3), TapPredictor::new(3)];
        for i in (0..64).step_by(16) {
            let kernels: Vec<[i16; 3]> = (i..i + 16).map(kernel).collect();
            kernels.iter().for_each(|codes| learn(&mut one, codes, 100));
            let lanes: [Lanes<i16>; 3] = core::array::from_fn(|tap| core::array::from_fn(|lane| kernels[lane][tap]));
            many.learn(&lanes, &[100; LANES], LANES);
        }
        assert_eq!(one.moments, many.moments);
    }
}
