//! Removing channels that carry nothing.

use alloc::{vec, vec::Vec};

use super::{prune::prune_unused, uses::Uses};
use crate::{Data, Dim, Graph, Op, Reduction, Tensor, Unary, ValueId};

/// Removes output channels of convolutions and linear layers that are constant (their weights are all zero, so the
/// constant is the bias) or that nobody reads (the next layer's weights for them are all zero), until none is left.
/// Returns how many were removed.
///
/// A channel is followed through activations, pooling, means over positions, flattening and depthwise convolutions
/// (which may make it constant too) to the one layer that reads it. A constant that is not zero moves into that layer's
/// bias, which is exact unless the layer pads; then the channel stays. Channels that several layers share, as in
/// residual sums, stay too, and so does the last channel of a layer. Codes stay codes.
pub fn drop_dead_channels(graph: &mut Graph) -> usize {
    let mut removed = 0;
    loop {
        let uses = Uses::of(graph);
        let paths: Vec<Path> = (0..graph.nodes.len()).filter_map(|node| Path::from(graph, &uses, node)).collect();
        let round: usize = paths.iter().map(|path| path.drop_dead(graph)).sum();
        if round == 0 {
            return removed;
        }
        removed += round;
        prune_unused(graph);
    }
}

/// The way of a layer's channels to the one layer that reads them.
struct Path {
    producer: usize,
    /// Nodes between, in order.
    between: Vec<usize>,
    consumer: usize,
    /// Inputs of the consumer for each channel: more than one after flattening a map.
    fan: usize,
}

impl Path {
    fn from(graph: &Graph, uses: &Uses, producer: usize) -> Option<Self> {
        let node = &graph.nodes[producer];
        let is_layer = match &node.op {
            Op::Conv(conv) => conv.groups == 1,
            Op::Linear => graph.value(*node.inputs.first()?).shape.len() == 2,
            _ => false,
        };
        if !is_layer || !has_own_constants(graph, uses, producer) {
            return None;
        }
        let mut path = Self { producer, between: Vec::new(), consumer: producer, fan: 1 };
        let mut value = *node.outputs.first()?;
        loop {
            let reader = *uses.consumers(value).first().filter(|_| uses.is_private(value))?;
            let node = &graph.nodes[reader];
            if *node.inputs.first()? != value {
                return None;
            }
            match &node.op {
                Op::Conv(conv) if conv.groups == 1 => return path.ends_at(graph, uses, reader),
                // On more axes, a linear layer reads positions rather than channels.
                Op::Linear if graph.value(value).shape.len() == 2 => return path.ends_at(graph, uses, reader),
                Op::Conv(conv)
                    if is_depthwise(graph, reader, conv.groups) && has_own_constants(graph, uses, reader) => {}
                Op::Reshape { .. } => path.fan *= flattened(graph, reader)?,
                op if keeps_channels(op) => {}
                _ => return None,
            }
            path.between.push(reader);
            value = *node.outputs.first()?;
        }
    }

    fn ends_at(mut self, graph: &Graph, uses: &Uses, consumer: usize) -> Option<Self> {
        self.consumer = consumer;
        has_own_constants(graph, uses, consumer).then_some(self)
    }

    /// Removes what is dead on this path; returns the number of channels.
    fn drop_dead(&self, graph: &mut Graph) -> usize {
        let Some(channels) = weight(graph, self.producer).map(|weight| weight.shape()[0]) else { return 0 };
        let Some(unread) = self.unread_inputs(graph) else { return 0 };
        let mut constants = vec![None; channels];
        for channel in 0..channels {
            constants[channel] = if unread[channel] { Some(0.0) } else { self.constant(graph, channel) };
        }
        let kept: Vec<usize> = (0..channels).filter(|&channel| constants[channel].is_none()).collect();
        // A layer without any channel is no layer; one stays for form.
        let kept = if kept.is_empty() { vec![0] } else { kept };
        if kept.len() == channels {
            return 0;
        }
        kept.iter().for_each(|&channel| constants[channel] = None);
        self.move_constants(graph, &constants);
        keep_outputs(graph, self.producer, &kept);
        for &node in &self.between {
            keep_between(graph, node, &kept, channels);
        }
        let columns: Vec<usize> =
            kept.iter().flat_map(|&channel| channel * self.fan..(channel + 1) * self.fan).collect();
        keep_inputs(graph, self.consumer, &columns);
        channels - kept.len()
    }

