//! The coder of weight codes: context-mixed, adaptive, in one pass.
//!
//! Codes are visited output channel by output channel. Each is a chain of decisions: is it zero; its sign; is its
//! magnitude more than 1, more than 2, and so on. Every decision is predicted by counters under several contexts made of
//! codes already known, mixed by weights that learn too:
//!
//! - neighbours in the same kernel (the two taps before, the tap above), with the position in the kernel;
//! - the same tap of the two previous output channels and of the previous input channel;
//! - how full the output channel has been so far, and how full the input channel and the tap were in the output channels before;
//! - the last few codes, and the layer as a whole.

use alloc::{vec, vec::Vec};

use crate::{
    numbers::NumberModel,
    predict::{Counter, Mixed, bits},
    range::{Coder, Decoder, Encoder},
};

/// Magnitudes up to here are a ladder of decisions; what is above goes through [`NumberModel`].
const LADDER: u32 = 14;
/// Tensors whose largest code is beyond this are coded as plain numbers: a ladder would be long for most.
const LADDER_TENSOR: u32 = 40;
/// Levels of fullness.
const LEVELS: usize = 16;
/// Kernel positions that have contexts of their own.
const TAPS: usize = 25;
const ZERO_CONTEXTS: usize = 6;
const LADDER_CONTEXTS: usize = 3;
/// Where counters of a first nonzero code start: most codes are zero.
const START: u16 = 1 << 14;
const HALF: u16 = 1 << 15;

/// Codes as `[output channels, input channels, taps]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    outputs: usize,
    inputs: usize,
    taps: usize,
    /// Taps in a row of the kernel.
    width: usize,
}

impl Layout {
    pub(crate) fn of(shape: &[usize]) -> Self {
        let at = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        let taps = shape.iter().skip(2).product();
        Self {
            outputs: at(0),
            inputs: at(1),
            taps,
            width: shape.last().copied().filter(|_| shape.len() > 2).unwrap_or(1),
        }
    }

    pub(crate) fn len(self) -> usize {
        self.outputs * self.inputs * self.taps
    }
}

/// The adaptive model of one tensor, at a position in it.
#[derive(Clone, Debug)]
pub(crate) struct CodeModel {
    layout: Layout,
    zero: Mixed<ZERO_CONTEXTS>,
    ladder: Mixed<LADDER_CONTEXTS>,
    signs: Vec<Counter>,
    beyond: NumberModel,
    /// Magnitudes so far, at most 255 each, and signs as -1, 0, 1.
    magnitudes: Vec<u8>,
    last_signs: [i8; 2],
    row: Fullness,
    columns: Vec<Fullness>,
    taps: Vec<Fullness>,
    /// One bit for each of the last codes: was it nonzero.
    recent: u32,
}

/// Sum of small magnitudes over a number of codes.
#[derive(Clone, Copy, Debug, Default)]
struct Fullness {
    sum: u32,
    seen: u32,
}

impl Fullness {
    fn add(&mut self, magnitude: u32) {
        self.sum += magnitude.min(3);
        self.seen += 1;
    }

    /// Logarithmic level from 0 (nothing seen or empty) on.
    fn level(self) -> usize {
        if self.seen == 0 {
            return LEVELS - 1;
        }
        // Mean magnitude in units of 1/64, rounded so that a few codes already say something.
        let mean = (u64::from(self.sum) * 128 + 32) / (u64::from(self.seen) * 2 + 1);
        let log = 64 - mean.leading_zeros() as usize;
        let half = if log >= 2 { (mean >> (log - 2) & 1) as usize } else { 0 };
        (2 * log + half).min(LEVELS - 2)
    }
}

/// What the decisions of one code are predicted from.
struct Contexts {
    zero: [usize; ZERO_CONTEXTS],
    mixer: usize,
    ladder: [usize; LADDER_CONTEXTS],
    sign: usize,
}

impl CodeModel {
    pub(crate) fn new(layout: Layout) -> Self {
        let zero_sizes = [TAPS * 27, 81, LEVELS * LEVELS, LEVELS * TAPS, 256, LEVELS * 9];
        let ladder_sizes = [16 * 16, 16 * LEVELS, 16 * LEVELS];
        Self {
            layout,
            zero: Mixed::new(zero_sizes, 9, START, 250),
            ladder: Mixed::new(ladder_sizes, 16, START, 250),
            signs: vec![Counter::new(HALF); 9],
            beyond: NumberModel::new(),
            magnitudes: Vec::new(),
            last_signs: [0; 2],
            row: Fullness::default(),
            columns: vec![Fullness::default(); layout.inputs],
            taps: vec![Fullness::default(); layout.taps],
            recent: 0,
        }
    }

