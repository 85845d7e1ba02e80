//! The operators of a [`Graph`](crate::Graph), in their normal form.
//!
//! One table ([`Op`]) feeds shape inference, import, export, training and the runtime.

use alloc::vec::Vec;

use crate::Shape;

/// What a node computes. Inputs and outputs are listed in the order in which the node holds them.
///
/// Semantics are those of the ONNX operator of the same name unless stated.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `x [N, C, H, W]`, `weight [O, C/groups, KH, KW]`, optional `bias [O]` -> `[N, O, H', W']`.
    Conv(Conv),
    /// `x [N, C, ...]`, `gamma [C]`, `beta [C]`, `mean [C]`, `variance [C]` -> the shape of `x`.
    ///
    /// Inference semantics: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`.
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// `x [.., K]`, `weight [O, K]`, optional `bias [O]` -> `[.., O]`. PyTorch's `nn.Linear`.
    Linear,
    /// `a [.., M, K]`, `b [.., K, N]` -> `[.., M, N]` with leading dimensions broadcast.
    MatMul,
    /// One value in, one of the same shape out.
    Unary(Unary),
    /// Two values in, broadcast as in NumPy.
    Binary(Binary),
    /// `x` -> `x`'s shape: exponentials normalised over one axis.
    Softmax {
        /// The axis, already made non-negative.
        axis: usize,
    },
    /// `x [N, C, H, W]` -> `[N, C, H', W']`; padding never wins.
    MaxPool(Pool),
    /// `x [N, C, H, W]` -> `[N, C, H', W']`.
    AveragePool {
        /// Window geometry.
        pool: Pool,
        /// Whether padded positions count in the divisor.
        count_include_pad: bool,
    },
    /// Reduces the given axes.
    Reduce {
        /// What is computed.
        reduction: Reduction,
        /// Sorted, non-negative axes.
        axes: Vec<usize>,
        /// Whether the reduced axes stay with size 1.
        keep_dims: bool,
    },
    /// `x [.., D...]`, `scale [D...]`, optional `bias [D...]`: normalised over the axes from `axis` on.
    LayerNorm {
        /// First normalised axis.
        axis: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Same elements, other shape; `shape` is the whole output shape.
    Reshape {
        /// Output shape.
        shape: Shape,
    },
    /// Output axis `i` is input axis `perm[i]`.
    Transpose {
        /// A permutation of the axes.
        perm: Vec<usize>,
    },
    /// Any number of values, joined along one axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// One value into several along one axis.
    Split {
        /// The axis.
        axis: usize,
        /// Size of each output along it.
        sizes: Vec<usize>,
    },
    /// A strided box out of a value; axes that are not listed are kept whole.
    Slice {
        /// One entry per sliced axis.
        axes: Vec<SliceAxis>,
    },
    /// Adds elements around a value.
    Pad {
        /// `(before, after)` for every axis. Negative entries crop.
        pads: Vec<(i64, i64)>,
        /// What the new elements are.
        mode: PadMode,
    },
    /// Broadcasts to the given shape (the output shape).
    Expand {
        /// Output shape.
        shape: Shape,
    },
    /// `x [N, C, H, W]` -> `[N, C, H', W']`, resampled.
    Resize(Resize),
    /// Picks slices along one axis by constant indices; the axis is replaced by `indices_shape`.
    Gather {
        /// The axis.
        axis: usize,
        /// Non-negative indices, row-major.
        indices: Vec<usize>,
        /// Shape of the index tensor; empty for a scalar (the axis disappears).
        indices_shape: Vec<usize>,
    },
    /// `condition`, `a`, `b`, broadcast: `a` where the condition is not zero, else `b`.
    Where,
}

/// Geometry of a convolution over `[N, C, H, W]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Window size `[KH, KW]`.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Channel groups; equal to the channels for a depthwise convolution.
    pub groups: usize,
}

/// Geometry of a pooling window over `[N, C, H, W]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Window size.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Round the output size up instead of down.
    pub ceil: bool,
}

