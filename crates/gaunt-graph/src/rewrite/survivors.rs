//! What is left of each value and parameter when channels are taken out of a graph.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{Dim, Graph, Op, ValueId};

/// The channels that are left of a graph's values, by value and by their index in that graph. Values that lost none
/// are not listed.
///
/// It says what is left of everything that has the shape of a parameter, such as an optimiser's moments:
/// [`Survivors::selections`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survivors(BTreeMap<ValueId, Vec<usize>>);

/// What is left of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// The parameter.
    pub parameter: ValueId,
    /// Indices that are left of its first axis; all if there are none.
    pub rows: Option<&'a [usize]>,
    /// Indices that are left of its second axis; all if there are none.
    pub columns: Option<&'a [usize]>,
}

impl Selection<'_> {
    /// The elements that are left of anything with the given shape, that of the whole parameter; row-major.
    pub fn elements(&self, shape: &[usize]) -> Vec<usize> {
        let size = |axis| shape.get(axis).copied().unwrap_or(1);
        let taps: usize = shape.iter().skip(2).product();
        let left = |kept: Option<&[usize]>, size| kept.map_or_else(|| (0..size).collect(), <[usize]>::to_vec);
        let (rows, columns) = (left(self.rows, size(0)), left(self.columns, size(1)));
        let kernels = rows.iter().flat_map(|row| columns.iter().map(move |column| row * size(1) + column));
        kernels.flat_map(|kernel| kernel * taps..(kernel + 1) * taps).collect()
    }
}

impl FromIterator<(ValueId, Vec<usize>)> for Survivors {
    fn from_iter<T: IntoIterator<Item = (ValueId, Vec<usize>)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Survivors {
    /// The values that lost channels, with what is left.
    pub fn iter(&self) -> impl Iterator<Item = (ValueId, &[usize])> {
        self.0.iter().map(|(&value, left)| (value, left.as_slice()))
    }

    /// Whether no channel is gone.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left of a value; nothing if it lost no channel.
    pub fn of(&self, value: ValueId) -> Option<&[usize]> {
        self.0.get(&value).map(Vec::as_slice)
    }

    /// Whether a channel is left.
    pub fn hold(&self, value: ValueId, channel: usize) -> bool {
        self.of(value).is_none_or(|left| left.binary_search(&channel).is_ok())
    }

    /// The index in the whole graph of a channel of the smaller one.
    pub fn original(&self, value: ValueId, channel: usize) -> usize {
        self.of(value).map_or(channel, |left| left[channel])
    }

    /// What is left when the graph that these survivors make is made smaller in turn.
    pub fn then(&self, later: &Self) -> Self {
        let both = later
            .iter()
            .map(|(value, left)| (value, left.iter().map(|&channel| self.original(value, channel)).collect()));
        let mut all = self.clone();
        all.0.extend(both.collect::<Vec<_>>());
        all
    }

    /// Whether these can be survivors of a graph: channels that it has, in order, and at least one of each value.
    pub fn fit(&self, graph: &Graph) -> bool {
        self.0.iter().all(|(&value, left)| {
            let shape = graph.values.get(value.index()).map(|value| value.shape.as_slice());
            let Some([_, Dim::Fixed(channels), ..]) = shape else { return false };
            left.last().is_some_and(|last| last < channels) && left.is_sorted_by(|a, b| a < b)
        })
    }

    /// What is left of the graph's parameters; those that stay whole are not listed.
    pub fn selections(&self, graph: &Graph) -> Vec<Selection<'_>> {
        let selections = graph.nodes.iter().flat_map(|node| {
            let rows = node.outputs.first().and_then(|&output| self.of(output));
            let mixes = matches!(&node.op, Op::Linear) || matches!(&node.op, Op::Conv(conv) if conv.groups == 1);
            let columns = node.inputs.first().filter(|_| mixes).and_then(|&input| self.of(input));
            let parameters = match node.op {
                Op::Conv(_) | Op::Linear | Op::BatchNorm { .. } => &node.inputs[1..],
                _ => &[],
            };
            parameters.iter().enumerate().map(move |(index, &parameter)| {
                // Of a layer's parameters the first is its weight, which alone has columns.
                Selection { parameter, rows, columns: columns.filter(|_| index == 0) }
            })
        });
        selections.filter(|selection| selection.rows.is_some() || selection.columns.is_some()).collect()
    }

    /// Takes all other channels out of the graph, which these must [`fit`](Self::fit).
    pub fn keep_in(&self, graph: &mut Graph) {
        for Selection { parameter, rows, columns } in self.selections(graph) {
            let value = &mut graph.values[parameter.index()];
            let axes = [rows, columns].into_iter().enumerate();
            for (axis, left) in axes.filter_map(|(axis, left)| Some((axis, left?))) {
                value.tensor = value.tensor.take().map(|tensor| tensor.keep(axis, left));
                value.shape[axis] = Dim::Fixed(left.len());
            }
        }
        for index in 0..graph.nodes.len() {
            self.keep_in_operator(graph, index);
        }
        for (value, left) in self.iter() {
            graph.values[value.index()].shape[1] = Dim::Fixed(left.len());
        }
        for node in &mut graph.nodes {
            if let Op::Reshape { shape } = &mut node.op {
                shape.clone_from(&graph.values[node.outputs[0].index()].shape);
            }
        }
    }

    /// Changes what an operator says of its channels; values still have all of them.
    fn keep_in_operator(&self, graph: &mut Graph, index: usize) {
        let node = &mut graph.nodes[index];
        let (Some(&input), Some(&output)) = (node.inputs.first(), node.outputs.first()) else { return };
        let Some(left) = self.of(output) else { return };
        match &mut node.op {
            // Groups that lose channels are those of a depthwise convolution.
            Op::Conv(conv) if conv.groups > 1 => conv.groups = left.len(),
            Op::Pad { pads, .. } => {
                let before = pads[1].0.max(0) as usize;
                let after = before + graph.values[input.index()].shape[1].at(1);
                let lying = |side: &dyn Fn(usize) -> bool| left.iter().filter(|&&channel| side(channel)).count() as i64;
                pads[1] = (lying(&|channel| channel < before), lying(&|channel| channel >= after));
            }
            _ => {}
        }
    }
}