    /// Codes the next code; a reader's `value` is ignored.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: i32) -> i32 {
        let contexts = self.contexts();
        let wanted = value.unsigned_abs();
        let mut code = 0;
        if self.zero.code(coder, &contexts.zero, contexts.mixer, wanted != 0) {
            let negative = self.signs[contexts.sign].code(coder, value < 0);
            let mut magnitude = 1;
            while magnitude <= LADDER {
                let (picked, mixer) = ladder_at(&contexts, magnitude);
                if !self.ladder.code(coder, &picked, mixer, wanted > magnitude) {
                    break;
                }
                magnitude += 1;
            }
            if magnitude > LADDER {
                // Magnitudes go up to 2^31, so the rest fits.
                let rest = self.beyond.code(coder, wanted.saturating_sub(LADDER + 1) as i32);
                magnitude = rest.unsigned_abs().saturating_add(LADDER + 1).min(1 << 31);
            }
            code = if negative { (magnitude as i32).wrapping_neg() } else { magnitude.min(i32::MAX as u32) as i32 };
        }
        self.advance(code);
        code
    }

    /// Bits that `value` would cost next.
    pub(crate) fn cost(&self, value: i32) -> f32 {
        let contexts = self.contexts();
        let wanted = value.unsigned_abs();
        let mut cost = bits(self.zero.probability(&contexts.zero, contexts.mixer), wanted != 0);
        if wanted == 0 {
            return cost;
        }
        cost += bits(self.signs[contexts.sign].probability(), value < 0);
        for magnitude in 1..=LADDER.min(wanted) {
            let (picked, mixer) = ladder_at(&contexts, magnitude);
            cost += bits(self.ladder.probability(&picked, mixer), wanted > magnitude);
        }
        cost + 2.0 * libm::log2f(wanted.saturating_sub(LADDER).max(1) as f32)
    }

    fn contexts(&self) -> Contexts {
        let Layout { inputs, taps, width, .. } = self.layout;
        let at = self.magnitudes.len();
        let (input, tap) = (at / taps % inputs, at % taps);
        let row = inputs * taps;
        let back = |distance: usize, exists: bool| if exists { usize::from(self.magnitudes[at - distance]) } else { 0 };
        let left = back(1, tap >= 1);
        let left2 = back(2, tap >= 2);
        let up = back(width, tap >= width);
        let above = back(row, at >= row);
        let above2 = back(2 * row, at >= 2 * row);
        let before = back(taps, input >= 1);
        let before2 = back(2 * taps, input >= 2);
        let cap = |magnitude: usize| magnitude.min(2);
        let tap_class = tap.min(TAPS - 1);
        let near = cap(left) + cap(up) + cap(above) + cap(before);
        let (row_level, column_level) = (self.row.level(), self.columns[input].level());
        let tap_level = self.taps[tap].level();
        let zero = [
            tap_class * 27 + cap(left) * 9 + cap(up) * 3 + cap(left2),
            cap(above) * 27 + cap(above2) * 9 + cap(before) * 3 + cap(before2),
            row_level * LEVELS + column_level,
            tap_level * TAPS + tap_class,
            (self.recent & 255) as usize,
            row_level * 9 + near,
        ];
        let around = (2 * (left + up + above + before)).min(60) / 4;
        let sign = |sign: i8| (sign + 1) as usize;
        Contexts {
            zero,
            mixer: near,
            ladder: [around, row_level, column_level],
            sign: sign(self.last_signs[0]) * 3 + sign(self.last_signs[1]),
        }
    }

    /// Takes a code as known and moves on.
    fn advance(&mut self, code: i32) {
        let Layout { inputs, taps, .. } = self.layout;
        let at = self.magnitudes.len();
        let magnitude = code.unsigned_abs();
        self.row.add(magnitude);
        self.columns[at / taps % inputs].add(magnitude);
        self.taps[at % taps].add(magnitude);
        self.recent = self.recent << 1 | u32::from(magnitude != 0);
        self.last_signs =
            if (at + 1).is_multiple_of(taps) { [0; 2] } else { [code.signum() as i8, self.last_signs[0]] };
        self.magnitudes.push(magnitude.min(255) as u8);
        if (at + 1).is_multiple_of(inputs * taps) {
            self.row = Fullness::default();
        }
    }
}

fn ladder_at(contexts: &Contexts, magnitude: u32) -> ([usize; LADDER_CONTEXTS], usize) {
    let rung = magnitude as usize;
    let [around, row, column] = contexts.ladder;
    ([rung * 16 + around, rung * LEVELS + row, rung * LEVELS + column], rung)
}

/// Whether codes are coded as plain numbers.
fn are_numbers(codes: &[i32]) -> bool {
    codes.iter().any(|code| code.unsigned_abs() > LADDER_TENSOR)
}

