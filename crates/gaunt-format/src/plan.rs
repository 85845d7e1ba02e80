//! What a coded tensor says about itself in front: 16 bits that spare the model most of the learning.

use crate::{
    logistic::{squash, stretch},
    range::{Coder, code_plain},
};

/// The field that stands for even odds, and steps per bit.
const ZERO_DENSITY: i32 = 46;
const DENSITY_STEPS: i32 = 3;
const ZERO_MAGNITUDE: i32 = 32;
const MAGNITUDE_STEPS: i32 = 4;

/// Starting points of the model and the choice of binarisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Log-odds of a code to be nonzero: `(density - 46) / 3` bits.
    density: u8,
    /// Log-odds of a magnitude to be beyond a rung it has reached: `(magnitude - 32) / 4` bits.
    magnitude: u8,
    /// Rungs of one magnitude each, before they double.
    ladder: u8,
}

impl Plan {
    /// Fits the starting points to codes that are about to be coded with `ladder` (at most 15) single rungs.
    pub(crate) fn fit(codes: &[i32], ladder: u8) -> Self {
        let nonzeros = codes.iter().filter(|&&code| code != 0).count() as u64;
        let climbs = codes.iter().filter(|&&code| code != 0).map(|code| climbs(code.unsigned_abs(), ladder)).sum();
        Self {
            density: quantize(nonzeros, codes.len() as u64 - nonzeros, ZERO_DENSITY, DENSITY_STEPS),
            magnitude: quantize(climbs, nonzeros, ZERO_MAGNITUDE, MAGNITUDE_STEPS),
            ladder,
        }
    }

    /// For codes of which nothing is known: one in eight is not zero, magnitudes halve.
    pub(crate) const UNKNOWN: Self = Self { density: 37, magnitude: 28, ladder: 14 };

    /// Codes the plan as 16 plain bits; a reader's plan is ignored.
    pub(crate) fn code(self, coder: &mut impl Coder) -> Self {
        let mut field = |value: u8, bits: u32| code_plain(coder, u32::from(value), bits) as u8;
        Self { density: field(self.density, 6), magnitude: field(self.magnitude, 6), ladder: field(self.ladder, 4) }
    }

    /// Where probabilities of a nonzero code start, as 32-bit fractions.
    pub(crate) fn density(self) -> u32 {
        start((i32::from(self.density) - ZERO_DENSITY) * 256 / DENSITY_STEPS)
    }

    /// Where probabilities to climb a rung start, as 32-bit fractions.
    pub(crate) fn magnitude(self) -> u32 {
        start((i32::from(self.magnitude) - ZERO_MAGNITUDE) * 256 / MAGNITUDE_STEPS)
    }

    /// Rungs of one magnitude each.
    pub(crate) fn ladder(self) -> u32 {
        u32::from(self.ladder)
    }
}

/// How many rungs a magnitude lies above the first one.
fn climbs(magnitude: u32, ladder: u8) -> u64 {
    let above = magnitude - 1;
    let ladder = u32::from(ladder);
    u64::from(if above < ladder { above } else { ladder + (above - ladder + 1).ilog2() })
}

fn start(odds: i32) -> u32 {
    squash(odds) << 16
}

/// Log-odds of `yes` to `no` in `1 / steps` bits, plus `zero`, in six bits.
fn quantize(yes: u64, no: u64, zero: i32, steps: i32) -> u8 {
    let p = ((u128::from(2 * yes + 1) << 32) / u128::from(2 * (yes + no) + 2)) as u32;
    ((stretch(p) * steps + 128).div_euclid(256) + zero).clamp(0, 63) as u8
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn starting_points_are_near_the_frequencies() {
        // One in eight is not zero, half of them are larger than 1, half of these than 2, and so on.
        let codes: Vec<i32> =
            [1, -2, 1, 3, -1, 2, 1, -4].iter().flat_map(|&code| [code, 0, 0, 0, 0, 0, 0, 0]).collect();
        let plan = Plan::fit(&codes, 14);
        let near = |p: u32, expected: f64| (f64::from(p) / 4_294_967_296.0 / expected - 1.0).abs() < 0.15;
        assert!(near(plan.density(), 1.0 / 8.0), "{plan:?}");
        assert!(near(plan.magnitude(), 7.0 / 15.0), "{plan:?}");
    }

    #[test]
    fn zeros_and_extremes_have_a_plan() {
        for codes in [vec![], vec![0; 9], vec![i32::MIN, i32::MAX]] {
            for ladder in [0, 15] {
                let plan = Plan::fit(&codes, ladder);
                assert!(plan.density < 64 && plan.magnitude < 64, "{plan:?}");
            }
        }
    }
}
