//! Removing channels that carry nothing.

use alloc::{vec, vec::Vec};

use super::{
    channels::{Channels, Role},
    constants::{Constants, Filters, Mode},
    survivors::Survivors,
    uses::Uses,
};
use crate::{Graph, Op, Tensor, ValueId};

/// Removes all [`DeadChannels`] of a graph for inference, and returns how many there were. Codes stay codes.
pub fn drop_dead_channels(graph: &mut Graph) -> usize {
    let dead = DeadChannels::find(graph, Mode::Inference, |_, _| true);
    dead.remove(graph);
    dead.count()
}

/// Channels of a graph that can go without a change of its function.
///
/// A channel is dead if nobody reads it, because the weights for it are zero in all that lives on, or if it holds one
/// number everywhere, because its own weights are zero or see but constants. A number that is not zero moves into the
/// bias of the layer that reads it, or into the mean of the batch norm behind that; this is exact unless the layer pads,
/// and then the channel stays.
///
/// Channels are followed through batch norm, activations, pooling, means over positions, flattening, depthwise
/// convolutions and sums. Those that a sum joins, as on the trunk of a residual network, go together or not at all.
/// Other operators keep their channels, and so do the inputs and outputs of the graph. One channel of each layer stays for
/// form.
#[derive(Clone, Debug, Default)]
pub struct DeadChannels {
    survivors: Survivors,
    /// What dead channels added to the outputs of layers, by node.
    shifts: Vec<(usize, Vec<f64>)>,
    count: usize,
}

impl DeadChannels {
    /// Finds those among the channels that `may_go(value, channel)` allows; a channel that is joined with one that must
    /// stay is kept too.
    pub fn find(graph: &Graph, mode: Mode, may_go: impl Fn(ValueId, usize) -> bool) -> Self {
        let uses = Uses::of(graph);
        let channels = Channels::of(graph, &uses);
        let mut search = Search::new(graph, &uses, &channels, mode);
        for value in values(graph) {
            for channel in (0..channels.count(value)).filter(|&channel| !may_go(value, channel)) {
                search.live[channels.track(value, channel)] = true;
            }
        }
        search.spread();
        Self { survivors: search.survivors(), shifts: search.shifts(), count: search.count() }
    }

    /// How many there are; what a layer, its batch norm and its activation make of each other counts as one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What stays.
    pub fn survivors(&self) -> &Survivors {
        &self.survivors
    }

    /// Removes the channels from the graph in which they were found. Ids of values stay; a layer without bias may get
    /// one at the end of the list of values, but not if the search was for [`Mode::Training`].
    pub fn remove(&self, graph: &mut Graph) {
        let uses = Uses::of(graph);
        for (node, shift) in &self.shifts {
            add_to_outputs(graph, &uses, *node, shift);
        }
        self.survivors.keep_in(graph);
    }
}

fn values(graph: &Graph) -> impl Iterator<Item = ValueId> {
    (0..graph.values.len() as u32).map(ValueId)
}

