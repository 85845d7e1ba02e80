//! The joint quantiser: one operator that prunes and quantises, steered by one step size (and by a price: [`pull`](crate::pull)).
//!
//! Of each layer we train a latent weight `u`, in units of the layer's sensitivity `h` (the energy-weighted diagonal of the
//! Fisher information): a change of one unit costs the loss as much in every layer of the network. One global
//! step `g` cuts all of them,
//!
//! ```text
//! code   = round(u / g)       weight = code * g * unit of the layer
//! ```
//!
//! so bit-width and sparsity of a layer follow from its sensitivity and from where training moves its weights;
//! neither is set. For a fine step the distortion of a weight is `h D^2 / 24` and its rate falls by one bit per
//! doubling of `D`, which makes equal steps in these units the optimal allocation, and `lambda = g^2 ln 2 / 12`
//! the price of a bit ([`BIT_PRICE`]). At this price the slope of the rate model pulls latent weights towards cheaper
//! codes. Rounding is passed straight through to the latent weight, and is plain: a dead zone, which looks better on paper,
//! measured worse (docs/experiments.md).

use gaunt_graph::ValueId;
use gaunt_train::profile;
use rayon::prelude::*;

use crate::rate::{CodeShape, RateModel};

/// Price of a bit over the squared step, in units of the loss: `ln 2 / 12`.
pub const BIT_PRICE: f32 = 0.057762265;

/// Elements of a parallel task. All is done element by element, so the cut changes no result.
const CHUNK: usize = 1 << 14;
/// Sums that are kept side by side.
const LANES: usize = 16;
/// The range of steps where none is set.
const ANY_STEP: (f32, f32) = (0.0, f32::INFINITY);
/// Magnitude of the largest code.
const LARGEST: f32 = 4_194_303.0;

/// One compressed weight.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The parameter.
    pub weight: ValueId,
    /// Its layout.
    pub shape: CodeShape,
    /// Step when the global step is 1.
    pub unit: f32,
    /// Trained weights, in that unit.
    pub latent: Vec<f32>,
    /// Largest global step that this layer takes part in; infinite unless the user set a floor on its bits.
    pub step_cap: f32,
    /// Least and largest step on the way to sparse codes; anything if no such way is planned, or it is behind. See
    /// [`Layer::fix_step`].
    pub step_range: (f32, f32),
    /// Whether the rate does not pull at this layer.
    pub dense: bool,
    /// Factor on the global step; 1 but for allocations that treat layers one by one.
    pub step_factor: f32,
    /// Codes as of the last [`Layer::quantize`].
    pub codes: Vec<i32>,
    /// Fitted on the codes as of the last [`Layer::refit`].
    pub rate: RateModel,
}

impl Layer {
    /// A layer whose latent weights are the dense ones.
    pub fn new(weight: ValueId, shape: CodeShape, floats: &[f32], unit: f32) -> Self {
        let codes = vec![0; floats.len()];
        let rate = RateModel::fit(&codes, shape);
        let latent = floats.iter().map(|w| w / unit).collect();
        Self {
            weight,
            shape,
            unit,
            latent,
            step_cap: f32::INFINITY,
            step_range: ANY_STEP,
            dense: false,
            step_factor: 1.0,
            codes,
            rate,
        }
    }

    /// Starts again from other floats, perhaps of another shape; the options of the layer stay.
    pub fn restart(&mut self, shape: CodeShape, floats: &[f32]) {
        let Self { step_cap, step_range, dense, step_factor, .. } = *self;
        *self = Self { step_cap, step_range, dense, step_factor, ..Self::new(self.weight, shape, floats, self.unit) };
    }

    /// Forgets all weights but those with the given indices, of which the new shape is made.
    pub fn keep(&mut self, shape: CodeShape, kept: &[usize]) {
        self.latent = kept.iter().map(|&i| self.latent[i]).collect();
        self.codes = kept.iter().map(|&i| self.codes[i]).collect();
        self.shape = shape;
        self.refit();
    }

    /// The step of this layer, in its units, under a global step.
    pub fn step(&self, global: f32) -> f32 {
        self.step_in_range(global).min(self.step_cap)
    }

    /// The same whatever the user's floor on bits. Unlike `clamp` it is at peace with weights that are not finite.
    fn step_in_range(&self, global: f32) -> f32 {
        let (least, largest) = self.step_range;
        (global * self.step_factor).max(least).min(largest)
    }

    /// Keeps the step within a range given in deviations of the weights.
    pub fn limit_step(&mut self, (least, largest): (f32, f32)) {
        let squares: f64 = self.latent.iter().map(|&u| f64::from(u) * f64::from(u)).sum();
        let deviation = (squares / self.latent.len().max(1) as f64).sqrt() as f32;
        self.step_range = (least * deviation, (largest * deviation).max(f32::MIN_POSITIVE));
    }

