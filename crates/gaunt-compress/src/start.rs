//! Where a compression starts: layers in the units of their sensitivity, and the size of the first file.

use gaunt_format::{FormatError, Metadata, Model};
use gaunt_graph::{Data, Graph, ValueId};
use gaunt_train::Device;

use crate::{
    Budget, CompressError, Options,
    finish::{CodedWeight, finish},
    options::FISHER_BATCHES,
    quantizer::Layer,
    rate::CodeShape,
    run::TrainingData,
    sensitivity::fisher,
};

/// Ratio at which a compression starts: there even a small network loses next to nothing by rounding alone.
const START_RATIO: f64 = 8.0;

/// The layers that are compressed, their latent weights the dense ones, and the Fisher information of each weight
/// relative to its layer's mean.
pub fn layers(
    graph: &Graph,
    data: &TrainingData,
    options: &Options,
    device: &Device,
) -> Result<Vec<Layer>, CompressError> {
    let weights: Vec<ValueId> = graph.weights().into_iter().map(|weight| weight.value).collect();
    if weights.is_empty() {
        return Err(CompressError::NothingToCompress);
    }
    options.overrides.check(weights.iter().map(|&weight| graph.value(weight).name.as_str()))?;
    let batches = options.loader(data)?.epoch(options.epochs as usize, 0).take(FISHER_BATCHES);
    let sensitivities = fisher(graph, device, &weights, batches, options.seed)?;
    let layers = weights.iter().zip(&sensitivities).filter_map(|(&weight, sensitivity)| {
        let value = graph.value(weight);
        let tensor = value.tensor.as_ref()?;
        let shape = CodeShape::of(tensor.shape());
        let floats = tensor.to_floats();
        let unit = layer_sensitivity(sensitivity, &floats).powf(-0.5) as f32;
        let mut layer = Layer::new(weight, shape, &floats, unit);
        let wish = options.overrides.of(&value.name);
        layer.dense = wish.dense;
        if let Some(bits) = wish.floor_bits() {
            layer.floor_bits(bits);
        }
        Some(layer)
    });
    Ok(layers.collect())
}

/// The mean sensitivity of a layer's weights, each counted by its square. A wide layer holds many weights that are next to
/// nothing, and matter as little: the plain mean would take it for robust, and coarse steps would wipe it out.
fn layer_sensitivity(sensitivity: &[f32], weights: &[f32]) -> f64 {
    let energy = |w: f32| f64::from(w) * f64::from(w);
    let total: f64 = weights.iter().map(|&w| energy(w)).sum();
    let sum: f64 = sensitivity.iter().zip(weights).map(|(&h, &w)| f64::from(h) * energy(w)).sum();
    (sum / total.max(f64::MIN_POSITIVE)).max(LEAST_SENSITIVITY)
}

/// Below this a layer does not matter at all; it keeps units finite.
const LEAST_SENSITIVITY: f64 = 1e-12;

/// Bytes of the file with which training starts: the budget's if that is close.
pub fn bytes(budget: &Budget, parameters: usize) -> f64 {
    let start = 4.0 * parameters as f64 / START_RATIO;
    budget.bytes(parameters).map_or(start, |bytes| bytes.max(start))
}

/// Bytes of everything in the file but the coded weights, by writing it with empty weights.
pub fn overhead(graph: &Graph, metadata: &Metadata) -> Result<f64, CompressError> {
    let weights = graph.weights().into_iter().filter_map(|weight| {
        let tensor = graph.value(weight.value).tensor.as_ref()?;
        let shape = CodeShape::of(tensor.shape());
        Some(CodedWeight { weight: weight.value, codes: diagonal(shape), scales: vec![1.0; shape.outputs] })
    });
    let graph = finish(graph.clone(), weights.collect())?;
    let payload: usize = graph
        .parameters()
        .filter(|(_, tensor)| tensor.shape().len() > 1)
        .map(|(_, tensor)| match tensor.data() {
            Data::Codes { codes, .. } => gaunt_format::encode_codes(codes, tensor.shape()).len(),
            Data::Floats(_) => 0,
        })
        .sum();
    let bytes = Model { graph, metadata: metadata.clone() }.file_size()?;
    Ok(bytes.saturating_sub(payload) as f64)
}

/// Few codes that keep all channels in the file, with their scales and biases: no filter is empty, every input is read.
fn diagonal(shape: CodeShape) -> Vec<i32> {
    let mut codes = vec![0; shape.len()];
    let longest = if codes.is_empty() { 0 } else { shape.outputs.max(shape.inputs) };
    for i in 0..longest {
        codes[(i % shape.outputs * shape.inputs + i % shape.inputs) * shape.taps] = 1;
    }
    codes
}

/// The bytes of a file.
pub fn file(graph: Graph, metadata: &Metadata) -> Result<Vec<u8>, FormatError> {
    Model { graph, metadata: metadata.clone() }.to_bytes()
}

#[cfg(test)]
mod tests {
    use gaunt_graph::{
        Tensor,
        rewrite::drop_dead_channels,
        zoo::{self, Arch},
    };

    use super::*;

    #[test]
    fn large_networks_have_an_overhead_too() {
        let graph = zoo::build(Arch::Vgg16, 10, [3, 32, 32], 0).unwrap();
        let bytes = overhead(&graph, &Metadata::default()).unwrap();
        assert!((2_000.0..40_000.0).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_diagonal_keeps_all_channels() {
        for arch in [Arch::Lenet5, Arch::Resnet20, Arch::MobilenetV2] {
            let mut graph = zoo::build(arch, 10, [3, 8, 8], 0).unwrap();
            for weight in graph.weights() {
                let value = &mut graph.values[weight.value.index()];
                let shape = value.tensor.as_ref().unwrap().shape().to_vec();
                value.tensor =
                    Some(Tensor::from_codes(shape.clone(), diagonal(CodeShape::of(&shape)), vec![1.0]).unwrap());
            }
            assert_eq!(drop_dead_channels(&mut graph), 0, "{arch}");
        }
    }
}