/// Writes all codes of a tensor.
pub(crate) fn write(coder: &mut Encoder, codes: &[i32], shape: &[usize]) {
    if codes.is_empty() {
        return;
    }
    let numbers = are_numbers(codes);
    coder.code(u32::from(HALF), numbers);
    if numbers {
        let mut model = NumberModel::new();
        codes.iter().for_each(|&code| {
            model.code(coder, code);
        });
    } else {
        let mut model = CodeModel::new(Layout::of(shape));
        codes.iter().for_each(|&code| {
            model.code(coder, code);
        });
    }
}

/// Reads `count` codes of a tensor, as long as there are bytes.
pub(crate) fn read(coder: &mut Decoder, shape: &[usize]) -> Option<Vec<i32>> {
    let count = Layout::of(shape).len();
    if count == 0 {
        return Some(Vec::new());
    }
    let numbers = coder.code(u32::from(HALF), false);
    let (mut plain, mut model) = (NumberModel::new(), CodeModel::new(Layout::of(shape)));
    let mut codes = Vec::new();
    for _ in 0..count {
        codes.push(if numbers { plain.code(coder, 0) } else { model.code(coder, 0) });
        if coder.is_exhausted() {
            return None;
        }
    }
    Some(codes)
}

/// The bytes of the codes of a tensor of this shape, without scales: what [`crate::Model::to_bytes`] spends on them.
///
/// # Panics
/// If the shape has another number of elements.
pub fn encode_codes(codes: &[i32], shape: &[usize]) -> Vec<u8> {
    assert_eq!(Layout::of(shape).len(), codes.len(), "codes of a tensor of shape {shape:?}");
    let mut coder = Encoder::new();
    write(&mut coder, codes, shape);
    coder.finish()
}

/// The coder as a judge: what each choice for the next code would cost, for rate-distortion optimised quantisation
/// (Wiedemann et al., *DeepCABAC*, 2020).
#[derive(Clone, Debug)]
pub struct CostModel(CodeModel);

impl CostModel {
    /// At the first code of a tensor.
    pub fn new(shape: &[usize]) -> Self {
        Self(CodeModel::new(Layout::of(shape)))
    }

    /// Bits that `code` would cost as the next one.
    pub fn cost(&self, code: i32) -> f32 {
        self.0.cost(code)
    }

    /// Takes `code` as the next one, learns from it and moves on.
    pub fn commit(&mut self, code: i32) {
        self.0.code(&mut Silent, code);
    }
}

/// Writes nothing.
struct Silent;

impl Coder for Silent {
    fn code(&mut self, _: u32, bit: bool) -> bool {
        bit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(bytes: &[u8], shape: &[usize]) -> Option<Vec<i32>> {
        read(&mut Decoder::new(bytes), shape)
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
        assert!(bits < 1.06 * entropy, "{bits} bits for an entropy of {entropy}");
    }

    #[test]
    fn a_small_dense_tensor_pays_little_for_learning() {
        let shape = [16, 16, 3, 3];
        let (codes, entropy) = source(shape, |_, _| 0.5);
        let bits = 8.0 * encode_codes(&codes, &shape).len() as f64;
        assert!(bits < 1.05 * entropy, "{bits} bits for an entropy of {entropy}");
    }

    #[test]
    fn empty_tensors_are_nearly_free() {
        assert!(encode_codes(&[], &[0, 3, 3, 3]).is_empty());
        let zeros = alloc::vec![0; 512 * 512 * 9];
        assert!(encode_codes(&zeros, &[512, 512, 3, 3]).len() < 120);
    }

    #[test]
    fn the_cost_model_agrees_with_the_coder() {
        let shape = [32, 32, 3, 3];
        let (codes, _) = source(shape, |_, _| 0.3);
        let mut model = CostModel::new(&shape);
        let mut bits = 0.0;
        for &code in &codes {
            bits += f64::from(model.cost(code));
            model.commit(code);
        }
        let coded = 8.0 * encode_codes(&codes, &shape).len() as f64;
        assert!((bits / coded - 1.0).abs() < 0.005, "{bits} estimated, {coded} coded");
    }

    proptest! {
        #[test]
        fn any_codes_come_back(
            outputs in 0usize..6, inputs in 0usize..5, side in 1usize..4,
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
        for codes in [[i32::MIN, i32::MAX], [40, -40], [41, 0], [15, 14]] {
            assert_eq!(back(&encode_codes(&codes, &[2]), &[2]).as_deref(), Some(&codes[..]));
        }
    }

    #[test]
    fn bytes_that_end_early_are_noticed() {
        let (codes, _) = source([16, 16, 3, 3], |_, _| 0.5);
        let bytes = encode_codes(&codes, &[16, 16, 3, 3]);
        assert_eq!(back(&bytes[..bytes.len() / 2], &[16, 16, 3, 3]), None);
    }
}
