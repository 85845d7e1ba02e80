//! Channels that hold one number, the same at every position of every image.

use alloc::{vec, vec::Vec};

use super::{
    batch_norm::Affine,
    channels::{Channels, Role},
};
use crate::{Binary, Data, Graph, Op, PadMode, Tensor, Unary, ValueId};

/// What a rewrite leaves as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The function in inference.
    Inference,
    /// In inference and in training, where batch norms use the statistics of the batch.
    Training,
}

/// A number that a channel holds everywhere: in inference and in training.
pub(super) type Constant = [f64; 2];

/// The weights of a convolution or linear layer, summed over the kernel's positions.
pub(super) struct Filters {
    pub(super) outputs: usize,
    /// Input channels of one group.
    pub(super) inputs: usize,
    padded: bool,
    /// By output and input: whether there is a weight that is not zero, and the sum of all.
    reads: Vec<bool>,
    sums: Vec<f64>,
    biases: Vec<f64>,
}

impl Filters {
    fn of(graph: &Graph, node: usize) -> Option<Self> {
        let inputs = &graph.nodes[node].inputs;
        let weight = graph.value(*inputs.get(1)?).tensor.as_ref()?;
        let &[outputs, inputs_per_group, ref taps @ ..] = weight.shape() else { return None };
        let taps = taps.iter().product::<usize>().max(1);
        let nonzero: Vec<bool> = match weight.data() {
            Data::Floats(floats) => floats.iter().map(|&w| w != 0.0).collect(),
            Data::Codes { codes, .. } => codes.iter().map(|&code| code != 0).collect(),
        };
        let sum = |kernel: &[f32]| kernel.iter().map(|&w| f64::from(w)).sum();
        let bias = inputs.get(2).and_then(|&bias| graph.value(bias).tensor.as_ref()).map(Tensor::to_floats);
        Some(Self {
            outputs,
            inputs: inputs_per_group,
            padded: matches!(&graph.nodes[node].op, Op::Conv(conv) if conv.pads != [0; 4]),
            reads: nonzero.chunks(taps).map(|kernel| kernel.contains(&true)).collect(),
            sums: weight.to_floats().chunks(taps).map(sum).collect(),
            biases: bias.map_or(vec![0.0; outputs], |bias| bias.into_iter().map(f64::from).collect()),
        })
    }

    /// Whether an output has a weight for an input.
    pub(super) fn reads(&self, output: usize, input: usize) -> bool {
        self.reads[output * self.inputs + input]
    }

    /// Whether an input that holds `constant` adds the same everywhere: padding is zero.
    pub(super) fn passes(&self, constant: Constant) -> bool {
        !self.padded || constant == [0.0; 2]
    }

    /// What an input that holds `constant`, which [passes](Self::passes), adds to an output.
    pub(super) fn term(&self, output: usize, input: usize, constant: f64) -> f64 {
        self.sums[output * self.inputs + input] * constant
    }

    /// The number that an output holds everywhere, if the inputs that it reads are constant.
    fn constant(&self, output: usize, inputs: &[Option<Constant>]) -> Option<Constant> {
        let mut total = [self.biases[output]; 2];
        for (input, &constant) in inputs.iter().enumerate().filter(|&(input, _)| self.reads(output, input)) {
            let [a, b] = constant.filter(|&constant| self.passes(constant))?;
            total = [total[0] + self.term(output, input, a), total[1] + self.term(output, input, b)];
        }
        Some(total)
    }
}

/// The filters of all layers, by node, and the constants of all channels, by value.
pub(super) struct Constants {
    pub(super) filters: Vec<Option<Filters>>,
    pub(super) values: Vec<Vec<Option<Constant>>>,
}

impl Constants {
    pub(super) fn of(graph: &Graph, channels: &Channels, mode: Mode) -> Self {
        let values = (0..graph.values.len()).map(|value| vec![None; channels.count(ValueId(value as u32))]);
        let mut constants = Self { filters: Vec::new(), values: values.collect() };
        for (index, role) in channels.roles.iter().enumerate() {
            let filters = Filters::of(graph, index).filter(|_| *role != Role::Pins);
            constants.filters.push(filters);
            if *role != Role::Pins {
                let found = constants.made_by(graph, index, *role, mode);
                constants.values[graph.nodes[index].outputs[0].index()] = found;
            }
        }
        constants
    }

    /// The constants of a node's output.
    fn made_by(&self, graph: &Graph, index: usize, role: Role, mode: Mode) -> Vec<Option<Constant>> {
        let node = &graph.nodes[index];
        let x = &self.values[node.inputs[0].index()];
        let each = |f: &dyn Fn(usize, Constant) -> Option<Constant>| -> Vec<Option<Constant>> {
            x.iter().enumerate().map(|(channel, constant)| f(channel, (*constant)?)).collect()
        };
        match (&node.op, &self.filters[index], role) {
            (_, Some(filters), Role::Mixes) => (0..filters.outputs).map(|output| filters.constant(output, x)).collect(),
            // Of a depthwise convolution, each output reads one input.
            (_, Some(filters), _) => {
                (0..filters.outputs).map(|output| filters.constant(output, &x[output..=output])).collect()
            }
            (Op::Unary(unary), ..) => each(&|_, [a, b]| Some([apply(*unary, a)?, apply(*unary, b)?])),
            (Op::BatchNorm { .. }, ..) => match Affine::of(graph, index) {
                Some(affine) => each(&|channel, [a, _]| {
                    let a = a * affine.factors[channel] + affine.offsets[channel];
                    Some([a, if mode == Mode::Training { affine.betas[channel] } else { a }])
                }),
                None => vec![None; x.len()],
            },
            (Op::Binary(Binary::Add), ..) => {
                let other = &self.values[node.inputs[1].index()];
                each(&|channel, [a, b]| other[channel].map(|[c, d]| [a + c, b + d]))
            }
            (Op::Binary(_), ..) => vec![None; x.len()],
            (Op::AveragePool { pool, count_include_pad: true }, ..) if pool.pads != [0; 4] || pool.ceil => {
                each(&|_, constant| (constant == [0.0; 2]).then_some(constant))
            }
            (Op::Pad { pads, mode }, _, Role::Keeps { offset, .. }) => {
                let mut made = vec![padding(*mode).map(|p| [p; 2]); x.len() + offset + pads[1].1 as usize];
                let inside = pads[2..].iter().all(|&pads| pads == (0, 0));
                let kept = each(&|_, constant| {
                    (inside || padding(*mode).is_none_or(|p| constant == [p; 2])).then_some(constant)
                });
                made[offset..offset + x.len()].copy_from_slice(&kept);
                made
            }
            (Op::Reshape { .. }, _, Role::Keeps { fan, .. }) => {
                x.iter().flat_map(|&constant| core::iter::repeat_n(constant, fan)).collect()
            }
            _ => x.clone(),
        }
    }
}

/// What padding adds, if it is a number.
fn padding(mode: PadMode) -> Option<f64> {
    match mode {
        PadMode::Constant(number) => Some(f64::from(number)),
        PadMode::Reflect | PadMode::Edge => None,
    }
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
