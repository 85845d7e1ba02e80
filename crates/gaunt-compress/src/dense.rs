//! The dense baseline: a network at 8 bits for each weight, otherwise as it is, for later compressions to start from.

use gaunt_graph::{Graph, Tensor, TensorError};
use gaunt_train::{Device, Network, evaluate};

use crate::{CompressError, Observer, Options, Outcome, TrainingData, accuracy, predict, start};

/// Largest code of 8 bits.
const LEVELS: f32 = 127.0;

/// Rounds every weight to 8 bits, with a scale for each output channel that its largest weight fills. Nothing is trained, batch norm stays
/// apart and no channel goes: whoever compresses the result has the whole network to train.
///
/// # Errors
/// If the network has no weights, cannot run on the data or cannot be written, or overrides name unknown layers.
pub fn store(
    graph: &Graph,
    data: &TrainingData,
    options: &Options,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Outcome, CompressError> {
    let rounded = round(graph, options)?;
    let bytes = start::file(rounded.clone(), &options.metadata)?.len();
    observer.phase("evaluating the dense network");
    let dense = evaluate(&mut Network::new(graph, device)?, &data.validation, &options.normalization)?.top1;
    observer.phase("evaluating the result");
    let predictions = predict(&rounded, &data.validation, &options.normalization, &|_| {})?;
    let after_tuning = accuracy(&predictions, &data.validation);
    let holds = options.budget.holds(graph.parameter_count(), bytes, dense - after_tuning);
    Ok(Outcome { graph: rounded, bytes, predictions, dense, before_tuning: after_tuning, after_tuning, holds })
}

fn round(graph: &Graph, options: &Options) -> Result<Graph, CompressError> {
    let weights = graph.weights();
    if weights.is_empty() {
        return Err(CompressError::NothingToCompress);
    }
    options.overrides.check(weights.iter().map(|weight| graph.value(weight.value).name.as_str()))?;
    let mut rounded = graph.clone();
    for weight in weights {
        let value = &mut rounded.values[weight.value.index()];
        if let Some(tensor) = value.tensor.as_ref().filter(|_| !options.overrides.of(&value.name).dense) {
            value.tensor = Some(round_weight(tensor)?);
        }
    }
    Ok(rounded)
}

fn round_weight(tensor: &Tensor) -> Result<Tensor, TensorError> {
    let floats = tensor.to_floats();
    let channels = tensor.shape().first().copied().unwrap_or(1);
    let length = (floats.len() / channels.max(1)).max(1);
    let scale = |channel: &[f32]| {
        let largest = channel.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        // Of a subnormal there is no 127th part.
        if largest >= f32::MIN_POSITIVE * LEVELS { largest / LEVELS } else { 1.0 }
    };
    let scales: Vec<f32> = floats.chunks(length).map(scale).collect();
    let codes = floats.chunks(length).zip(&scales);
    let codes = codes.flat_map(|(channel, scale)| channel.iter().map(move |weight| (weight / scale).round() as i32));
    Tensor::from_codes(tensor.shape().to_vec(), codes.collect(), scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_moves_by_half_a_step_at_most() {
        let floats = vec![0.5, -0.1, 0.003, 0.0, 0.0, 0.0, -3.0, 2.9, 1.0];
        let rounded = round_weight(&Tensor::new(vec![3, 3], floats.clone()).unwrap()).unwrap();
        let errors = rounded.to_floats().into_iter().zip(floats).map(|(found, wanted)| (found - wanted).abs());
        let errors: Vec<f32> = errors.collect();
        for (errors, largest) in errors.chunks(3).zip([0.5, 0.0, 3.0f32]) {
            assert!(errors.iter().all(|&error| error <= 0.501 * largest / LEVELS), "{errors:?} of {largest}");
        }
    }
}