/// Functions of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, min), max)`; infinite bounds where ONNX gives none.
    Clip {
        /// Lower bound.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// `x` where positive, else `alpha * x`.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x` where positive, else `alpha * (exp(x) - 1)`.
    Elu {
        /// Scale below zero.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 0.5, 0), 1)`.
    HardSwish,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function.
    Erf,
    /// `0.5 x (1 + erf(x / sqrt 2))`, or its tanh approximation.
    Gelu {
        /// Use the tanh approximation.
        approximate: bool,
    },
    /// Square root.
    Sqrt,
    /// Exponential.
    Exp,
    /// Cast to an integer type: the fraction is dropped.
    Truncate,
    /// Cast to a truth value: 1 where not zero.
    NotZero,
}

/// Functions of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `a` to the power of `b`.
    Pow,
    /// The larger.
    Max,
    /// The smaller.
    Min,
    /// `a` where not negative, else `b * a`; `b` is the slope.
    PRelu,
}

/// How [`Op::Reduce`] combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
}

/// One axis of [`Op::Slice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceAxis {
    /// The axis.
    pub axis: usize,
    /// First index, within the axis.
    pub start: usize,
    /// Distance between picked elements; never zero, negative walks backwards.
    pub step: isize,
    /// Number of picked elements.
    pub len: usize,
}

/// What [`Op::Pad`] adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This value.
    Constant(f32),
    /// Mirrored without repeating the edge.
    Reflect,
    /// The edge element.
    Edge,
}

/// Parameters of [`Op::Resize`].
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// Output `[H', W']`.
    pub size: [usize; 2],
    /// Ratio output / input per axis as ONNX uses it in the coordinate formula.
    pub scale: [f32; 2],
    /// How samples are made.
    pub mode: ResizeMode,
    /// Where output pixels lie in the input.
    pub coordinates: ResizeCoordinates,
}

/// Sampling of [`Op::Resize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// Nearest neighbour with the given rounding.
    Nearest(NearestRounding),
    /// Bilinear.
    Linear,
}

/// `nearest_mode` of ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NearestRounding {
    /// Ties go down.
    RoundPreferFloor,
    /// Ties go up.
    RoundPreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

/// `coordinate_transformation_mode` of ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeCoordinates {
    /// Pixel centres at half integers.
    HalfPixel,
    /// As `HalfPixel`, but 0 when the output has one pixel.
    PytorchHalfPixel,
    /// The corners of input and output coincide.
    AlignCorners,
    /// Pixel `i` lies at `i / scale`.
    Asymmetric,
}

impl Op {
    /// The name users know: that of the ONNX operator which this one is exported as.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::BatchNorm { .. } => "BatchNormalization",
            Op::Linear => "Gemm",
            Op::MatMul => "MatMul",
            Op::Unary(u) => u.name(),
            Op::Binary(b) => b.name(),
            Op::Softmax { .. } => "Softmax",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::Reduce { reduction: Reduction::Mean, .. } => "ReduceMean",
            Op::Reduce { reduction: Reduction::Sum, .. } => "ReduceSum",
            Op::LayerNorm { .. } => "LayerNormalization",
            Op::Reshape { .. } => "Reshape",
            Op::Transpose { .. } => "Transpose",
            Op::Concat { .. } => "Concat",
            Op::Split { .. } => "Split",
            Op::Slice { .. } => "Slice",
            Op::Pad { .. } => "Pad",
            Op::Expand { .. } => "Expand",
            Op::Resize(_) => "Resize",
            Op::Gather { .. } => "Gather",
            Op::Where => "Where",
        }
    }
}

impl Unary {
    /// The ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Relu => "Relu",
            Unary::Clip { .. } => "Clip",
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::Sigmoid => "Sigmoid",
            Unary::HardSigmoid { .. } => "HardSigmoid",
            Unary::HardSwish => "HardSwish",
            Unary::Tanh => "Tanh",
            Unary::Erf => "Erf",
            Unary::Gelu { .. } => "Gelu",
            Unary::Sqrt => "Sqrt",
            Unary::Exp => "Exp",
            Unary::Truncate | Unary::NotZero => "Cast",
        }
    }
}

impl Binary {
    /// The ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::Pow => "Pow",
            Binary::Max => "Max",
            Binary::Min => "Min",
            Binary::PRelu => "PRelu",
        }
    }
}
