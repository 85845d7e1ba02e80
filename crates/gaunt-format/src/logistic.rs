//! Probabilities and log-odds in integers.
//!
//! Log-odds are to base 2 with 8 fractional bits: 256 stands for a chance of 2 to 1.

use crate::logarithm::log2;

/// Log-odds stay within this, which is a chance of 32768 to 1.
pub(crate) const MAX_ODDS: i32 = 15 * 256 - 1;

/// `round(65536 / (1 + 2^-x))` for `x` from -15 to 15 in steps of a quarter.
#[rustfmt::skip]
const SQUASH: [u16; 121] = [
    2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 11, 13,
    16, 19, 23, 27, 32, 38, 45, 54, 64, 76, 90, 107,
    128, 152, 181, 215, 255, 303, 360, 428, 508, 603, 716, 850,
    1008, 1196, 1417, 1678, 1986, 2348, 2774, 3272, 3855, 4534, 5322, 6233,
    7282, 8481, 9845, 11384, 13107, 15019, 17118, 19398, 21845, 24437, 27146, 29936,
    32768, 35600, 38390, 41099, 43691, 46138, 48418, 50517, 52429, 54152, 55691, 57055,
    58254, 59303, 60214, 61002, 61681, 62264, 62762, 63188, 63550, 63858, 64119, 64340,
    64528, 64686, 64820, 64933, 65028, 65108, 65176, 65233, 65281, 65321, 65355, 65384,
    65408, 65429, 65446, 65460, 65472, 65482, 65491, 65498, 65504, 65509, 65513, 65517,
    65520, 65523, 65525, 65526, 65528, 65529, 65530, 65531, 65532, 65533, 65533, 65534,
    65534,
];

/// The log-odds of a probability that is given as a 32-bit fraction.
pub(crate) fn stretch(p: u32) -> i32 {
    (log2(u64::from(p.max(1))) - log2(u64::from((!p).max(1)))).clamp(-MAX_ODDS, MAX_ODDS)
}

/// The probability, as a 16-bit fraction that is neither 0 nor 1, of log-odds.
pub(crate) fn squash(odds: i32) -> u32 {
    let x = (odds.clamp(-MAX_ODDS, MAX_ODDS) + 15 * 256) as usize;
    let (left, right) = (SQUASH[x >> 6], SQUASH[(x >> 6) + 1]);
    u32::from(left) + ((u32::from(right - left) * (x & 63) as u32) >> 6)
}

/// Bits that a set bit of probability `p / 65536` costs.
pub(crate) fn cost(p: u32) -> f32 {
    let (mut x, mut exponent) = (p as f32 / 65_536.0, 0.0);
    while x < core::f32::consts::FRAC_1_SQRT_2 {
        x *= 2.0;
        exponent += 1.0;
    }
    // ln x = 2 artanh((x - 1) / (x + 1)), here below 0.18 in size.
    let y = (x - 1.0) / (x + 1.0);
    let square = y * y;
    let artanh = y * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0))));
    exponent - 2.0 * core::f32::consts::LOG2_E * artanh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_functions_they_stand_for() {
        for (i, &entry) in SQUASH.iter().enumerate() {
            let odds = (i as f64 - 60.0) / 4.0;
            assert_eq!(f64::from(entry), (65_536.0 / (1.0 + (-odds).exp2())).round(), "squash at {i}");
        }
    }

    #[test]
    fn squash_undoes_stretch_within_one_percent() {
        for i in 1..4096u32 {
            let p = i << 20;
            let back = f64::from(squash(stretch(p))) * 65_536.0;
            assert!((back / f64::from(p) - 1.0).abs() < 0.01, "{p} became {back}");
        }
    }

    #[test]
    fn probabilities_are_never_certain() {
        assert!(squash(i32::MIN) >= 1 && squash(i32::MAX) < 65_535);
        assert_eq!(squash(0), 1 << 15);
        assert_eq!((stretch(0), stretch(u32::MAX)), (-MAX_ODDS, MAX_ODDS));
    }

    #[test]
    fn costs_are_logarithms() {
        for p in 1..65_536u32 {
            let exact = -(f64::from(p) / 65_536.0).log2();
            assert!((f64::from(cost(p)) - exact).abs() <= 2e-6 + 1e-6 * exact, "{p}");
        }
    }
}
