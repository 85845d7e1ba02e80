//! Which channels of a graph's values can only go together.

use alloc::{vec, vec::Vec};

use super::uses::Uses;
use crate::{Dim, Graph, Op, PadMode, Reduction, ValueId};

/// What a node does with channels, the second axis of a value `[N, C, ...]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Each output channel weighs all input channels: a convolution without groups, a linear layer.
    Mixes,
    /// Channel `c` of each input becomes the channels `offset + c * fan..` of the output, `fan` of them.
    Keeps { offset: usize, fan: usize },
    /// Anything else: its channels cannot be changed.
    Pins,
}

/// All channels of a graph, and the tracks that they form: a channel is on one track with what a layer's activation,
/// pooling or sum makes of it, and a track goes as a whole or not at all.
pub(super) struct Channels {
    /// Role of each node.
    pub(super) roles: Vec<Role>,
    /// Number of the first channel of each value, and the number of all.
    first: Vec<usize>,
    /// Track of each channel, which is the least channel on it.
    tracks: Vec<usize>,
    /// By track: whether it cannot go.
    pinned: Vec<bool>,
}

impl Channels {
    pub(super) fn of(graph: &Graph, uses: &Uses) -> Self {
        let mut first = vec![0];
        for value in 0..graph.values.len() {
            first.push(first[value] + channels(graph, ValueId(value as u32)));
        }
        let count = first[graph.values.len()];
        let roles: Vec<Role> = (0..graph.nodes.len()).map(|node| role(graph, uses, node)).collect();
        let mut channels = Self { roles, first, tracks: (0..count).collect(), pinned: vec![false; count] };
        for (node, role) in graph.nodes.iter().zip(channels.roles.clone()) {
            if let Role::Keeps { offset, fan } = role {
                let inputs = node.inputs.iter().filter(|&&input| graph.value(input).tensor.is_none());
                inputs.for_each(|&input| channels.join(input, node.outputs[0], offset, fan));
            }
        }
        // A parent is a smaller number, so that its own track is known by then.
        (0..count).for_each(|channel| channels.tracks[channel] = channels.tracks[channels.tracks[channel]]);
        channels.pin(graph);
        channels
    }

    /// Number of channels of a value; none if it is a parameter or has no such axis.
    pub(super) fn count(&self, value: ValueId) -> usize {
        self.first[value.index() + 1] - self.first[value.index()]
    }

    /// The track of a channel.
    pub(super) fn track(&self, value: ValueId, channel: usize) -> usize {
        self.tracks[self.first[value.index()] + channel]
    }

    /// The tracks of a value's channels.
    pub(super) fn tracks(&self, value: ValueId) -> &[usize] {
        &self.tracks[self.first[value.index()]..self.first[value.index() + 1]]
    }

    /// By track, of which there are as many as channels: whether it cannot go.
    pub(super) fn pinned(&self) -> &[bool] {
        &self.pinned
    }

    fn join(&mut self, input: ValueId, output: ValueId, offset: usize, fan: usize) {
        for channel in 0..self.count(input) {
            for k in 0..fan {
                let a = self.root(self.first[input.index()] + channel);
                let b = self.root(self.first[output.index()] + offset + channel * fan + k);
                self.tracks[a.max(b)] = a.min(b);
            }
        }
    }

    fn root(&self, mut channel: usize) -> usize {
        while self.tracks[channel] != channel {
            channel = self.tracks[channel];
        }
        channel
    }

    fn pin(&mut self, graph: &Graph) {
        let opaque = graph.nodes.iter().zip(&self.roles).filter(|(_, role)| **role == Role::Pins);
        let values = opaque.flat_map(|(node, _)| node.inputs.iter().chain(&node.outputs));
        let values: Vec<ValueId> = values.chain(&graph.inputs).chain(&graph.outputs).copied().collect();
        for value in values {
            for channel in self.first[value.index()]..self.first[value.index() + 1] {
                self.pinned[self.tracks[channel]] = true;
            }
        }
    }
}

