//! Codes as symbols, and what these leave open: magnitudes beyond the last symbol, the lowest bits, signs that are not told.

use crate::{
    ans::{Coder, Lanes},
    grid::{ESCAPE, ESCAPED},
    mix::Counter,
};

/// The negative of a code, if `negate` has all bits set.
#[inline(always)]
pub(crate) fn turned(code: i32, negate: i16) -> i32 {
    (code ^ i32::from(negate)).wrapping_sub(i32::from(negate))
}

/// The symbol of a code whose lowest `shift` bits are coded apart.
#[inline(always)]
pub(crate) fn symbol_of(code: i32, shift: i16) -> u8 {
    let high = code.unsigned_abs() >> shift;
    let symbol = 2 * high.min(ESCAPED as u32) as i32 - i32::from(code > 0);
    symbol.max(0).min(i32::from(ESCAPE)) as u8
}

/// The code of a symbol that leaves nothing open.
#[inline(always)]
pub(crate) fn code_of(symbol: u8) -> i16 {
    let magnitude = i16::from(symbol + 1) >> 1;
    let sign = i16::from(symbol & 1) - 1;
    (magnitude ^ sign) - sign
}

/// The counters of what is open.
#[derive(Clone, Debug)]
pub(crate) struct Rests {
    /// The highest of the bits that are apart, of codes with others above it and without.
    lows: [Counter; 2],
    /// Whether a magnitude has a higher leading one than this.
    classes: [Counter; 32],
}

impl Rests {
    pub(crate) fn new() -> Self {
        let even = Counter::new(1 << 31, 2, 255);
        Self { lows: [even; 2], classes: [even; 32] }
    }

    /// Codes what the symbols of some lanes leave open. Readers get the codes; none if one does not fit.
    #[cold]
    #[inline(never)]
    pub(crate) fn code<C: Coder>(
        &mut self,
        coder: &mut C,
        symbols: &[u8],
        shifts: &Lanes<i16>,
        negate: &Lanes<i16>,
        codes: &mut Lanes<i32>,
    ) -> Option<()> {
        for (lane, &symbol) in symbols.iter().enumerate() {
            let shift = shifts[lane] as u32;
            let turned = |code: i64| if negate[lane] != 0 { -code } else { code };
            let code = if shift > 0 || symbol == ESCAPE {
                self.code_rest(coder, lane, symbol, shift, turned(i64::from(codes[lane])))
            } else {
                i64::from(code_of(symbol))
            };
            codes[lane] = i32::try_from(turned(code)).ok()?;
        }
        Some(())
    }

    fn code_rest<C: Coder>(&mut self, coder: &mut C, lane: usize, symbol: u8, shift: u32, code: i64) -> i64 {
        let magnitude = code.unsigned_abs();
        let mut high = (u64::from(symbol) + 1) >> 1;
        if symbol == ESCAPE {
            high = ESCAPED + self.code_escaped(coder, lane, (magnitude >> shift).wrapping_sub(ESCAPED));
        }
        let mut low = 0;
        if shift > 0 {
            let counter = &mut self.lows[usize::from(high == 0)];
            let bit = coder.bit(lane, counter.chance(), magnitude >> (shift - 1) & 1 == 1);
            counter.learn(bit);
            low = u64::from(bit) << (shift - 1) | u64::from(coder.plain(lane, magnitude as u32, shift - 1));
        }
        let read = (high << shift | low) as i64;
        let negative = if symbol == ESCAPE || (symbol == 0 && read != 0) {
            coder.plain(lane, u32::from(code < 0), 1) == 1
        } else {
            symbol & 1 == 0
        };
        if negative { -read } else { read }
    }

    /// A number of any size: the place of the leading one of its successor, then the bits below that.
    fn code_escaped<C: Coder>(&mut self, coder: &mut C, lane: usize, number: u64) -> u64 {
        let next = number.wrapping_add(1).max(1);
        let mut class = 0;
        while class < 31 {
            let counter = &mut self.classes[class as usize];
            let higher = coder.bit(lane, counter.chance(), next.ilog2() > class);
            counter.learn(higher);
            if !higher {
                break;
            }
            class += 1;
        }
        (1 << class | u64::from(coder.plain(lane, next as u32, class))) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_tell_magnitude_and_sign() {
        for code in -7..=7 {
            assert_eq!(i32::from(code_of(symbol_of(code, 0))), code);
        }
        for (code, shift, symbol) in
            [(8, 0, 15), (-8, 0, 15), (9, 1, 7), (-9, 1, 8), (1, 1, 0), (-1, 1, 0), (i32::MIN, 24, 15)]
        {
            assert_eq!(symbol_of(code, shift), symbol, "{code} without {shift} bits");
        }
    }
}