    /// Which channels the consumer has no weight for.
    fn unread_inputs(&self, graph: &Graph) -> Option<Vec<bool>> {
        let weight = weight(graph, self.consumer)?;
        let (inputs, taps) = (weight.shape()[1], weight.shape()[2..].iter().product::<usize>());
        let mut unread = vec![true; inputs / self.fan];
        for (i, _) in nonzero(weight).into_iter().enumerate().filter(|&(_, nonzero)| nonzero) {
            unread[i / taps % inputs / self.fan] = false;
        }
        Some(unread)
    }

    /// The number that the consumer sees everywhere in a channel, if it is one that can be moved into its bias.
    fn constant(&self, graph: &Graph, channel: usize) -> Option<f64> {
        let mut value = is_empty_output(graph, self.producer, channel).then(|| bias_at(graph, self.producer, channel));
        for &node in &self.between {
            value = match &graph.nodes[node].op {
                Op::Unary(unary) => value.and_then(|value| apply(*unary, value)),
                // A depthwise filter ends what came before if it or its input is zero.
                Op::Conv(_) => {
                    let zero = value == Some(0.0) || is_empty_output(graph, node, channel);
                    zero.then(|| bias_at(graph, node, channel))
                }
                Op::AveragePool { pool, count_include_pad: true } if pool.pads != [0; 4] || pool.ceil => {
                    value.filter(|&value| value == 0.0)
                }
                _ => value,
            };
        }
        let pads = matches!(&graph.nodes[self.consumer].op, Op::Conv(conv) if conv.pads != [0; 4]);
        value.filter(|&value| value == 0.0 || !pads)
    }

    /// Adds what the removed channels contributed to the consumer's bias.
    fn move_constants(&self, graph: &mut Graph, constants: &[Option<f64>]) {
        if constants.iter().flatten().all(|&constant| constant == 0.0) {
            return;
        }
        let Some(weight) = weight(graph, self.consumer) else { return };
        let (outputs, inputs) = (weight.shape()[0], weight.shape()[1]);
        let taps: usize = weight.shape()[2..].iter().product();
        let floats = weight.to_floats();
        let biases = (0..outputs).map(|output| {
            let row = &floats[output * inputs * taps..][..inputs * taps];
            let terms =
                row.iter().enumerate().map(|(i, &w)| f64::from(w) * constants[i / taps / self.fan].unwrap_or(0.0));
            (bias_at(graph, self.consumer, output) + terms.sum::<f64>()) as f32
        });
        let biases: Vec<f32> = biases.collect();
        set_bias(graph, self.consumer, biases);
    }
}

/// Whether weight and bias of a layer are constants that no other node reads.
fn has_own_constants(graph: &Graph, uses: &Uses, node: usize) -> bool {
    let constants = graph.nodes[node].inputs.get(1..).unwrap_or_default();
    !constants.is_empty() && constants.iter().all(|&id| graph.value(id).tensor.is_some() && uses.is_private(id))
}

fn is_depthwise(graph: &Graph, node: usize, groups: usize) -> bool {
    weight(graph, node).is_some_and(|weight| weight.shape()[0] == groups && weight.shape()[1] == 1)
}

/// Operators that treat each channel by itself, without constants of its own.
fn keeps_channels(op: &Op) -> bool {
    match op {
        Op::Unary(_) | Op::MaxPool(_) | Op::AveragePool { .. } => true,
        Op::Reduce { reduction: Reduction::Mean, axes, .. } => axes == &[2, 3],
        _ => false,
    }
}

/// Positions of each channel that a reshape `[N, C, ...] -> [N, C * positions]` lines up; none for other reshapes.
fn flattened(graph: &Graph, node: usize) -> Option<usize> {
    let node = &graph.nodes[node];
    let from = &graph.value(*node.inputs.first()?).shape;
    let Op::Reshape { shape: to } = &node.op else { return None };
    let [Dim::Batch(1), Dim::Fixed(_), positions @ ..] = from.as_slice() else { return None };
    let [Dim::Batch(1), Dim::Fixed(_)] = to.as_slice() else { return None };
    Some(positions.iter().map(|dim| dim.at(1)).product())
}

