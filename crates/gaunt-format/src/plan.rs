//! What a coded tensor says about itself in front: a byte that spares the model most of the learning.

use crate::{
    ans::Coder,
    logarithm::{ONE, log},
};

/// Steps of the mean's logarithm to a factor of two.
const STEPS: i32 = 2;
/// The field of a mean of 1.
const ZERO: i32 = 40;
const MEAN_BITS: u32 = 7;
/// From this share of nonzero codes on, hardly a kernel is empty.
const DENSE_TENTHS: usize = 6;

/// Starting points of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Twice the binary logarithm of the mean magnitude, plus 40.
    mean: u8,
    /// Whether rows and kernels say first if they are empty.
    pub(crate) sparse: bool,
}

impl Plan {
    /// Fits the starting points to codes that are about to be coded, in kernels of `taps` codes.
    pub(crate) fn fit(codes: &[i32], taps: usize) -> Self {
        let sum: u64 = codes.iter().map(|code| u64::from(code.unsigned_abs())).sum();
        let nonzeros = codes.iter().filter(|&&code| code != 0).count();
        let mean = ((sum << 10) / codes.len().max(1) as u64).max(1);
        let steps = ((log(mean) - 10 * ONE) * STEPS + ONE / 2).div_euclid(ONE);
        Self {
            mean: (steps + ZERO).clamp(0, (1 << MEAN_BITS) - 1) as u8,
            sparse: taps > 1 && 10 * nonzeros < DENSE_TENTHS * codes.len(),
        }
    }

    /// Codes the plan as 8 plain bits; a reader's plan is ignored.
    pub(crate) fn code(self, coder: &mut impl Coder) -> Self {
        let mean = coder.plain(0, u32::from(self.mean), MEAN_BITS) as u8;
        Self { mean, sparse: coder.plain(0, u32::from(self.sparse), 1) == 1 }
    }

    /// A plan to be overwritten by what is read.
    pub(crate) const UNKNOWN: Self = Self { mean: ZERO as u8, sparse: false };

    /// Logarithm of the mean magnitude.
    pub(crate) fn level(self) -> i32 {
        (i32::from(self.mean) - ZERO) * ONE / STEPS
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn the_level_is_near_the_mean() {
        for (codes, mean) in [(vec![1, -2, 0, 0, 3, 0, 0, 0], 0.75), (vec![1000, -3000], 2000.0), (vec![4, 4], 4.0)] {
            let level = f64::from(Plan::fit(&codes, 1).level()) / 256.0;
            assert!((level - f64::log2(mean)).abs() <= 0.26, "{level} for {mean}");
        }
    }

    #[test]
    fn zeros_and_extremes_have_a_plan() {
        for codes in [vec![0; 9], Vec::new(), vec![i32::MIN; 9], vec![i32::MAX; 9]] {
            let plan = Plan::fit(&codes, 9);
            assert!((-20 * ONE..=43 * ONE).contains(&plan.level()), "{plan:?}");
        }
    }

    #[test]
    fn only_kernels_that_may_be_empty_are_sparse() {
        let codes = [0, 0, 0, 1];
        assert!(Plan::fit(&codes, 4).sparse && !Plan::fit(&codes, 1).sparse && !Plan::fit(&[1, 2, 0, 1], 4).sparse);
    }
}
