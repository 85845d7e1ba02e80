//! The last choice of codes: rate-distortion optimised, with the file's own adaptive coder as the judge.
//!
//! In the order of the file, each code is either the nearest to its latent weight or the next one towards zero,
//! whichever has the smaller `distortion + price * bits`. Distortion is in the quantiser's units, in which the loss is
//! equally sensitive everywhere; bits are what the coder would spend at this point, having learnt from the codes
//! before (Wiedemann et al., *DeepCABAC*, 2020).

use gaunt_format::CostModel;

use crate::quantizer::{BIT_PRICE, Layer};

/// The codes of a layer for the file; `strength` is a factor on the price of a bit that the step implies.
pub fn refine(layer: &Layer, global: f32, strength: f32) -> Vec<i32> {
    if layer.dense || strength == 0.0 {
        return layer.codes.clone();
    }
    let mut model = CostModel::like(&layer.codes, &layer.shape.dims());
    let inverse = 1.0 / layer.step(global);
    let price = strength * BIT_PRICE;
    let chosen = layer.latent.iter().zip(&layer.codes).map(|(&u, &nearest)| {
        let lower = nearest - nearest.signum();
        let cost = |code: i32| {
            let error = u * inverse - code as f32;
            0.5 * error * error + price * model.cost(code)
        };
        let code = if lower != nearest && cost(lower) < cost(nearest) { lower } else { nearest };
        model.commit(code);
        code
    });
    chosen.collect()
}
