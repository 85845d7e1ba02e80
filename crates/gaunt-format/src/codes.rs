//! Integer codes to bits and back: the entropy coder as others see it.

use alloc::{vec, vec::Vec};

use crate::{
    FormatError, Limits,
    ans::{Decoder, Encoder},
    code_model::{CodeModel, Dims},
    limits,
    plan::Plan,
    side_by_side,
};

/// Writes all codes of a tensor.
pub(crate) fn write(coder: &mut Encoder, codes: &[i32], shape: &[usize]) {
    if codes.is_empty() {
        return;
    }
    let dims = Dims::new(shape);
    let plan = Plan::fit(codes, dims.taps);
    plan.code(coder);
    let mut model = CodeModel::new(dims, plan);
    let mut copy = vec![0; dims.row()];
    for row in codes.chunks_exact(dims.row()) {
        copy.copy_from_slice(row);
        // A writer's stream never ends, and its codes fit.
        let _ = model.code_row(coder, &mut copy);
    }
}

/// Codes that are read row by row.
pub(crate) struct Rows {
    model: CodeModel,
    /// Codes of each row.
    pub(crate) length: usize,
    pub(crate) left: usize,
}

impl Rows {
    /// Of a tensor of a shape that has elements.
    pub(crate) fn begin(coder: &mut Decoder, shape: &[usize]) -> Self {
        let dims = Dims::new(shape);
        Self { model: CodeModel::new(dims, Plan::UNKNOWN.code(coder)), length: dims.row(), left: dims.rows }
    }

    /// Reads a row, of which there must be one left, into as many zeros. None if there are no such bytes.
    pub(crate) fn next(&mut self, coder: &mut Decoder, row: &mut [i32]) -> Option<()> {
        self.left -= 1;
        self.model.code_row(coder, row)
    }
}

/// Codes that room is made for at once, for each byte that is left.
const CODES_PER_BYTE: usize = 32;

/// Reads the codes of a tensor, as long as there are bytes and the codes fit `i32`. The shape must have been checked:
/// its product is what is read, and memory follows the bytes and what was read, but for one row.
pub(crate) fn read(coder: &mut Decoder, shape: &[usize]) -> Option<Vec<i32>> {
    let mut codes = Vec::new();
    if shape.contains(&0) {
        return Some(codes);
    }
    let mut rows = Rows::begin(coder, shape);
    codes.reserve(shape.iter().product::<usize>().min(CODES_PER_BYTE * coder.bytes_left()));
    while rows.left > 0 {
        let read = codes.len();
        codes.resize(read + rows.length, 0);
        rows.next(coder, &mut codes[read..])?;
    }
    Some(codes)
}

/// Reads the codes of a tensor, which must be the last of their stream.
pub(crate) fn read_last(coder: &mut Decoder, shape: &[usize]) -> Option<Vec<i32>> {
    read(coder, shape).filter(|_| coder.is_complete())
}

/// The bytes of the codes of a tensor of this shape, without scales: what [`crate::Model::to_bytes`] spends on them.
///
/// # Panics
/// If the shape has another number of elements.
pub fn encode_codes(codes: &[i32], shape: &[usize]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), codes.len(), "codes of a tensor of shape {shape:?}");
    let mut coder = Encoder::new(codes.len());
    write(&mut coder, codes, shape);
    coder.finish()
}

/// The codes that [`encode_codes`] made `bytes` of.
///
/// A few bytes can hold any number of zeros: a shape from elsewhere needs a limit.
///
/// # Errors
/// If the bytes end early, or the shape has more elements than the default [`Limits`].
pub fn decode_codes(bytes: &[u8], shape: &[usize]) -> Result<Vec<i32>, FormatError> {
    let elements = limits::elements(shape)?;
    limits::check("elements", elements, Limits::default().elements)?;
    read_last(&mut Decoder::new(bytes, elements), shape).ok_or(FormatError::Truncated { place: "the codes" })
}

