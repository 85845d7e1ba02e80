//! Numbers of any size: adaptive classes by bit length, then adaptive leading bits, then the rest as it is.

use alloc::{vec, vec::Vec};

use crate::{predict::Counter, range::Coder};

/// Bits after the leading one that are worth a model.
const MODELLED: u32 = 2;
const HALF: u16 = 1 << 15;
/// Length classes: 0 for zero, else the bit length of the magnitude.
const CLASSES: usize = 64;

/// An adaptive model of signed integers of up to 32 bits.
#[derive(Clone, Debug)]
pub(crate) struct NumberModel {
    /// A binary tree over the classes.
    class: Vec<Counter>,
    sign: Counter,
    leading: Vec<Counter>,
}

impl NumberModel {
    pub(crate) fn new() -> Self {
        Self {
            class: vec![Counter::new(HALF); CLASSES],
            sign: Counter::new(HALF),
            leading: vec![Counter::new(HALF); CLASSES << MODELLED],
        }
    }

    /// Codes one number; a reader's `value` is ignored.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: i32) -> i32 {
        let magnitude = value.unsigned_abs();
        let class = self.code_class(coder, u32::BITS - magnitude.leading_zeros());
        if class == 0 {
            return 0;
        }
        let negative = self.sign.code(coder, value < 0);
        let mut read = 1u32;
        for bit in (0..class - 1).rev() {
            let wanted = magnitude >> bit & 1 == 1;
            let depth = class - 2 - bit;
            let got = if depth < MODELLED {
                // The leading one and what follows it number the nodes of a small tree.
                self.leading[(class as usize) << MODELLED | read as usize & 3].code(coder, wanted)
            } else {
                coder.code(u32::from(HALF), wanted)
            };
            read = read << 1 | u32::from(got);
        }
        if negative { read.wrapping_neg() as i32 } else { i32::try_from(read).unwrap_or(i32::MAX) }
    }

    fn code_class(&mut self, coder: &mut impl Coder, class: u32) -> u32 {
        let mut node = 1usize;
        for bit in (0..6).rev() {
            node = node << 1 | usize::from(self.class[node].code(coder, class >> bit & 1 == 1));
        }
        // A hostile stream can name classes that no encoder writes.
        (node as u32 & 63).min(u32::BITS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::range::{Decoder, Encoder};

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(prop_oneof![any::<i32>(), -300i32..300], 0..200)) {
            let (mut encoder, mut model) = (Encoder::new(), NumberModel::new());
            numbers.iter().for_each(|&number| { model.code(&mut encoder, number); });
            let bytes = encoder.finish();
            let (mut decoder, mut model) = (Decoder::new(&bytes), NumberModel::new());
            for &number in numbers.iter().chain(&[]) {
                prop_assert_eq!(model.code(&mut decoder, 0), number);
            }
        }
    }
}
