//! Which sign a tap of a kernel will have: a linear prediction from the taps before it.
//!
//! Neighbouring taps of trained kernels go together. Their second moments over all kernels so far give, by a Cholesky
//! factorisation, the best linear prediction of each tap from those before it, as in the multivariate normal
//! distribution. It is fitted anew whenever half as many kernels again have been seen.

use alloc::{vec, vec::Vec};

use crate::logarithm::{ONE, exp2};

/// Kernels of more taps are not predicted.
pub(crate) const MAX_TAPS: usize = 25;
/// Taps, rounded up to whole vectors of four.
const LANES: usize = 28;
/// Predictions for the taps of one kernel, with [`FACTOR_BITS`] fractional bits.
pub(crate) type Predictions = [i32; LANES];
/// Nothing is known.
pub(crate) const NO_PREDICTIONS: Predictions = [0; LANES];

/// Fractional bits of a factor of a tap in a prediction.
pub(crate) const FACTOR_BITS: u32 = 10;
/// Fractional bits of what is summed.
const UNIT_BITS: i32 = 4;
/// The moments of this many kernels of independent taps of mean square 1 are there at the start.
const PRIOR: i64 = 28;
/// Kernels that are learnt from; further ones would change little.
const MAX_KERNELS: u32 = 8192;
/// Largest size that is summed: what of [`MAX_KERNELS`] must fit 32 bits.
const MAX_SIZE: i64 = 511;
/// Fractional bits inside of the factorisation.
const FIT_BITS: u32 = 20;

#[derive(Clone, Debug)]
pub(crate) struct TapPredictor {
    taps: usize,
    /// Sums of products; of a tap, those with the taps up to it count.
    moments: Vec<[i32; LANES]>,
    kernels: u32,
    /// The number of kernels at which it is fitted next.
    next_fit: u32,
    /// For each tap, its factor in the predictions of the taps behind it.
    factors: Vec<[i16; LANES]>,
}

impl TapPredictor {
    /// For kernels of `taps` taps; one that says nothing if that is too many, or one.
    pub(crate) fn new(taps: usize) -> Self {
        let taps = if (2..=MAX_TAPS).contains(&taps) { taps } else { 0 };
        Self { taps, moments: vec![[0; LANES]; taps], kernels: 0, next_fit: 8, factors: vec![[0; LANES]; taps] }
    }

    /// Takes the code at `tap` into the predictions of the taps behind it.
    #[inline(always)]
    pub(crate) fn extend(&self, predictions: &mut Predictions, tap: usize, code: i32) {
        let Some(factors) = self.factors.get(tap) else { return };
        let code = code.clamp(-32_767, 32_767) as i16;
        let lanes = self.taps.next_multiple_of(4).min(LANES);
        for (prediction, factor) in predictions[..lanes].iter_mut().zip(factors) {
            *prediction += i32::from(*factor) * i32::from(code);
        }
    }

    /// Learns from a kernel whose codes were expected to be of size `2^(level / 256)`.
    pub(crate) fn learn(&mut self, codes: &[i32], level: i32) {
        if self.taps == 0 || self.kernels == MAX_KERNELS {
            return;
        }
        let scale = exp2((UNIT_BITS + 16) * ONE - level.max(-4 * ONE)) as i64;
        let mut sizes = [0i16; LANES];
        for (size, &code) in sizes.iter_mut().zip(codes) {
            *size = ((i64::from(code) * scale) >> 16).clamp(-MAX_SIZE, MAX_SIZE) as i16;
        }
        for (row, moments) in self.moments.iter_mut().enumerate() {
            let size = sizes[row];
            if size != 0 {
                let chunks = moments.chunks_exact_mut(4).zip(sizes.chunks_exact(4)).take(row / 4 + 1);
                for (moments, others) in chunks {
                    moments
                        .iter_mut()
                        .zip(others)
                        .for_each(|(moment, &other)| *moment += i32::from(size) * i32::from(other));
                }
            }
        }
        self.kernels += 1;
        if self.kernels >= self.next_fit {
            self.next_fit += self.next_fit.div_ceil(2);
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
                self.factors[column][row] = factor.clamp(-2048, 2048) as i16;
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
                    let quotient = (i128::from(rest) << FIT_BITS) / i128::from(pivots[column]);
                    lower[row * taps + column] = quotient.clamp(-(64 << FIT_BITS), 64 << FIT_BITS) as i64;
                }
            }
        }
        lower
    }
}

/// Of a number and one with [`FIT_BITS`] fractional bits.
fn product(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> FIT_BITS) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_that_follows_another_is_predicted() {
        let mut predictor = TapPredictor::new(4);
        for i in 0..400i32 {
            let (first, free) = (i * 7 % 11 - 5, i * 5 % 7 - 3);
            predictor.learn(&[first, free, -first, first / 2], 0);
        }
        let mut predictions = [0; LANES];
        predictor.extend(&mut predictions, 0, 4);
        predictor.extend(&mut predictions, 1, 0);
        let [_, second, third, fourth, ..] = predictions;
        assert!(second.abs() < 400, "{second}");
        assert!((third + 4 * 1024).abs() < 300, "{third}");
        predictor.extend(&mut predictions, 2, -4);
        assert!((predictions[3] - 2 * 1024).abs() < 500, "{fourth}, then {}", predictions[3]);
    }

    #[test]
    fn extremes_do_no_harm() {
        for taps in [0, 1, 2, 25, 26, 1000] {
            let mut predictor = TapPredictor::new(taps);
            let codes: Vec<i32> = (0..taps).map(|tap| if tap % 2 == 0 { i32::MIN } else { i32::MAX }).collect();
            (0..100).for_each(|round| predictor.learn(&codes, (round - 50) * 1000));
            let mut predictions = [0; LANES];
            codes.iter().enumerate().for_each(|(tap, &code)| predictor.extend(&mut predictions, tap, code));
        }
    }
}