    /// Makes the range a part of the step: from here all layers' steps keep their proportions.
    pub fn fix_step(&mut self, global: f32) {
        self.step_factor = self.step_in_range(global) / global;
        self.step_range = ANY_STEP;
    }

    /// Limits the step so that the largest weight has codes of at least `bits` bits.
    pub fn floor_bits(&mut self, bits: u32) {
        let largest = self.latent.iter().fold(0.0f32, |largest, u| largest.max(u.abs()));
        let levels = ((1u32 << (bits - 1)) - 1) as f32;
        self.step_cap = (largest / levels).max(f32::MIN_POSITIVE);
    }

    /// Fits the rate model on the codes.
    pub fn refit(&mut self) {
        self.rate = RateModel::fit(&self.codes, self.shape);
    }

    /// Rounds the latent weights.
    pub fn quantize(&mut self, global: f32) {
        let inverse = 1.0 / self.step(global);
        self.codes.par_chunks_mut(CHUNK).zip(self.latent.par_chunks(CHUNK)).for_each(|(codes, latent)| {
            codes.iter_mut().zip(latent).for_each(|(code, &u)| *code = round(u * inverse));
        });
    }

    /// Writes what the latent weights are rounded to, and leaves the codes as they are: a step of training needs no more.
    pub fn write_rounded(&self, global: f32, weights: &mut [f32]) {
        let (inverse, scale) = (1.0 / self.step(global), self.scale(global));
        weights.par_chunks_mut(CHUNK).zip(self.latent.par_chunks(CHUNK)).for_each(|(weights, latent)| {
            weights.iter_mut().zip(latent).for_each(|(weight, &u)| *weight = round(u * inverse) as f32 * scale);
        });
    }

    /// Writes the weights that codes of this layer stand for.
    pub fn write_weights(&self, codes: &[i32], global: f32, weights: &mut [f32]) {
        let scale = self.scale(global);
        weights.par_chunks_mut(CHUNK).zip(codes.par_chunks(CHUNK)).for_each(|(weights, codes)| {
            weights.iter_mut().zip(codes).for_each(|(weight, &code)| *weight = code as f32 * scale);
        });
    }

    /// What a code of one stands for under a global step.
    pub fn scale(&self, global: f32) -> f32 {
        self.unit * self.step(global)
    }

    /// Loss that a bit costs by the allocation that the step was chosen by, whatever range it was kept in.
    pub fn implied_price(&self, global: f32) -> f32 {
        let step = global * self.step_factor;
        BIT_PRICE * step * step
    }

    /// Turns the gradient of the weights into that of the latent weights, and adds the pull of the rate: the slope of the
    /// expected bits at each latent weight, at `price` a bit and of at least `least_slope` below one. Returns the sum of the
    /// squares of the loss's gradient by the codes.
    pub fn latent_gradient(&self, global: f32, price: f32, least_slope: f32, gradient: &mut [f32]) -> f64 {
        let _timer = profile::timer("rate model");
        let step = self.step(global);
        let price = if self.dense { 0.0 } else { price / step };
        let (unit, unit_cost) = (self.unit, self.rate.unit_cost);
        let tasks = gradient.par_chunks_mut(CHUNK).zip(self.latent.par_chunks(CHUNK));
        // Moved into the closure and read before they are chosen from, so that the loop has no branch and is vectorised.
        let squares = tasks.zip(self.rate.nonzero_cost().par_chunks(CHUNK)).map(move |((gradient, latent), costs)| {
            let squares = sum_of_squares(gradient);
            for ((gradient, &u), &cost) in gradient.iter_mut().zip(latent).zip(costs) {
                let below_one = cost.max(least_slope);
                let slope = if u.abs() < step { below_one } else { unit_cost };
                *gradient = *gradient * unit + price * slope.copysign(u);
            }
            squares
        });
        let scale = f64::from(unit) * f64::from(step);
        // Collected before they are added, so that any number of threads adds them in the same order.
        squares.collect::<Vec<f64>>().iter().sum::<f64>() * scale * scale
    }
}

/// Sums of a task are kept side by side, so that the loop over it is vectorised.
fn sum_of_squares(numbers: &[f32]) -> f64 {
    let (blocks, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum += x * x;
        }
    }
    sums.into_iter().chain(rest.iter().map(|x| x * x)).map(f64::from).sum()
}

