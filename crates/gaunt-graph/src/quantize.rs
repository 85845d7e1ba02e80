//! The logarithmic grid on which channel scales lie, so that a file holds each in a few bits.

/// Steps per octave of the grid: neighbours differ by 2.2 %, so rounding moves a scale by 1.1 % at most.
const STEPS: i32 = 32;

/// `2^(code / 32)`, the same bits on every machine: the fraction comes from a correctly rounded table, the
/// exponent is exact.
pub fn log_scale(code: i32) -> f32 {
    let (octave, step) = (code.div_euclid(STEPS), code.rem_euclid(STEPS));
    let fraction = FRACTIONS[step as usize];
    fraction * exp2_integer(octave)
}

/// The grid code whose scale is nearest to `scale` (in ratio), which must be positive and finite.
pub fn nearest_log_scale(scale: f32) -> i32 {
    let code = libm::roundf(libm::log2f(scale) * STEPS as f32);
    code.clamp(-126.0 * STEPS as f32, 127.0 * STEPS as f32) as i32
}

fn exp2_integer(exponent: i32) -> f32 {
    f32::from_bits(((exponent.clamp(-126, 127) + 127) as u32) << 23)
}

#[rustfmt::skip]
// The correctly rounded decimals, some of which a shorter one would name too.
#[allow(clippy::excessive_precision)]
const FRACTIONS: [f32; STEPS as usize] = [
    1.0, 1.0218972, 1.04427373, 1.06714046, 1.09050775, 1.1143868, 1.13878858, 1.1637249,
    1.18920708, 1.21524739, 1.24185777, 1.26905096, 1.29683959, 1.32523668, 1.35425556, 1.38390994,
    1.41421354, 1.44518077, 1.47682619, 1.50916445, 1.54221082, 1.5759809, 1.61049032, 1.64575553,
    1.68179286, 1.71861935, 1.75625217, 1.79470909, 1.8340081, 1.87416768, 1.91520655, 1.95714414,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_a_left_inverse_on_the_grid() {
        for code in -2000..2000 {
            assert_eq!(nearest_log_scale(log_scale(code)), code);
        }
    }

    #[test]
    fn rounding_moves_a_scale_by_at_most_one_point_one_percent() {
        for i in 1..5000 {
            let scale = i as f32 * 1.7e-4;
            let ratio = log_scale(nearest_log_scale(scale)) / scale;
            assert!((ratio - 1.0).abs() < 0.0111, "{scale} became {ratio} times itself");
        }
    }
}
