//! Layers with their parameters, named as PyTorch names them.

use alloc::{format, vec, vec::Vec};

use super::random::SplitMix64;
use crate::{Binary, Conv, Dim, Graph, GraphError, Op, Pool, Reduction, Tensor, Unary, ValueId};

/// `epsilon` of PyTorch's batch norm.
const EPSILON: f32 = 1e-5;

/// A layer's output, or why it cannot be added.
pub(super) type Built = Result<ValueId, GraphError>;

/// Adds layers to a graph. A layer at module path `p` becomes node `p` with parameters `p.weight`, `p.bias`, ...
pub(super) struct Builder {
    pub(super) graph: Graph,
    random: SplitMix64,
}

/// Geometry of a square convolution.
#[derive(Clone, Copy)]
pub(super) struct Square {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    pub(super) groups: usize,
    pub(super) bias: bool,
}

impl Square {
    /// `kernel x kernel`, padded so that stride 1 keeps the size, without bias.
    pub(super) fn same(kernel: usize) -> Self {
        Self { kernel, stride: 1, pad: kernel / 2, groups: 1, bias: false }
    }

    pub(super) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(super) fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

impl Builder {
    pub(super) fn new(name: &str, seed: u64) -> Self {
        Self { graph: Graph::new(name), random: SplitMix64::new(seed) }
    }

    /// Size of a value along one axis, per image.
    pub(super) fn size(&self, x: ValueId, axis: usize) -> usize {
        self.graph.value(x).shape.get(axis).map_or(0, |dim| dim.at(1))
    }

    /// A convolution to `outputs` channels. Weights are Kaiming normal for the fan out, the bias is uniform.
    pub(super) fn conv(&mut self, path: &str, x: ValueId, outputs: usize, square: Square) -> Built {
        let Square { kernel, stride, pad, groups, bias } = square;
        let inputs = self.size(x, 1) / groups;
        let taps = kernel * kernel;
        let deviation = libm::sqrt(2.0 / (outputs / groups * taps) as f64);
        let weights = (0..outputs * inputs * taps).map(|_| self.random.normal(deviation)).collect();
        let mut ids = vec![x, self.parameter(path, "weight", vec![outputs, inputs, kernel, kernel], weights)?];
        if bias {
            ids.push(self.uniform(path, "bias", vec![outputs], inputs * taps)?);
        }
        let conv = Conv { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], dilation: [1; 2], groups };
        self.graph.add_node(path, Op::Conv(conv), &ids)
    }

    /// A depthwise 3 x 3 convolution.
    pub(super) fn depthwise(&mut self, path: &str, x: ValueId, stride: usize) -> Built {
        let channels = self.size(x, 1);
        self.conv(path, x, channels, Square { groups: channels, ..Square::same(3).stride(stride) })
    }

    /// A batch norm that changes nothing yet.
    pub(super) fn batch_norm(&mut self, path: &str, x: ValueId) -> Built {
        let channels = self.size(x, 1);
        let mut ids = vec![x];
        for (name, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            ids.push(self.graph.add_parameter(format!("{path}.{name}"), Tensor::full(vec![channels], value)));
        }
        self.graph.add_node(path, Op::BatchNorm { epsilon: EPSILON }, &ids)
    }

    /// A linear layer with bias, uniform as PyTorch initialises it.
    pub(super) fn linear(&mut self, path: &str, x: ValueId, outputs: usize) -> Built {
        let inputs = self.size(x, 1);
        let weight = self.uniform(path, "weight", vec![outputs, inputs], inputs)?;
        let bias = self.uniform(path, "bias", vec![outputs], inputs)?;
        self.graph.add_node(path, Op::Linear, &[x, weight, bias])
    }

    pub(super) fn relu(&mut self, path: &str, x: ValueId) -> Built {
        self.graph.add_node(path, Op::Unary(Unary::Relu), &[x])
    }

    pub(super) fn add(&mut self, path: &str, a: ValueId, b: ValueId) -> Built {
        self.graph.add_node(path, Op::Binary(Binary::Add), &[a, b])
    }

    /// Halves the map by 2 x 2 maxima.
    pub(super) fn max_pool(&mut self, path: &str, x: ValueId) -> Built {
        let pool = Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], dilation: [1; 2], ceil: false };
        self.graph.add_node(path, Op::MaxPool(pool), &[x])
    }

    /// `[N, C, H, W]` -> `[N, C]`, the mean over all positions.
    pub(super) fn global_mean(&mut self, path: &str, x: ValueId) -> Built {
        self.graph.add_node(path, Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: false }, &[x])
    }

    /// `[N, C, H, W]` -> `[N, C * H * W]`.
    pub(super) fn flatten(&mut self, path: &str, x: ValueId) -> Built {
        let features = (1..4).map(|axis| self.size(x, axis)).product();
        self.graph.add_node(path, Op::Reshape { shape: vec![Dim::Batch(1), Dim::Fixed(features)] }, &[x])
    }

    /// A parameter that is uniform in `±1 / sqrt(fan_in)`.
    fn uniform(&mut self, path: &str, name: &str, shape: Vec<usize>, fan_in: usize) -> Built {
        let bound = 1.0 / libm::sqrt(fan_in as f64);
        let floats = (0..shape.iter().product()).map(|_| self.random.uniform(bound)).collect();
        self.parameter(path, name, shape, floats)
    }

    fn parameter(&mut self, path: &str, name: &str, shape: Vec<usize>, floats: Vec<f32>) -> Built {
        let name = format!("{path}.{name}");
        match Tensor::new(shape, floats) {
            Ok(tensor) => Ok(self.graph.add_parameter(name, tensor)),
            Err(error) => Err(GraphError::Structure(format!("parameter `{name}`: {error}"))),
        }
    }
}