/// Channels of a value that flows; zero if it has none.
fn channels(graph: &Graph, value: ValueId) -> usize {
    let value = graph.value(value);
    match value.shape.as_slice() {
        [Dim::Batch(1), Dim::Fixed(channels), ..] if value.tensor.is_none() => *channels,
        _ => 0,
    }
}

fn role(graph: &Graph, uses: &Uses, index: usize) -> Role {
    let node = &graph.nodes[index];
    let flows = || node.inputs.iter().filter(|&&input| graph.value(input).tensor.is_none());
    if flows().chain(&node.outputs).any(|&value| channels(graph, value) == 0) {
        return Role::Pins;
    }
    let same = Role::Keeps { offset: 0, fan: 1 };
    let when = |condition: bool, role: Role| if condition { role } else { Role::Pins };
    match &node.op {
        Op::Conv(conv) if conv.groups == 1 => when(has_own_constants(graph, uses, index), Role::Mixes),
        Op::Conv(conv) => when(is_depthwise(graph, index, conv.groups) && has_own_constants(graph, uses, index), same),
        // On more axes, a linear layer reads positions rather than channels.
        Op::Linear => {
            let matrix = graph.value(node.outputs[0]).shape.len() == 2;
            when(matrix && has_own_constants(graph, uses, index), Role::Mixes)
        }
        Op::BatchNorm { .. } => when(has_own_constants(graph, uses, index), same),
        Op::Unary(_) | Op::MaxPool(_) | Op::AveragePool { .. } => same,
        Op::Reduce { reduction: Reduction::Mean, axes, .. } => when(axes == &[2, 3], same),
        Op::Reshape { .. } => flattening(graph, index).map_or(Role::Pins, |fan| Role::Keeps { offset: 0, fan }),
        Op::Slice { axes } => when(axes.iter().all(|slice| slice.axis >= 2), same),
        Op::Pad { pads, mode } => padding(pads, *mode),
        Op::Binary(_) => {
            let sizes = |&value: &ValueId| (channels(graph, value), graph.value(value).shape.len());
            when(node.inputs.iter().all(|input| sizes(input) == sizes(&node.outputs[0])), same)
        }
        _ => Role::Pins,
    }
}

/// Channels that padding adds lie before and after those that were there.
fn padding(pads: &[(i64, i64)], mode: PadMode) -> Role {
    match (pads, mode) {
        (&[(0, 0), (0, 0), ..], _) => Role::Keeps { offset: 0, fan: 1 },
        (&[(0, 0), (before, after), ..], PadMode::Constant(_)) if before >= 0 && after >= 0 => {
            Role::Keeps { offset: before as usize, fan: 1 }
        }
        _ => Role::Pins,
    }
}

/// Positions of each channel that a reshape `[N, C, ...] -> [N, C * positions]` lines up; none for other reshapes.
fn flattening(graph: &Graph, node: usize) -> Option<usize> {
    let node = &graph.nodes[node];
    let [_, _, positions @ ..] = graph.value(*node.inputs.first()?).shape.as_slice() else { return None };
    let matrix = graph.value(node.outputs[0]).shape.len() == 2;
    matrix.then(|| positions.iter().map(|dim| dim.at(1)).product())
}

/// Whether all inputs but the first are constants that no other node reads, and there are some.
fn has_own_constants(graph: &Graph, uses: &Uses, node: usize) -> bool {
    let constants = graph.nodes[node].inputs.get(1..).unwrap_or_default();
    !constants.is_empty() && constants.iter().all(|&id| graph.value(id).tensor.is_some() && uses.is_private(id))
}

fn is_depthwise(graph: &Graph, node: usize, groups: usize) -> bool {
    let shape = graph.nodes[node].inputs.get(1).map(|&weight| graph.value(weight).shape.as_slice());
    matches!(shape, Some(&[Dim::Fixed(outputs), Dim::Fixed(1), ..]) if outputs == groups)
}
