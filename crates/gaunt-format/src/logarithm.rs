//! Logarithms to base two and their inverse in integers, with 8 fractional bits: rounded for text, straight between powers of two for codes.

/// One in logarithms.
pub(crate) const ONE: i32 = 256;

/// `round(256 * log2(1 + i / 256))`.
const LOG2: [u8; 256] = log2_table();

/// Binary logarithm of a positive number, with 8 fractional bits.
#[inline(always)]
pub(crate) fn log2(x: u64) -> i32 {
    let zeros = x.leading_zeros();
    let mantissa = (x << zeros) >> 55 & 255;
    ((63 - zeros as i32) << 8) + LOG2[mantissa as usize] as i32
}

/// The place of the leading one, with the eight bits below it as the fraction: a logarithm that is straight between powers of two,
/// and never off by more than 0.09.
#[inline(always)]
pub(crate) fn log(x: u64) -> i32 {
    let zeros = x.leading_zeros();
    ((63 - zeros as i32) << 8) + (x << zeros >> 55 & 255) as i32
}

/// [`log`] of a number below 2^24, which is exact as a float: its exponent and mantissa are what is asked for, and
/// loops over this are vectorised.
#[inline(always)]
pub(crate) fn log_small(x: i32) -> i32 {
    ((x as f32).to_bits() >> 15) as i32 - 127 * ONE
}

/// Undoes [`log`] of numbers below 2^46; what is negative becomes 1.
pub(crate) fn power(x: i32) -> u64 {
    let x = x.clamp(0, 46 * ONE - 1);
    ((256 + (x & 255) as u64) << (x >> 8)) >> 8
}

/// [`power`] of a number from 0 to below 24 times [`ONE`], for loops that are to be vectorised.
#[inline(always)]
pub(crate) fn power_small(x: i32) -> i32 {
    f32::from_bits(((x + 127 * ONE) as u32) << 15) as i32
}

/// One bit of the logarithm per squaring; nine of them, rounded to eight.
const fn log2_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut x = (256 + i as u64) << 23;
        let (mut bits, mut count) = (0u32, 0);
        while count < 9 {
            x = (x * x) >> 31;
            bits <<= 1;
            if x >= 1 << 32 {
                bits |= 1;
                x >>= 1;
            }
            count += 1;
        }
        table[i] = ((bits + 1) >> 1) as u8;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_functions_they_stand_for() {
        for (i, entry) in LOG2.into_iter().enumerate() {
            let x = i as f64 / 256.0;
            assert_eq!(f64::from(entry), (256.0 * (1.0 + x).log2()).round(), "log2 at {i}");
        }
    }

    #[test]
    fn powers_undo_logarithms() {
        for x in [1, 2, 3, 255, 511, 1000, 65_537, 1 << 40, u64::MAX >> 18] {
            let back = power(log(x));
            assert!(back <= x && back >= x - (x >> 8), "{x} became {back}");
            assert!((f64::from(log(x)) / 256.0 - (x as f64).log2()).abs() < 0.09, "{x}");
        }
        assert_eq!((power(i32::MIN), power(-1), log(u64::MAX)), (1, 1, 64 * ONE - 1));
    }

    #[test]
    fn small_numbers_have_the_same_logarithm_as_floats() {
        for x in (1..1 << 24).step_by(997).chain([1, 2, 3, (1 << 24) - 1]) {
            assert_eq!(log_small(x), log(x as u64), "{x}");
        }
        for x in 0..24 * ONE {
            assert_eq!(power_small(x) as u64, power(x), "{x}");
        }
    }
}
