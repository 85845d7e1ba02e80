//! Folding batch norm into the layer before it.

use alloc::{format, string::String, vec, vec::Vec};

use super::{prune::prune_unused, uses::Uses};
use crate::{Data, Graph, Op, Tensor, ValueId};

/// Replaces every batch norm that alone reads the output of a convolution or linear layer with constant weights: the
/// weights are scaled, the rest becomes the bias. Codes stay codes: their scales are multiplied, and a negative factor turns
/// their signs. Other batch norms stay.
pub fn fold_batch_norm(graph: &mut Graph) {
    let uses = Uses::of(graph);
    let folds: Vec<(usize, usize)> = (0..graph.nodes.len()).filter_map(|norm| fold_at(graph, &uses, norm)).collect();
    let mut folded = vec![false; graph.nodes.len()];
    for &(layer, norm) in &folds {
        folded[norm] = Affine::of(graph, norm).is_some_and(|affine| fold(graph, layer, norm, &affine).is_some());
    }
    let mut folded = folded.into_iter();
    graph.nodes.retain(|_| !folded.next().unwrap_or(false));
    prune_unused(graph);
}

/// The layer that the batch norm at node `norm` can be folded into.
fn fold_at(graph: &Graph, uses: &Uses, norm: usize) -> Option<(usize, usize)> {
    let node = &graph.nodes[norm];
    let Op::BatchNorm { .. } = node.op else { return None };
    let &[x, ref parameters @ ..] = node.inputs.as_slice() else { return None };
    let layer = uses.producer(x).filter(|_| uses.is_private(x))?;
    let layer_node = &graph.nodes[layer];
    let constant = |id: &ValueId| graph.value(*id).tensor.is_some();
    let &[_, weight, ref bias @ ..] = layer_node.inputs.as_slice() else { return None };
    // Parameters that two layers share cannot be changed for one of them.
    let foldable = matches!(layer_node.op, Op::Conv(_) | Op::Linear)
        && uses.is_private(weight)
        && constant(&weight)
        && bias.iter().all(|id| constant(id) && uses.is_private(*id))
        && parameters.iter().all(constant);
    // Batch norm works on axis 1, a linear layer's channels are its last axis: they agree for matrices only.
    let agrees = !matches!(layer_node.op, Op::Linear) || graph.value(x).shape.len() == 2;
    (foldable && agrees).then_some((layer, norm))
}

/// Batch norm as a factor and an offset for each channel.
pub(super) struct Affine {
    pub(super) factors: Vec<f64>,
    pub(super) offsets: Vec<f64>,
    /// What a constant becomes in training, where the batch's mean takes it away.
    pub(super) betas: Vec<f64>,
}

impl Affine {
    pub(super) fn of(graph: &Graph, norm: usize) -> Option<Self> {
        let node = &graph.nodes[norm];
        let Op::BatchNorm { epsilon } = node.op else { return None };
        let floats = |input: usize| Some(graph.value(*node.inputs.get(input)?).tensor.as_ref()?.to_floats());
        let (gamma, beta, mean, variance) = (floats(1)?, floats(2)?, floats(3)?, floats(4)?);
        let deviation = variance.iter().map(|&v| libm::sqrt(f64::from(v) + f64::from(epsilon)));
        let factors: Vec<f64> =
            gamma.iter().zip(deviation).map(|(&gamma, deviation)| f64::from(gamma) / deviation).collect();
        let offsets =
            beta.iter().zip(&mean).zip(&factors).map(|((&b, &m), factor)| f64::from(b) - f64::from(m) * factor);
        let betas = beta.iter().map(|&beta| f64::from(beta));
        Some(Self { offsets: offsets.collect(), betas: betas.collect(), factors })
    }
}

/// Changes the layer, and lets it make what the norm made.
fn fold(graph: &mut Graph, layer: usize, norm: usize, affine: &Affine) -> Option<()> {
    let (weight, bias) = (graph.nodes[layer].inputs[1], graph.nodes[layer].inputs.get(2).copied());
    let scaled = scale_channels(graph.value(weight).tensor.as_ref()?, &affine.factors).ok()?;
    let old = bias.and_then(|bias| graph.value(bias).tensor.as_ref()).map(Tensor::to_floats);
    let old = old.unwrap_or_else(|| vec![0.0; affine.factors.len()]);
    let terms = old.iter().zip(&affine.factors).zip(&affine.offsets);
    let new: Vec<f32> = terms.map(|((&old, factor), offset)| (f64::from(old) * factor + offset) as f32).collect();
    let new = Tensor::new(vec![new.len()], new).ok()?;

    let name = bias_name(graph, weight, bias);
    graph.values[weight.index()].tensor = Some(scaled);
    let bias = graph.add_parameter(name, new);
    let output = graph.nodes[norm].outputs[0];
    let node = &mut graph.nodes[layer];
    node.inputs.truncate(2);
    node.inputs.push(bias);
    node.outputs[0] = output;
    Some(())
}

/// The bias keeps its name (the old one is pruned), or is called after the weight.
pub(super) fn bias_name(graph: &mut Graph, weight: ValueId, bias: Option<ValueId>) -> String {
    if let Some(bias) = bias {
        return core::mem::take(&mut graph.values[bias.index()].name);
    }
    let weight = &graph.value(weight).name;
    let layer = weight.strip_suffix(".weight").unwrap_or(weight);
    let mut name = format!("{layer}.bias");
    while graph.values.iter().any(|value| value.name == name) {
        name.push('_');
    }
    name
}

/// Multiplies each index of the first axis by its factor.
fn scale_channels(tensor: &Tensor, factors: &[f64]) -> Result<Tensor, crate::TensorError> {
    let per_channel = (tensor.len() / factors.len().max(1)).max(1);
    let shape = tensor.shape().to_vec();
    match tensor.data() {
        Data::Floats(floats) => {
            let channels = floats.chunks(per_channel).zip(factors);
            let scaled =
                channels.flat_map(|(channel, factor)| channel.iter().map(move |&w| (f64::from(w) * factor) as f32));
            Tensor::new(shape, scaled.collect())
        }
        Data::Codes { codes, scales } => scale_codes(shape, codes, scales, factors),
    }
}

/// The codes with a scale for each channel that holds the factor; its sign goes into the codes.
fn scale_codes(
    shape: Vec<usize>,
    codes: &[i32],
    scales: &[f32],
    factors: &[f64],
) -> Result<Tensor, crate::TensorError> {
    let per_channel = (codes.len() / factors.len().max(1)).max(1);
    let old = scales.iter().cycle().take(factors.len());
    let scaled: Vec<f32> = old.zip(factors).map(|(&old, factor)| (f64::from(old) * factor.abs()) as f32).collect();
    let channels = codes.chunks(per_channel).zip(factors.iter().zip(&scaled));
    let signed = channels.flat_map(|(channel, (&factor, &scale))| {
        // A channel that batch norm switches off has no codes.
        let sign = if scale == 0.0 { 0 } else { factor.signum() as i32 };
        channel.iter().map(move |&code| code.wrapping_mul(sign))
    });
    let signed = signed.collect();
    // Its scale must stay positive all the same.
    let scales = scaled.iter().map(|&scale| if scale == 0.0 { 1.0 } else { scale }).collect();
    Tensor::from_codes(shape, signed, scales)
}