/// Functions of a constant that are exact to compute here.
fn apply(unary: Unary, x: f64) -> Option<f64> {
    match unary {
        Unary::Relu => Some(x.max(0.0)),
        Unary::Clip { min, max } => Some(x.max(f64::from(min)).min(f64::from(max))),
        Unary::LeakyRelu { alpha } => Some(if x < 0.0 { x * f64::from(alpha) } else { x }),
        Unary::HardSwish => Some(x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Unary::Tanh | Unary::Erf | Unary::Gelu { .. } | Unary::Elu { .. } if x == 0.0 => Some(0.0),
        _ => None,
    }
}

fn weight(graph: &Graph, node: usize) -> Option<&Tensor> {
    let weight = graph.value(*graph.nodes[node].inputs.get(1)?).tensor.as_ref()?;
    (weight.shape().len() >= 2).then_some(weight)
}

/// Whether all weights of an output channel are zero.
fn is_empty_output(graph: &Graph, node: usize, channel: usize) -> bool {
    weight(graph, node).is_some_and(|weight| {
        let per_channel = weight.len() / weight.shape()[0].max(1);
        let filter = channel * per_channel..(channel + 1) * per_channel;
        match weight.data() {
            Data::Floats(floats) => floats[filter].iter().all(|&w| w == 0.0),
            Data::Codes { codes, .. } => codes[filter].iter().all(|&code| code == 0),
        }
    })
}

fn nonzero(tensor: &Tensor) -> Vec<bool> {
    match tensor.data() {
        Data::Floats(floats) => floats.iter().map(|&w| w != 0.0).collect(),
        Data::Codes { codes, .. } => codes.iter().map(|&code| code != 0).collect(),
    }
}

fn bias_at(graph: &Graph, node: usize, channel: usize) -> f64 {
    let bias = graph.nodes[node].inputs.get(2).and_then(|&id| graph.value(id).tensor.as_ref());
    bias.map_or(0.0, |bias| f64::from(bias.keep(0, &[channel]).to_floats()[0]))
}

fn set_bias(graph: &mut Graph, node: usize, floats: Vec<f32>) {
    let Ok(tensor) = Tensor::new(vec![floats.len()], floats) else { return };
    if let Some(&bias) = graph.nodes[node].inputs.get(2) {
        graph.values[bias.index()].tensor = Some(tensor);
    } else {
        let name = super::batch_norm::bias_name(graph, graph.nodes[node].inputs[1], None);
        let bias = graph.add_parameter(name, tensor);
        graph.nodes[node].inputs.push(bias);
    }
}

fn keep_outputs(graph: &mut Graph, node: usize, kept: &[usize]) {
    for input in 1..graph.nodes[node].inputs.len() {
        keep_in_parameter(graph, graph.nodes[node].inputs[input], |tensor| tensor.keep(0, kept));
    }
    set_channels(graph, graph.nodes[node].outputs[0], kept.len());
}

fn keep_inputs(graph: &mut Graph, node: usize, kept: &[usize]) {
    keep_in_parameter(graph, graph.nodes[node].inputs[1], |tensor| tensor.keep(1, kept));
}

fn keep_between(graph: &mut Graph, node: usize, kept: &[usize], channels: usize) {
    let output = graph.nodes[node].outputs[0];
    if let Op::Conv(conv) = &mut graph.nodes[node].op {
        conv.groups = kept.len();
        return keep_outputs(graph, node, kept);
    }
    let Dim::Fixed(before) = graph.value(output).shape[1] else { return };
    set_channels(graph, output, before / channels * kept.len());
    let shape = graph.value(output).shape.clone();
    if let Op::Reshape { shape: target } = &mut graph.nodes[node].op {
        *target = shape;
    }
}

fn keep_in_parameter(graph: &mut Graph, id: ValueId, keep: impl FnOnce(&Tensor) -> Tensor) {
    let value = &mut graph.values[id.index()];
    if let Some(tensor) = &value.tensor {
        let kept = keep(tensor);
        value.shape = kept.shape().iter().map(|&size| Dim::Fixed(size)).collect();
        value.tensor = Some(kept);
    }
}

fn set_channels(graph: &mut Graph, id: ValueId, channels: usize) {
    graph.values[id.index()].shape[1] = Dim::Fixed(channels);
}
