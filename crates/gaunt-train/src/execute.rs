//! Walks a plan: takes the inputs of each stage, computes, and forgets what nobody needs any more.

use burn::backend::DispatchDevice;
use gaunt_graph::{Graph, Node, Op, Reduction, Shape, Unary, ValueId};
use gaunt_kernels::{Precision, profile};

use crate::{
    TrainError,
    flow::Flow,
    ops::{
        elementwise,
        image::{self, BatchStatistics},
        layout, product, reduction, resize,
    },
    plain::{self, Plain},
    plan::{Stage, activation_of, adds_maps, flowing_inputs},
};

/// How batch norms normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By the running statistics.
    Inference,
    /// By the batch's own statistics, which are recorded.
    Training,
}

/// One walk through a graph. Slices are indexed by [`ValueId`].
pub(crate) struct Executor<'a> {
    pub graph: &'a Graph,
    /// Constants on the host.
    pub floats: &'a [Vec<f32>],
    /// Constants on the device.
    pub tensors: &'a [Option<Plain>],
    pub device: &'a DispatchDevice,
    pub mode: Mode,
    /// Of the operands of convolutions and linear layers.
    pub precision: Precision,
    /// Images.
    pub batch: usize,
    /// What has been made and is still needed.
    pub flows: Vec<Option<Flow>>,
    /// Statistics of the batch norms passed in training mode, with the index of their node.
    pub statistics: Vec<(usize, BatchStatistics)>,
    /// Inputs of convolutions and linear layers, by their weight, if they are asked for.
    pub layer_inputs: Option<Vec<(ValueId, Plain)>>,
}

