//! Logarithms and powers of two in integers, with 8 fractional bits, from tables.

/// One in logarithms.
pub(crate) const ONE: i32 = 256;

/// `round(256 * log2(1 + i / 256))`.
const LOG2: [u8; 256] = log2_table();
/// `round(65536 * 2^(i / 256))`.
const EXP2: [u32; 256] = exp2_table();

/// Binary logarithm of a positive number, with 8 fractional bits.
#[inline(always)]
pub(crate) const fn log2(x: u64) -> i32 {
    let zeros = x.leading_zeros();
    let mantissa = (x << zeros) >> 55 & 255;
    ((63 - zeros as i32) << 8) + LOG2[mantissa as usize] as i32
}

/// `2^(x / 256)`, rounded down, of `x` from 0 to below `46 * 256`.
pub(crate) fn exp2(x: i32) -> u64 {
    let x = x.clamp(0, 46 * ONE - 1) as u32;
    (u64::from(EXP2[(x & 255) as usize]) << (x >> 8)) >> 16
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

/// A product of roots of two, one for each set bit of the index.
const fn exp2_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut power, mut root, mut bit) = (1u128 << 62, 2u128 << 62, 8);
        while bit > 0 {
            bit -= 1;
            root = (root << 62).isqrt();
            if i >> bit & 1 == 1 {
                power = (power * root) >> 62;
            }
        }
        table[i] = ((power + (1 << 45)) >> 46) as u32;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_functions_they_stand_for() {
        for i in 0..256 {
            let x = i as f64 / 256.0;
            assert_eq!(f64::from(LOG2[i]), (256.0 * (1.0 + x).log2()).round(), "log2 at {i}");
            assert_eq!(f64::from(EXP2[i]), (65_536.0 * x.exp2()).round(), "exp2 at {i}");
        }
    }

    #[test]
    fn powers_undo_logarithms() {
        for x in [1, 2, 3, 1000, 65_537, 1 << 40] {
            let back = exp2(log2(x)) as f64;
            assert!((back / x as f64 - 1.0).abs() < 0.004 || back.round() as u64 == x, "{x} became {back}");
        }
        assert_eq!((exp2(i32::MIN), log2(u64::MAX)), (1, 64 * ONE - 1));
    }
}
