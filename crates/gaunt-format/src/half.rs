//! IEEE 754 binary16: floats that half of the bits hold exactly.

/// The half that is exactly this float, if there is one; none for numbers that are not.
pub(crate) fn exact_half(float: f32) -> Option<u16> {
    let bits = float.to_bits();
    let (sign, size) = ((bits >> 16) as u16 & 0x8000, f32::from_bits(bits & 0x7fff_ffff));
    let half = if size < SMALLEST_NORMAL {
        // Subnormal halves are multiples of 2^-24.
        (size * SUBNORMALS) as u16
    } else if size <= LARGEST {
        ((size.to_bits() >> 13) - (112 << 10)) as u16
    } else if size == f32::INFINITY {
        INFINITY
    } else {
        return None;
    };
    let half = sign | half;
    (float_of(half).to_bits() == bits).then_some(half)
}

/// The float that a half is. (Halves that are no numbers become such floats.)
pub(crate) fn float_of(half: u16) -> f32 {
    let (exponent, mantissa) = (u32::from(half >> 10 & 31), u32::from(half & 1023));
    let size = match exponent {
        0 => mantissa as f32 / SUBNORMALS,
        31 => f32::from_bits(0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits((exponent + 112) << 23 | mantissa << 13),
    };
    f32::from_bits(u32::from(half & 0x8000) << 16 | size.to_bits())
}

/// 2^24.
const SUBNORMALS: f32 = 16_777_216.0;
/// 2^-14.
const SMALLEST_NORMAL: f32 = 1.0 / 16_384.0;
const LARGEST: f32 = 65_504.0;
const INFINITY: u16 = 31 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_that_is_a_number_comes_back() {
        for half in (0..=u16::MAX).filter(|half| !float_of(*half).is_nan()) {
            assert_eq!(exact_half(float_of(half)), Some(half), "{half:04x}");
        }
    }

    #[test]
    fn other_floats_have_no_half() {
        for float in [0.1, 65_536.0, 1.0 + f32::EPSILON, 1e-10, f32::NAN, f32::MIN_POSITIVE, 2049.0, 65_505.0] {
            assert_eq!(exact_half(float), None, "{float}");
        }
        for (float, half) in [(1.0, 0x3c00), (-2.0, 0xc000), (65_504.0, 0x7bff), (5.960_464_5e-8, 1), (-0.0, 0x8000)] {
            assert_eq!(exact_half(float), Some(half), "{float}");
        }
    }
}
