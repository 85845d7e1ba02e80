//! The rate model: how many bits a code will cost in the file, before it is coded.
//!
//! A zero-inflated two-sided geometric distribution. Whether a weight is zero depends on how full its output
//! channel, its input channel and its kernel position are (a rank-one model, shrunk towards the layer's mean);
//! magnitudes are geometric with one parameter per layer. It is what the file's adaptive coder learns, in closed
//! form, so it can steer training: weights in emptying channels cost more and empty them further (Oktay et al.
//! 2020 and Wiedemann et al. 2020 use per-layer densities in the same place).

use rayon::prelude::*;

/// A weight tensor as `[output channels, input channels, kernel positions]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeShape {
    /// Output channels.
    pub outputs: usize,
    /// Input channels (of one group).
    pub inputs: usize,
    /// Kernel positions.
    pub taps: usize,
    /// Kernel positions in a row.
    pub width: usize,
}

impl CodeShape {
    /// Reads `[O, I, KH, KW]` or `[O, I]`.
    pub fn of(shape: &[usize]) -> Self {
        let outputs = shape.first().copied().unwrap_or(1);
        let inputs = shape.get(1).copied().unwrap_or(1);
        let width = shape.get(3).copied().unwrap_or(1);
        Self { outputs, inputs, taps: shape.iter().skip(2).product(), width }
    }

    /// As the coder of the file sees it.
    pub fn dims(self) -> [usize; 4] {
        [self.outputs, self.inputs, self.taps / self.width.max(1), self.width]
    }

    /// Number of weights.
    pub fn len(self) -> usize {
        self.outputs * self.inputs * self.taps
    }
}

/// Occurrences that each marginal is shrunk by, towards the layer's mean.
const PSEUDO_COUNTS: f32 = 2.0;
/// Probabilities of a nonzero code are kept inside this range.
const PROBABILITY: (f32, f32) = (0.0005, 0.98);
/// Range of the geometric parameter.
const CONTINUATION: (f32, f32) = (0.02, 0.97);

/// The model of one layer, fitted on its codes.
#[derive(Clone, Debug, PartialEq)]
pub struct RateModel {
    /// Bits that a one costs more than a zero, for every weight: odds, sign, end of the magnitude.
    nonzero_cost: Vec<f32>,
    /// Bits that each further unit of magnitude costs.
    pub unit_cost: f32,
    /// Bits of the whole layer.
    pub bits: f64,
    /// Number of codes that are not zero.
    pub nonzero: usize,
}

impl RateModel {
    /// Fits the model and measures the codes with it.
    pub fn fit(codes: &[i32], shape: CodeShape) -> Self {
        let counts = Counts::of(codes, shape);
        let mean = (counts.nonzero as f32 / shape.len() as f32).clamp(1e-4, 1.0 - 1e-4);
        let marginal = |counts: &[u32], trials: usize| -> Vec<f32> {
            let shrunk = |&n: &u32| (n as f32 + PSEUDO_COUNTS * mean) / (trials as f32 + PSEUDO_COUNTS) / mean;
            counts.iter().map(shrunk).collect()
        };
        let rows = marginal(&counts.rows, shape.inputs * shape.taps);
        let columns = marginal(&counts.columns, shape.outputs * shape.taps);
        let taps = marginal(&counts.taps, shape.outputs * shape.inputs);

        let magnitude = counts.magnitude as f32 / counts.nonzero.max(1) as f32;
        let continuation = (1.0 - 1.0 / magnitude.max(1.0)).clamp(CONTINUATION.0, CONTINUATION.1);
        let (unit_cost, end_cost) = (-continuation.log2(), -(1.0 - continuation).log2());

        let column_taps: Vec<f32> =
            columns.iter().flat_map(|column| taps.iter().map(move |tap| column * tap)).collect();
        let row_len = column_taps.len().max(1);
        let mut nonzero_cost = vec![0.0; codes.len()];
        let costed = nonzero_cost.par_chunks_mut(row_len).zip(codes.par_chunks(row_len)).zip(&rows);
        let bits = costed.map(|((costs, codes), row)| {
            let mut bits = 0.0;
            for ((cost, &code), others) in costs.iter_mut().zip(codes).zip(&column_taps) {
                let p = (row * mean * others).clamp(PROBABILITY.0, PROBABILITY.1);
                let zero_bits = -fast_log2(1.0 - p);
                let one_bits = 1.0 + end_cost - fast_log2(p);
                let steps = code.unsigned_abs();
                *cost = one_bits - zero_bits;
                bits += if steps == 0 { zero_bits } else { one_bits + (steps - 1) as f32 * unit_cost };
            }
            f64::from(bits)
        });
        // Collected before they are added, so that any number of threads adds them in the same order.
        let bits = bits.collect::<Vec<f64>>().iter().sum();
        Self { nonzero_cost, unit_cost, bits, nonzero: counts.nonzero as usize }
    }

