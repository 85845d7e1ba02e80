//! The last choice of codes: rate-distortion optimised, with the file's own adaptive coder as the judge.
//!
//! In the order of the file, each code is either the nearest to its latent weight or the next one towards zero,
//! whichever has the smaller `distortion + price * bits`; then a kernel is emptied if that is smaller still. Distortion is in
//! the quantiser's units, in which the loss is equally sensitive everywhere; bits are what the coder would spend at this
//! point, having learnt from the codes before (Wiedemann et al., *DeepCABAC*, 2020).

use gaunt_format::CostModel;

use crate::quantizer::{BIT_PRICE, Layer};

/// The codes of a layer for the file; `strength` is a factor on the price of a bit that the step implies.
pub fn refine(layer: &Layer, global: f32, strength: f32) -> Vec<i32> {
    if layer.dense || strength == 0.0 {
        return layer.codes.clone();
    }
    let mut model = CostModel::like(&layer.codes, &layer.shape.dims());
    let (scale, price) = (layer.step(global).recip(), strength * BIT_PRICE);
    let taps = model.taps().max(1);
    let mut codes = layer.codes.clone();
    for (latent, kernel) in layer.latent.chunks(taps).zip(codes.chunks_mut(taps)) {
        refine_kernel(&mut model, latent, kernel, scale, price);
        model.commit(kernel);
    }
    codes
}

/// Chooses the codes of one kernel, which are the nearest to `scale * latent` at first.
fn refine_kernel(model: &mut CostModel, latent: &[f32], codes: &mut [i32], scale: f32, price: f32) {
    let distortion = |latent: f32, code: i32| 0.5 * (latent * scale - code as f32).powi(2);
    let [empty, full] = model.kernel_costs().map(|bits| price * bits);
    let (mut as_empty, mut as_full) = (empty, full);
    for (&u, code) in latent.iter().zip(codes.iter_mut()) {
        let cost = |code: i32| distortion(u, code) + price * model.cost(code);
        let lower = *code - code.signum();
        let (mut best, lower_cost) = (cost(*code), cost(lower));
        if lower != *code && lower_cost < best {
            (*code, best) = (lower, lower_cost);
        }
        model.take(*code);
        as_full += best;
        as_empty += distortion(u, 0);
    }
    if as_empty < as_full {
        codes.fill(0);
    }
}
