//! The coder of the description and the metadata: bytes, predicted from up to three before them.

use alloc::{vec, vec::Vec};

use crate::{
    mix::{Counter, Mixer},
    range::{Coder, Decoder, Encoder},
    wire::{Reader, Writer},
};

/// Counters for each order.
const TABLE: usize = 1 << 13;
const ORDERS: usize = 4;
/// Shift of the mixer's learning rate.
const RATE: u32 = 13;

struct TextModel {
    mixer: Mixer<ORDERS>,
    /// The bytes before, the last one lowest.
    before: u32,
}

impl TextModel {
    fn new() -> Self {
        let counters = vec![Counter::new(1 << 31, 0, 60); TABLE * ORDERS];
        Self { mixer: Mixer::new(counters, 8, [3 << 14; ORDERS]), before: 0 }
    }

    fn code(&mut self, coder: &mut impl Coder, byte: u8) -> u8 {
        let mut node = 1usize;
        for bit in (0..8).rev() {
            let picked = core::array::from_fn(|order| self.slot(order as u32, node));
            let prediction = self.mixer.predict(picked, bit);
            let set = coder.code(prediction.p(), byte >> bit & 1 == 1);
            self.mixer.learn(&prediction, set, RATE);
            node = node << 1 | usize::from(set);
        }
        self.before = self.before << 8 | (node as u32 & 255);
        node as u8
    }

    /// The counter of a node of the byte's binary tree after the last `order` bytes.
    fn slot(&self, order: u32, node: usize) -> usize {
        let before = if order == 0 { 0 } else { self.before & (u32::MAX >> (32 - 8 * order)) };
        let hash = (before.wrapping_mul(4).wrapping_add(order)).wrapping_mul(0x9E37_79B1)
            ^ (node as u32).wrapping_mul(0x85EB_CA6B);
        order as usize * TABLE + ((hash ^ hash >> 15).wrapping_mul(0x2C1B_3C6D) as usize >> 16 & (TABLE - 1))
    }
}

/// Compresses bytes; their number is not part of the result.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    let (mut coder, mut model) = (Encoder::new(), TextModel::new());
    bytes.iter().for_each(|&byte| {
        model.code(&mut coder, byte);
    });
    coder.finish()
}

/// Expands `count` bytes; none if the stream ends before.
pub(crate) fn expand(bytes: &[u8], count: usize) -> Option<Vec<u8>> {
    let (mut coder, mut model) = (Decoder::new(bytes), TextModel::new());
    let mut expanded = Vec::new();
    for _ in 0..count {
        expanded.push(model.code(&mut coder, 0));
        if coder.is_exhausted() {
            return None;
        }
    }
    Some(expanded)
}

/// Compresses bytes with their number in front.
pub(crate) fn compress_sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.size(bytes.len());
    out.0.extend(compress(bytes));
    out.0
}

/// Expands what [`compress_sized`] made, up to `limit` bytes.
pub(crate) fn expand_sized(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut input = Reader::new(bytes, "the header");
    let count = input.size().ok().filter(|&count| count <= limit)?;
    expand(input.take(input.left()).ok()?, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(expand(&compress(&bytes), bytes.len()), Some(bytes));
        }
    }

    #[test]
    fn names_that_repeat_cost_little() {
        let names: alloc::string::String =
            (0..20).map(|i| alloc::format!("layer{}.{}.conv1.weight\n", 1 + i / 7, i % 7)).collect();
        assert!(compress(names.as_bytes()).len() < names.len() / 5);
    }

    #[test]
    fn a_stream_that_ends_early_is_noticed() {
        let bytes = compress(&[1, 99, 3, 77, 5, 200, 31, 8, 9, 10, 43, 12]);
        assert_eq!(expand(&bytes[..2], 12), None);
    }
}