    /// Bits by which a one costs more than a zero at each weight; negative where ones are the rule.
    pub fn nonzero_cost(&self) -> &[f32] {
        &self.nonzero_cost
    }
}

/// The binary logarithm of a positive normal number within 1e-5, without a call or a branch, so that loops over it are
/// vectorised.
fn fast_log2(x: f32) -> f32 {
    // The mantissa as a number around 1, from 0.707 to 1.414, and the exponent that goes with it.
    let shifted = x.to_bits().wrapping_sub(f32::to_bits(std::f32::consts::FRAC_1_SQRT_2));
    let exponent = (shifted as i32 >> 23) as f32;
    let y = f32::from_bits((shifted & 0x007F_FFFF) + f32::to_bits(std::f32::consts::FRAC_1_SQRT_2)) - 1.0;
    // ln(1 + y) = 2 artanh(z) with z = y / (2 + y), whose series needs few terms for |z| < 0.172.
    let z = y / (2.0 + y);
    let z2 = z * z;
    let series = 1.0 + z2 * (1.0 / 3.0 + z2 * (1.0 / 5.0 + z2 * (1.0 / 7.0)));
    exponent + 2.0 * std::f32::consts::LOG2_E * z * series
}

/// Nonzero codes along each axis.
struct Counts {
    rows: Vec<u32>,
    columns: Vec<u32>,
    taps: Vec<u32>,
    nonzero: u32,
    magnitude: u64,
}

impl Counts {
    fn of(codes: &[i32], shape: CodeShape) -> Self {
        let mut counts = Self {
            rows: vec![0; shape.outputs],
            columns: vec![0; shape.inputs],
            taps: vec![0; shape.taps],
            nonzero: 0,
            magnitude: 0,
        };
        let row_len = (shape.inputs * shape.taps).max(1);
        let mut column_taps = vec![0u32; row_len];
        for (row, codes) in counts.rows.iter_mut().zip(codes.chunks(row_len)) {
            for (count, &code) in column_taps.iter_mut().zip(codes) {
                let nonzero = u32::from(code != 0);
                *row += nonzero;
                *count += nonzero;
                counts.magnitude += u64::from(code.unsigned_abs());
            }
        }
        for (column, taps) in counts.columns.iter_mut().zip(column_taps.chunks(shape.taps.max(1))) {
            *column = taps.iter().sum();
            counts.taps.iter_mut().zip(taps).for_each(|(tap, count)| *tap += count);
        }
        counts.nonzero = counts.rows.iter().sum();
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes_with(density: impl Fn(usize) -> f64, shape: CodeShape) -> Vec<i32> {
        let mut state = 1u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        (0..shape.len())
            .map(|i| if uniform() < density(i) { if uniform() < 0.5 { 1 } else { -1 } } else { 0 })
            .collect()
    }

    #[test]
    fn the_fast_logarithm_is_near_the_true_one() {
        for i in 1..4000 {
            let x = 0.0005 * i as f32;
            assert!((fast_log2(x) - x.log2()).abs() < 1e-5, "{x}: {} for {}", fast_log2(x), x.log2());
        }
    }

    #[test]
    fn bits_are_near_the_entropy_of_the_source() {
        let shape = CodeShape { outputs: 64, inputs: 32, taps: 9, width: 3 };
        let codes = codes_with(|_| 0.1, shape);
        let entropy = 0.1 * (-(0.1f64).log2() + 1.0) - 0.9 * (0.9f64).log2();
        let bits = RateModel::fit(&codes, shape).bits / shape.len() as f64;
        assert!((bits / entropy - 1.0).abs() < 0.06, "{bits} bits against an entropy of {entropy}");
    }

    #[test]
    fn weights_in_empty_channels_cost_more() {
        let shape = CodeShape { outputs: 16, inputs: 16, taps: 9, width: 3 };
        let codes = codes_with(|i| if i / (16 * 9) < 8 { 0.02 } else { 0.5 }, shape);
        let model = RateModel::fit(&codes, shape);
        assert!(model.nonzero_cost()[0] > model.nonzero_cost()[shape.len() - 1] + 2.0);
    }

    #[test]
    fn empty_and_full_layers_have_finite_costs() {
        let shape = CodeShape { outputs: 4, inputs: 4, taps: 1, width: 1 };
        for codes in [vec![0; 16], vec![3; 16], vec![i32::MAX; 16]] {
            let model = RateModel::fit(&codes, shape);
            assert!(model.bits.is_finite() && model.nonzero_cost().iter().all(|cost| cost.is_finite()));
        }
    }
}