/// The codes of several tensors, each as from [`decode_codes`]; with the feature `parallel` side by side.
pub fn decode_all_codes(tensors: Vec<(&[u8], &[usize])>) -> Vec<Result<Vec<i32>, FormatError>> {
    side_by_side::each(tensors, |(bytes, _)| bytes.len(), |(bytes, shape)| decode_codes(bytes, shape))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(bytes: &[u8], shape: &[usize]) -> Option<Vec<i32>> {
        decode_codes(bytes, shape).ok()
    }

    /// Codes of a rank-one density, and the entropy of the source in bits.
    fn source(shape: [usize; 4], density: impl Fn(usize, usize) -> f64) -> (Vec<i32>, f64) {
        let mut state = 7u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let taps = shape[2] * shape[3];
        let mut entropy = 0.0;
        let codes = (0..shape.iter().product()).map(|i: usize| {
            let p = density(i / taps / shape[1], i / taps % shape[1]);
            // Magnitudes are geometric with ratio 0.4.
            let geometric = (-(0.6f64.log2()) - 0.4 / 0.6 * 0.4f64.log2()) + 1.0;
            entropy += -p * p.log2() - (1.0 - p) * (1.0 - p).log2() + p * geometric;
            if uniform() >= p {
                return 0;
            }
            let mut magnitude = 1;
            while uniform() < 0.4 {
                magnitude += 1;
            }
            if uniform() < 0.5 { magnitude } else { -magnitude }
        });
        (codes.collect(), entropy)
    }

    #[test]
    fn codes_of_uneven_density_cost_little_more_than_their_entropy() {
        let shape = [64, 64, 3, 3];
        let (codes, entropy) = source(shape, |o, i| 0.01 + 0.6 * (o as f64 / 64.0).powi(2) * (i as f64 / 64.0));
        let bits = 8.0 * encode_codes(&codes, &shape).len() as f64;
        assert!(bits < 1.05 * entropy, "{bits} bits for an entropy of {entropy}");
    }

    #[test]
    fn a_small_dense_tensor_pays_little_for_learning() {
        let shape = [16, 16, 3, 3];
        let (codes, entropy) = source(shape, |_, _| 0.5);
        let bits = 8.0 * encode_codes(&codes, &shape).len() as f64;
        assert!(bits < 1.05 * entropy, "{bits} bits for an entropy of {entropy}");
    }

    /// Guards the bytes of codes across versions of this crate: tap predictions, escapes, coded low bits and empty rows take part.
    #[test]
    fn the_bytes_of_codes_are_pinned() {
        let mut state = 1u32;
        let mut draw = |spread: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) % (2 * spread + 1)) as i32 - spread as i32
        };
        let shape = [24, 24, 3, 3];
        let mut codes = |spread: [u32; 4]| -> Vec<i32> {
            (0..24 * 24)
                .flat_map(|kernel| {
                    let base = draw(spread[kernel / 24 % 4]);
                    core::array::from_fn::<i32, 9, _>(|tap| (base + draw(spread[kernel % 4])) * i32::from(tap % 3 != 1))
                })
                .collect()
        };
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let found = [[0, 0, 1, 0], [2, 0, 1, 9], [90, 4, 300, 0]].map(|spread| {
            let codes = codes(spread);
            let bytes = encode_codes(&codes, &shape);
            assert_eq!(back(&bytes, &shape), Some(codes));
            (bytes.len(), crc.checksum(&bytes))
        });
        assert_eq!(
            found,
            [(386, 749_780_294), (1576, 3_349_779_572), (4140, 3_496_302_001)],
            "the format has changed: count `VERSION` up (docs/format.md says what becomes of older files)"
        );
    }

    #[test]
    fn empty_tensors_are_nearly_free() {
        assert!(encode_codes(&[], &[0, 3, 3, 3]).is_empty());
        let zeros = alloc::vec![0; 512 * 512 * 9];
        assert!(encode_codes(&zeros, &[512, 512, 3, 3]).len() < 120);
    }

    proptest! {
        #[test]
        fn any_codes_come_back(
            outputs in 0usize..6, inputs in 0usize..5, side in 0usize..4,
            pool in prop::collection::vec(prop_oneof![8 => Just(0), 4 => -3..=3, 1 => -50..=50, 1 => any::<i32>()], 225),
        ) {
            let shape = [outputs, inputs, side, side];
            let codes = &pool[..shape.iter().product()];
            let decoded = back(&encode_codes(codes, &shape), &shape);
            prop_assert_eq!(decoded.as_deref(), Some(codes));
        }
    }

    #[test]
    fn extremes_come_back() {
        for codes in [[i32::MIN, i32::MAX], [40, -40], [16, 0], [15, 14]] {
            assert_eq!(back(&encode_codes(&codes, &[2]), &[2]).as_deref(), Some(&codes[..]));
        }
    }

    #[test]
    fn bytes_that_end_early_are_noticed() {
        let (codes, _) = source([16, 16, 3, 3], |_, _| 0.5);
        let bytes = encode_codes(&codes, &[16, 16, 3, 3]);
        assert_eq!(back(&bytes[..bytes.len() / 2], &[16, 16, 3, 3]), None);
    }

    #[test]
    fn large_codes_cost_little_more_than_their_entropy() {
        // Uniform over 255 and over 60,001 magnitudes with a sign: nothing to be learnt but the range.
        for (range, len) in [(127i64, 64 * 64), (30_000, 2048)] {
            let mut state = 3u64;
            let mut draw = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 33) as i64 % (2 * range + 1) - range) as i32
            };
            let codes: Vec<i32> = (0..len).map(|_| draw()).collect();
            let entropy = len as f64 * ((2 * range + 1) as f64).log2();
            let bits = 8.0 * encode_codes(&codes, &[len / 64, 64]).len() as f64;
            assert!(bits < 1.03 * entropy, "{bits} bits for an entropy of {entropy} at +-{range}");
        }
    }

    #[test]
    fn a_dead_row_costs_next_to_nothing() {
        let shape = [64, 64, 3, 3];
        let (codes, _) = source(shape, |_, _| 0.3);
        let row = 64 * 9;
        let half_dead: Vec<i32> = (0..64)
            .flat_map(|o| if o % 2 == 0 { codes[o * row..][..row].to_vec() } else { alloc::vec![0; row] })
            .collect();
        let alive: Vec<i32> = (0..32).flat_map(|o| codes[2 * o * row..][..row].to_vec()).collect();
        let cost = encode_codes(&half_dead, &shape).len() as f64 / encode_codes(&alive, &[32, 64, 3, 3]).len() as f64;
        assert!(cost < 1.06, "dead rows cost {cost} times what the live ones do");
    }

    #[test]
    fn bits_that_no_encoder_writes_do_not_panic() {
        // 0xff climbs every rung; the others wander.
        for fill in [0x00, 0x55, 0xaa, 0xff] {
            for shape in [&[7][..], &[3, 2, 2, 2], &[2, 0, 3], &[]] {
                let _ = back(&[fill; 40], shape);
            }
        }
    }
}
