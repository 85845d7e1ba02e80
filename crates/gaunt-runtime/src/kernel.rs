//! What an operator must offer, and the table from the graph's operators to their implementations.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use gaunt_graph::{Dim, Op, Tensor, Value};

use crate::{View, ops, plan::Plan, view::ViewMut};

/// An operator made ready for one node: geometry worked out, weights converted.
///
/// Shapes have been checked against the operator's shape rule before a kernel runs.
pub(crate) trait Kernel {
    /// Computes the node's output.
    fn run(&self, operands: &Operands, out: ViewMut, scratch: &mut [f32]);

    /// Whether `out` must hold the first operand, broadcast to the output's shape, when [`run`](Self::run) is called.
    ///
    /// Its buffer then becomes the output's if nobody needs it any more. The first operand cannot be read otherwise.
    fn in_place(&self) -> bool {
        false
    }

    /// Whether the first two operands may be swapped without changing the result.
    fn commutes(&self) -> bool {
        false
    }

    /// Whether the node's input of this index is read at run time, as opposed to converted beforehand.
    fn reads(&self, _input: usize) -> bool {
        true
    }

    /// Floats of work space that `run` needs.
    fn scratch_len(&self) -> usize {
        0
    }

    /// Bytes of converted weights.
    fn weight_bytes(&self) -> usize {
        0
    }
}

/// What an operator reads: values of the graph, wherever they lie.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub ids: &'a [usize],
    pub plan: &'a Plan,
    pub parameters: &'a [Vec<f32>],
    pub slots: &'a [Vec<f32>],
    pub inputs: &'a [&'a [f32]],
}

impl<'a> Operands<'a> {
    /// Number of operands.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The operand of this index, which must exist.
    pub fn get(&self, index: usize) -> View<'a> {
        self.plan.view(self.ids[index], self.parameters, self.slots, self.inputs)
    }

    /// The elements of an operand that may be left out.
    pub fn optional(&self, index: usize) -> Option<&'a [f32]> {
        (index < self.len()).then(|| self.get(index).data)
    }
}

/// A node as kernels see it while they are made.
pub(crate) struct Site<'a> {
    pub inputs: &'a [&'a Value],
    pub output: &'a Value,
}

impl Site<'_> {
    /// The tensor of a weight, which must be a parameter.
    pub fn weight(&self, index: usize) -> Result<&Tensor, String> {
        let value = self.inputs[index];
        value.tensor.as_ref().ok_or_else(|| format!("weight `{}` is computed, but must be a parameter", value.name))
    }

    /// Height and width of the first input.
    pub fn image_size(&self) -> Result<[usize; 2], String> {
        image_size(self.inputs[0])
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> Result<[usize; 2], String> {
        image_size(self.output)
    }
}

/// The sizes of the last two of four axes, which must not depend on the batch.
fn image_size(value: &Value) -> Result<[usize; 2], String> {
    match value.shape[..] {
        [_, _, Dim::Fixed(height), Dim::Fixed(width)] => Ok([height, width]),
        _ => Err(format!("`{}` must have four axes with a fixed height and width", value.name)),
    }
}

/// The kernel of an operator. `Reshape` needs none, and `Split` is one slice for each output.
///
/// # Errors
/// With a reason, if the operator is used in a way that is not supported.
pub(crate) fn compile(op: &Op, site: &Site) -> Result<Box<dyn Kernel>, String> {
    Ok(match op {
        Op::Conv(conv) => Box::new(ops::conv::ConvKernel::new(conv, site)?),
        Op::BatchNorm { epsilon } => Box::new(ops::norm::BatchNormKernel { epsilon: *epsilon }),
        Op::Linear => Box::new(ops::linear::LinearKernel::new(site.weight(1)?)),
        Op::MatMul => ops::matmul::kernel(site),
        Op::Unary(unary) => Box::new(*unary),
        Op::Binary(binary) => Box::new(*binary),
        Op::Softmax { axis } => Box::new(ops::softmax::SoftmaxKernel { axis: *axis }),
        Op::MaxPool(pool) => Box::new(ops::pool::MaxPoolKernel { pool: pool.clone() }),
        Op::AveragePool { pool, count_include_pad } => {
            Box::new(ops::pool::AveragePoolKernel { pool: pool.clone(), count_include_pad: *count_include_pad })
        }
        Op::Reduce { reduction, axes, .. } => {
            Box::new(ops::reduce::ReduceKernel { reduction: *reduction, axes: axes.clone() })
        }
        Op::LayerNorm { axis, epsilon } => Box::new(ops::norm::LayerNormKernel { axis: *axis, epsilon: *epsilon }),
        Op::Transpose { perm } => Box::new(ops::layout::TransposeKernel { perm: perm.clone() }),
        Op::Concat { axis } => Box::new(ops::concat::ConcatKernel { axis: *axis }),
        Op::Slice { axes } => Box::new(ops::layout::SliceKernel { axes: axes.clone() }),
        Op::Pad { pads, mode } => Box::new(ops::pad::PadKernel { pads: pads.clone(), mode: *mode }),
        Op::Expand { .. } => Box::new(ops::layout::ExpandKernel),
        Op::Resize(resize) => Box::new(ops::resize::ResizeKernel::new(resize, site.image_size()?)),
        Op::Gather { axis, indices, .. } => {
            Box::new(ops::gather::GatherKernel { axis: *axis, indices: indices.clone() })
        }
        Op::Where => Box::new(ops::choose::WhereKernel),
        Op::Reshape { .. } | Op::Split { .. } => return Err("has no kernel of its own".into()),
    })
}