/// Rounds to the nearest whole number, halves to the even one, up to [`LARGEST`]. Adding so large a number that the last
/// bit of the sum counts ones rounds without a call, so that loops over it are vectorised.
fn round(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (x.clamp(-LARGEST, LARGEST) + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

/// Bit-width of a layer: what its codes need, one for the sign included; 0 if all are zero.
pub fn bit_width(codes: &[i32]) -> u32 {
    let largest = codes.iter().map(|code| code.unsigned_abs()).max().unwrap_or(0);
    if largest == 0 { 0 } else { 1 + (u32::BITS - largest.leading_zeros()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Layer {
        let shape = CodeShape { outputs: 2, inputs: 4, taps: 1, width: 1 };
        Layer::new(ValueId(0), shape, &[0.1, -0.9, 2.2, 0.0, 0.2, -1.8, 4.4, 0.05], 2.0)
    }

    #[test]
    fn rounding_is_to_the_nearest_and_halves_to_even() {
        for x in [0.0, -0.4, 0.5, 1.5, -2.5, 2.500_001, -7.9, 1e5 + 0.3, -3e6] {
            assert_eq!(round(x), x.round_ties_even() as i32, "{x}");
        }
        assert_eq!((round(f32::INFINITY), round(-1e30)), (LARGEST as i32, -LARGEST as i32));
    }

    #[test]
    fn codes_times_scales_come_near_the_weights() {
        let mut layer = layer();
        layer.quantize(0.01);
        let (mut weights, mut rounded) = ([0.0; 8], [1.0; 8]);
        layer.write_weights(&layer.codes, 0.01, &mut weights);
        layer.write_rounded(0.01, &mut rounded);
        assert_eq!(weights, rounded);
        for (w, expected) in weights.iter().zip([0.1, -0.9, 2.2, 0.0, 0.2, -1.8, 4.4, 0.05f32]) {
            assert!((w - expected).abs() <= 0.011, "{w} for {expected}");
        }
    }

    #[test]
    fn bit_width_counts_the_sign() {
        for (codes, bits) in [(vec![0, 0], 0), (vec![1, -1], 2), (vec![3], 3), (vec![-4], 4), (vec![i32::MIN], 33)] {
            assert_eq!(bit_width(&codes), bits, "{codes:?}");
        }
    }

    #[test]
    fn a_floor_on_bits_caps_the_step() {
        let mut layer = layer();
        layer.floor_bits(4);
        layer.quantize(100.0);
        assert_eq!(bit_width(&layer.codes), 4);
    }

    #[test]
    fn steps_stay_near_the_deviation_and_can_be_fixed_there() {
        let shape = CodeShape { outputs: 2, inputs: 2, taps: 1, width: 1 };
        let mut layer = Layer::new(ValueId(0), shape, &[3.0, -1.0, 1.0, 3.0], 0.5);
        layer.limit_step((0.1, 1.5));
        let deviation = 20f32.sqrt();
        for (global, step) in [(100.0, 1.5 * deviation), (0.1, 0.1 * deviation), (1.0, 1.0)] {
            assert!((layer.step(global) - step).abs() < 1e-5, "{} for {global}", layer.step(global));
        }
        assert_eq!(layer.implied_price(100.0), 1e4 * BIT_PRICE);
        let mut broken = Layer::new(ValueId(0), shape, &[f32::NAN; 4], 0.5);
        broken.limit_step((0.1, 1.5));
        assert!(broken.step(1.0) > 0.0);
        let fixed = layer.step(100.0);
        layer.fix_step(100.0);
        assert!((layer.step(100.0) / fixed - 1.0).abs() < 1e-6, "{}", layer.step(100.0));
        assert!((layer.step(200.0) / fixed - 2.0).abs() < 1e-6, "{}", layer.step(200.0));
    }

    #[test]
    fn the_pull_is_the_slope_of_the_bits() {
        let mut layer = layer();
        layer.quantize(1.0);
        layer.refit();
        let mut gradient = vec![0.0; 8];
        assert_eq!(layer.latent_gradient(1.0, layer.implied_price(1.0), 0.0, &mut gradient), 0.0);
        assert!((gradient[2] - BIT_PRICE * layer.rate.unit_cost).abs() < 1e-6);
        assert!((gradient[5] + BIT_PRICE * layer.rate.nonzero_cost()[5].max(0.0)).abs() < 1e-6);

        let mut dearer = vec![0.5; 8];
        let unit_cost = layer.rate.unit_cost;
        assert_eq!(layer.latent_gradient(1.0, 3.0, unit_cost, &mut dearer), 8.0);
        assert!((dearer[2] - 1.0 - 3.0 * layer.rate.unit_cost).abs() < 1e-5, "{}", dearer[2]);
        let below_one = layer.rate.nonzero_cost()[0].max(unit_cost);
        assert!((dearer[0] - 1.0 - 3.0 * below_one).abs() < 1e-5, "{}", dearer[0]);
    }
}
