//! The last choice of codes: rate-distortion optimised, with the file's own adaptive coder as the judge.
//!
//! In the order of the file, each code is either the nearest to its latent weight or the next one towards zero,
//! whichever has the smaller `distortion + price * bits`; then a kernel is emptied if that is smaller still. With [`Feedback`] it is nearest to
//! what makes good the errors before it. Distortion is in
//! the quantiser's units, in which the loss is equally sensitive everywhere; bits are what the coder would spend at this
//! point, having learnt from the codes before (Wiedemann et al., *DeepCABAC*, 2020).

use gaunt_format::CostModel;

use crate::{
    feedback::Feedback,
    quantizer::{BIT_PRICE, Layer},
};

/// The codes of a layer for the file; `strength` is a factor on the price of a bit that the step implies.
pub fn refine(layer: &Layer, feedback: Option<&Feedback>, global: f32, strength: f32) -> Vec<i32> {
    if layer.dense || (strength == 0.0 && feedback.is_none()) {
        return layer.codes.clone();
    }
    let mut model = CostModel::like(&layer.codes, &layer.shape.dims());
    let (scale, price) = (layer.step(global).recip(), strength * BIT_PRICE);
    let taps = model.taps().max(1);
    let width = (layer.shape.inputs * layer.shape.taps).max(1);
    let mut codes = layer.codes.clone();
    let mut errors = Vec::with_capacity(width);
    for (latents, codes) in layer.latent.chunks(width).zip(codes.chunks_mut(width)) {
        errors.clear();
        for (latent, kernel) in latents.chunks(taps).zip(codes.chunks_mut(taps)) {
            refine_kernel(&mut model, feedback, latent, kernel, scale, price, &mut errors);
            model.commit(kernel);
        }
    }
    codes
}

/// Chooses the codes of one kernel, which are the nearest to `scale * latent` at first.
fn refine_kernel(
    model: &mut CostModel,
    feedback: Option<&Feedback>,
    latent: &[f32],
    codes: &mut [i32],
    scale: f32,
    price: f32,
    errors: &mut Vec<f32>,
) {
    let first = errors.len();
    let [empty, full] = model.kernel_costs().map(|bits| price * bits);
    let (mut as_empty, mut as_full) = (empty, full);
    // The errors of this kernel if it is emptied.
    let mut emptied = Vec::with_capacity(latent.len());
    for (&u, code) in latent.iter().zip(codes.iter_mut()) {
        let k = errors.len();
        let (before, gain) =
            feedback.map_or((0.0, 1.0), |feedback| (feedback.at(k, 0.0, 0, &errors[..first]), feedback.gain(k)));
        let aim_after =
            |kernel: &[f32]| u * scale - feedback.map_or(0.0, |feedback| feedback.at(k, before, first, kernel));
        let aim = aim_after(&errors[first..]);
        let distortion = |aim: f32, code: i32| 0.5 * gain * (aim - code as f32).powi(2);
        let cost = |code: i32| distortion(aim, code) + price * model.cost(code);
        if feedback.is_some() {
            *code = aim.round() as i32;
        }
        let lower = *code - code.signum();
        let (mut best, lower_cost) = (cost(*code), cost(lower));
        if lower != *code && lower_cost < best {
            (*code, best) = (lower, lower_cost);
        }
        model.take(*code);
        as_full += best;
        errors.push(*code as f32 - u * scale);
        as_empty += distortion(aim_after(&emptied), 0);
        emptied.push(-u * scale);
    }
    if as_empty < as_full {
        codes.fill(0);
        errors.truncate(first);
        errors.extend(emptied);
    }
}
