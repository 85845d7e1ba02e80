//! How much the loss minds a change of each layer's weights: the diagonal of the Fisher information.
//!
//! It is taken of the distillation loss, at the teacher's own (softened) predictions: labels are drawn from them, so
//! the gradients of different images are independent with mean zero, and the square of a batch's mean gradient, times
//! the batch size, estimates the mean of the single squares.

use gaunt_data::Batch;
use gaunt_graph::{Graph, ValueId};
use gaunt_train::{Device, Network, Target, Teacher, TrainError};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// A logit that makes a one-hot teacher.
const CERTAIN: f32 = 1e5;

/// Mean squared gradient of every element of `weights`, in their order.
///
/// # Errors
/// If the network cannot run on a batch.
pub fn fisher(
    graph: &Graph,
    device: &Device,
    weights: &[ValueId],
    batches: impl Iterator<Item = Batch>,
    seed: u64,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let mut network = Network::new(graph, device)?;
    let mut teacher = Network::new(graph, device)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sums: Vec<Vec<f32>> = weights.iter().map(|&weight| vec![0.0; network.parameter(weight).len()]).collect();
    let mut images = 0.0f32;
    for batch in batches {
        let count = batch.labels.len();
        let mut logits = teacher.logits(&batch.images, count)?;
        let classes = logits.len() / count.max(1);
        for row in logits.chunks_mut(classes) {
            draw_one_hot(row, rng.random());
        }
        let drawn = Teacher { logits: &logits, temperature: Teacher::TEMPERATURE, weight: 1.0 };
        network.gradients(&batch, &Target { labels: &batch.labels, smoothing: 0.0, teacher: Some(drawn) })?;
        // The loss carries the squared temperature; its curvature at the teacher's own prediction does not.
        let scale = (count as f32).powi(2) / Teacher::TEMPERATURE.powi(2);
        for (sum, &weight) in sums.iter_mut().zip(weights) {
            for (sum, gradient) in sum.iter_mut().zip(network.gradient(weight)) {
                *sum += gradient * gradient * scale;
            }
        }
        images += count as f32;
    }
    for sum in sums.iter_mut().flatten() {
        *sum /= images.max(1.0);
    }
    Ok(sums)
}

/// Replaces logits by those of a class drawn from their softened distribution; `uniform` is in `0..1`.
fn draw_one_hot(logits: &mut [f32], uniform: f64) {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let odds = |logit: f32| f64::from((logit - largest) / Teacher::TEMPERATURE).exp();
    let total: f64 = logits.iter().map(|&logit| odds(logit)).sum();
    let mut left = uniform * total;
    let drawn = logits.iter().position(|&logit| {
        left -= odds(logit);
        left < 0.0
    });
    let drawn = drawn.unwrap_or(0);
    for (class, logit) in logits.iter_mut().enumerate() {
        *logit = if class == drawn { CERTAIN } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_drawn_in_proportion() {
        let mut counts = [0; 3];
        for i in 0..1000 {
            let mut logits = [0.0, Teacher::TEMPERATURE * 2f32.ln(), f32::NEG_INFINITY];
            draw_one_hot(&mut logits, f64::from(i) / 1000.0);
            counts[logits.iter().position(|&l| l == CERTAIN).unwrap()] += 1;
        }
        assert!((counts[0] - 333i32).abs() <= 1 && counts[2] == 0, "{counts:?}");
    }
}