/// Looks for what lives: what the outputs of the graph depend on.
struct Search<'a> {
    graph: &'a Graph,
    channels: &'a Channels,
    constants: Constants,
    /// By node: whether a constant can be added to its outputs.
    shiftable: Vec<bool>,
    /// By track.
    live: Vec<bool>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, uses: &Uses, channels: &'a Channels, mode: Mode) -> Self {
        let shiftable =
            (0..graph.nodes.len()).map(|node| mode == Mode::Inference || holder(graph, uses, node).is_some());
        Self {
            graph,
            channels,
            constants: Constants::of(graph, channels, mode),
            shiftable: shiftable.collect(),
            live: channels.pinned().to_vec(),
        }
    }

    /// Lets life spread from outputs to what they read, until nothing changes.
    fn spread(&mut self) {
        loop {
            let before = self.live.clone();
            for index in (0..self.graph.nodes.len()).rev() {
                self.read_by(index).into_iter().for_each(|track| self.live[track] = true);
            }
            for value in values(self.graph) {
                let tracks = self.channels.tracks(value);
                // A layer without any channel is no layer; one stays for form.
                if let Some(&first) = tracks.first().filter(|_| !tracks.iter().any(|&track| self.live[track])) {
                    self.live[first] = true;
                }
            }
            if self.live == before {
                return;
            }
        }
    }

    /// The tracks that the living outputs of a layer depend on.
    fn read_by(&self, index: usize) -> Vec<usize> {
        let Some((filters, inputs, outputs)) = self.mixer(index) else { return Vec::new() };
        let mut read = vec![false; inputs.len()];
        for output in (0..filters.outputs).filter(|&output| self.live[outputs[output]]) {
            for (input, read) in read.iter_mut().enumerate() {
                *read |= filters.reads(output, input);
            }
        }
        let read = (0..inputs.len()).filter(|&input| read[input] && self.movable(index, filters, input).is_none());
        read.map(|input| inputs[input]).collect()
    }

    /// The filters of a layer that mixes channels, with the tracks of its inputs and outputs.
    fn mixer(&self, index: usize) -> Option<(&Filters, &'a [usize], &'a [usize])> {
        let node = &self.graph.nodes[index];
        let filters = self.constants.filters[index].as_ref().filter(|_| self.channels.roles[index] == Role::Mixes)?;
        Some((filters, self.channels.tracks(node.inputs[0]), self.channels.tracks(node.outputs[0])))
    }

    /// The number that a layer sees everywhere in an input, if the layer can do without the input.
    fn movable(&self, index: usize, filters: &Filters, input: usize) -> Option<f64> {
        let x = self.graph.nodes[index].inputs[0];
        let [inference, training] = self.constants.values[x.index()][input].filter(|&pair| filters.passes(pair))?;
        let agree = (inference - training).abs() <= AGREEMENT * inference.abs();
        (agree && (inference == 0.0 || self.shiftable[index])).then_some(inference)
    }

    /// The channels of values on living tracks.
    fn survivors(&self) -> Survivors {
        let entries = values(self.graph).filter_map(|value| {
            let tracks = self.channels.tracks(value);
            let left: Vec<usize> = (0..tracks.len()).filter(|&channel| self.live[tracks[channel]]).collect();
            (left.len() < tracks.len()).then_some((value, left))
        });
        entries.collect()
    }

    /// What dead inputs add to the outputs of layers.
    fn shifts(&self) -> Vec<(usize, Vec<f64>)> {
        let shifts = (0..self.graph.nodes.len()).filter_map(|index| {
            let (filters, inputs, _) = self.mixer(index)?;
            let dead = (0..inputs.len()).filter(|&input| !self.live[inputs[input]]);
            let constants = dead.filter_map(|input| Some((input, self.movable(index, filters, input)?)));
            let constants: Vec<_> = constants.filter(|&(_, constant)| constant != 0.0).collect();
            let shift = |output| constants.iter().map(|&(input, constant)| filters.term(output, input, constant)).sum();
            (!constants.is_empty()).then(|| (index, (0..filters.outputs).map(shift).collect()))
        });
        shifts.collect()
    }

    /// Number of dead tracks.
    fn count(&self) -> usize {
        let tracks = values(self.graph).flat_map(|value| self.channels.tracks(value).iter().copied());
        let mut dead: Vec<usize> = tracks.filter(|&track| !self.live[track]).collect();
        dead.sort_unstable();
        dead.dedup();
        dead.len()
    }
}

/// Largest relative difference between constants in inference and in training that counts as rounding.
const AGREEMENT: f64 = 1e-5;

/// The parameter that takes up a constant which is added to all outputs of a layer, and the constant's sign there: the
/// bias, or the mean of the batch norm that alone reads them.
fn holder(graph: &Graph, uses: &Uses, node: usize) -> Option<(ValueId, f64)> {
    let layer = &graph.nodes[node];
    if let Some(&bias) = layer.inputs.get(2) {
        return Some((bias, 1.0));
    }
    let output = layer.outputs[0];
    let reader = &graph.nodes[*uses.consumers(output).first().filter(|_| uses.is_private(output))?];
    let mean = *reader.inputs.get(3).filter(|_| matches!(reader.op, Op::BatchNorm { .. }))?;
    (graph.value(mean).tensor.is_some() && uses.is_private(mean)).then_some((mean, -1.0))
}

fn add_to_outputs(graph: &mut Graph, uses: &Uses, node: usize, shift: &[f64]) {
    let Some((holder, sign)) = holder(graph, uses, node) else {
        let name = super::batch_norm::bias_name(graph, graph.nodes[node].inputs[1], None);
        if let Ok(bias) = Tensor::new(vec![shift.len()], shift.iter().map(|&shift| shift as f32).collect()) {
            let bias = graph.add_parameter(name, bias);
            graph.nodes[node].inputs.push(bias);
        }
        return;
    };
    let floats = graph.value(holder).tensor.as_ref().map(Tensor::to_floats).unwrap_or_default();
    let shifted = floats.iter().zip(shift).map(|(&float, shift)| (f64::from(float) + sign * shift) as f32);
    if let Ok(tensor) = Tensor::new(vec![floats.len()], shifted.collect()) {
        graph.values[holder.index()].tensor = Some(tensor);
    }
}