impl Executor<'_> {
    /// Executes stages in order.
    pub fn run(&mut self, stages: &[Stage]) -> Result<(), TrainError> {
        for stage in stages {
            let node = &self.graph.nodes[stage.node];
            let flows = flowing_inputs(node).iter().zip(&stage.last_use).map(|(&input, &last)| self.take(input, last));
            let inputs = Inputs { node, flows: flows.collect::<Result<Vec<_>, _>>()?.into_iter() };
            let outputs = self.execute(stage, node, inputs)?;
            for (&value, flow) in stage.outputs.iter().zip(outputs) {
                self.flows[value.index()] = Some(flow);
            }
        }
        Ok(())
    }

    /// A constant, or a value that has been made; at its last use it is moved out.
    pub fn take(&mut self, value: ValueId, last_use: bool) -> Result<Flow, TrainError> {
        if let Some(tensor) = &self.tensors[value.index()] {
            return Ok(Flow::Plain(tensor.clone()));
        }
        let slot = &mut self.flows[value.index()];
        let flow = if last_use { slot.take() } else { slot.clone() };
        let missing = || format!("value `{}` is used before it is made", self.graph.value(value).name);
        flow.ok_or_else(|| TrainError::Network(missing()))
    }

    fn execute(&mut self, stage: &Stage, node: &Node, mut inputs: Inputs) -> Result<Vec<Flow>, TrainError> {
        let x = inputs.flow()?;
        if let (Some(layer_inputs), Op::Conv(_) | Op::Linear) = (&mut self.layer_inputs, &node.op) {
            layer_inputs.push((node.inputs[1], x.clone().plain()));
        }
        let plain = match &node.op {
            Op::Conv(conv) => {
                let (weight, bias) = (inputs.plain()?, inputs.optional());
                let cancelled = self.mode == Mode::Training && stage.cancelled_bias.is_some();
                return Ok(vec![image::conv(x, weight, bias.filter(|_| !cancelled), conv, self.precision)]);
            }
            Op::BatchNorm { epsilon } => return Ok(vec![self.batch_norm(stage, node, x, *epsilon)]),
            Op::MaxPool(pool) => return Ok(vec![image::max_pool(x, pool)]),
            Op::AveragePool { pool, count_include_pad } => {
                return Ok(vec![image::average_pool(x, pool, *count_include_pad)]);
            }
            Op::Binary(_) if adds_maps(self.graph, node) => {
                return Ok(vec![image::add(x, inputs.flow()?, stage.activation)]);
            }
            Op::Reduce { reduction: Reduction::Mean, axes, keep_dims } if *axes == [2, 3] && x.shape().len() == 4 => {
                return Ok(vec![image::global_average(x, *keep_dims)]);
            }
            Op::Slice { axes } => return Ok(vec![image::slice(x, axes)]),
            Op::Pad { pads, mode } => return Ok(vec![image::pad(x, pads, *mode)]),
            Op::Unary(function) => return Ok(vec![unary(*function, &node.op, x)]),
            Op::Split { axis, sizes } => {
                return Ok(layout::split(&x.plain(), *axis, sizes).into_iter().map(Flow::Plain).collect());
            }
            op => self.plain(op, x.plain(), inputs)?,
        };
        Ok(vec![Flow::Plain(plain)])
    }

    /// The operators on plain tensors that make one; `x` is the first input.
    fn plain(&self, op: &Op, x: Plain, mut rest: Inputs) -> Result<Plain, TrainError> {
        let _timer = profile::timer(op.name());
        Ok(match op {
            Op::Linear => product::linear(x, rest.plain()?, rest.optional(), self.precision),
            Op::MatMul => product::matmul(x, rest.plain()?),
            Op::Binary(function) => elementwise::binary(*function, x, rest.plain()?),
            Op::Where => elementwise::choose(x, rest.plain()?, rest.plain()?),
            Op::Softmax { axis } => reduction::softmax(x, *axis),
            Op::Reduce { reduction, axes, keep_dims } => reduction::reduce(x, *reduction, axes, *keep_dims),
            Op::LayerNorm { axis, epsilon } => {
                reduction::layer_norm(x, rest.plain()?, rest.optional(), *axis, *epsilon)
            }
            Op::Reshape { shape } => plain::reshape(x, &self.sizes(shape)),
            Op::Expand { shape } => plain::expand(x, &self.sizes(shape)),
            Op::Transpose { perm } => layout::transpose(x, perm),
            Op::Concat { axis } => layout::concat([x].into_iter().chain(rest.all()).collect(), *axis),
            Op::Resize(resize) => resize::resize(x, resize),
            Op::Gather { axis, indices, indices_shape } => layout::gather(x, *axis, indices, indices_shape),
            Op::Conv(_)
            | Op::BatchNorm { .. }
            | Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::Unary(_)
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Split { .. } => {
                return Err(TrainError::Network(format!("{} is no operator on plain tensors", op.name())));
            }
        })
    }

    fn batch_norm(&mut self, stage: &Stage, node: &Node, x: Flow, epsilon: f32) -> Flow {
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|input| node.inputs[input].index());
        if self.mode == Mode::Training
            && let (Some(gamma), Some(beta)) = (&self.tensors[gamma], &self.tensors[beta])
        {
            let (y, statistics) = image::batch_norm(x, gamma.clone(), beta.clone(), epsilon, stage.activation);
            self.statistics.push((stage.node, BatchStatistics { bias: stage.cancelled_bias, ..statistics }));
            return y;
        }
        let [gamma, beta, mean, variance] = [gamma, beta, mean, variance].map(|index| self.floats[index].as_slice());
        let deviations = variance.iter().map(|&variance| (variance + epsilon).sqrt());
        let scale: Vec<f32> = gamma.iter().zip(deviations).map(|(gamma, deviation)| gamma / deviation).collect();
        let shift: Vec<f32> =
            beta.iter().zip(mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
        let upload = |values: &[f32]| plain::upload(values, &[values.len()], self.device);
        image::affine(x, upload(&scale), upload(&shift), stage.activation)
    }

    fn sizes(&self, shape: &Shape) -> Vec<usize> {
        shape.iter().map(|dim| dim.at(self.batch)).collect()
    }
}

/// Activations that the kernels know stay in their layout.
fn unary(function: Unary, op: &Op, x: Flow) -> Flow {
    match (activation_of(op), x) {
        (Some(activation), x @ Flow::Maps(_)) => image::activate(x, activation),
        (_, x) => Flow::Plain(elementwise::unary(function, x.plain())),
    }
}

/// The inputs of a node, handed out one by one.
struct Inputs<'a> {
    node: &'a Node,
    flows: std::vec::IntoIter<Flow>,
}

impl Inputs<'_> {
    fn flow(&mut self) -> Result<Flow, TrainError> {
        let missing = || format!("node `{}` ({}) lacks an input", self.node.name, self.node.op.name());
        self.flows.next().ok_or_else(|| TrainError::Network(missing()))
    }

    fn plain(&mut self) -> Result<Plain, TrainError> {
        self.flow().map(Flow::plain)
    }

    fn optional(&mut self) -> Option<Plain> {
        self.flows.next().map(Flow::plain)
    }

    fn all(self) -> impl Iterator<Item = Plain> {
        self.flows.map(Flow::plain)
    }
}
