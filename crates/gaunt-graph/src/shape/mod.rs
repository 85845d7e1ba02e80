//! Shapes with one unknown, the batch, and the rule by which each operator derives its outputs' shapes.

mod broadcast;
mod layout;
#[cfg(test)]
mod tests;
mod window;

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;

use crate::Op;

/// One dimension of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// This many times the batch size (1 for the batch dimension itself).
    Batch(usize),
}

/// The shape of a value.
pub type Shape = Vec<Dim>;

/// Inputs that an operator cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

impl Dim {
    /// The size when the batch has `batch` images.
    pub fn at(self, batch: usize) -> usize {
        match self {
            Dim::Fixed(size) => size,
            Dim::Batch(times) => times * batch,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Batch(1) => f.write_str("N"),
            Dim::Batch(times) => write!(f, "{times}N"),
        }
    }
}

/// Writes a shape as users know it: `[N, 3, 32, 32]`, where `N` is the batch.
pub(crate) struct Show<'a>(pub(crate) &'a [Dim]);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

type Rule<T = Shape> = Result<T, ShapeError>;

/// `err!("format", ..)` is the error result of a rule.
macro_rules! err {
    ($($arg:tt)*) => { Err(crate::ShapeError(alloc::format!($($arg)*))) };
}
use err;

impl Op {
    /// The shapes of the outputs, given those of the inputs.
    ///
    /// # Errors
    /// If the operator cannot take these inputs, or an output would exceed the address space at batch size 1.
    pub fn output_shapes(&self, inputs: &[&[Dim]]) -> Result<Vec<Shape>, ShapeError> {
        self.check_arity(inputs.len())?;
        let outputs = match self {
            Op::Split { axis, sizes } => layout::split(inputs[0], *axis, sizes)?,
            _ => vec![self.output_shape(inputs)?],
        };
        for output in &outputs {
            elements(output)?;
        }
        Ok(outputs)
    }

    /// The rule of an operator with one output, for a number of inputs that is already checked.
    fn output_shape(&self, inputs: &[&[Dim]]) -> Rule {
        let x = inputs[0];
        match self {
            Op::Conv(conv) => window::conv(conv, x, inputs[1], inputs.get(2).copied()),
            Op::BatchNorm { .. } => broadcast::batch_norm(x, &inputs[1..]),
            Op::Linear => broadcast::linear(x, inputs[1], inputs.get(2).copied()),
            Op::MatMul => broadcast::matmul(x, inputs[1]),
            Op::Unary(_) => Ok(x.to_vec()),
            Op::Binary(_) => broadcast::broadcast(x, inputs[1]),
            Op::Softmax { axis } => dim(x, *axis).map(|_| x.to_vec()),
            Op::MaxPool(pool) | Op::AveragePool { pool, .. } => window::pool(pool, x),
            Op::Reduce { axes, keep_dims, .. } => layout::reduce(x, axes, *keep_dims),
            Op::LayerNorm { axis, .. } => broadcast::layer_norm(x, *axis, &inputs[1..]),
            Op::Reshape { shape } => layout::reshape(x, shape),
            Op::Transpose { perm } => layout::transpose(x, perm),
            Op::Concat { axis } => layout::concat(inputs, *axis),
            Op::Split { .. } => err!("split has several outputs"),
            Op::Slice { axes } => layout::slice(x, axes),
            Op::Pad { pads, mode } => layout::pad(x, pads, *mode),
            Op::Expand { shape } => broadcast::expand(x, shape),
            Op::Resize(resize) => window::resize(resize, x),
            Op::Gather { axis, indices, indices_shape } => layout::gather(x, *axis, indices, indices_shape),
            Op::Where => broadcast::broadcast(&broadcast::broadcast(x, inputs[1])?, inputs[2]),
        }
    }

    fn check_arity(&self, found: usize) -> Rule<()> {
        let (least, most) = match self {
            Op::Conv(_) | Op::Linear | Op::LayerNorm { .. } => (2, 3),
            Op::BatchNorm { .. } => (5, 5),
            Op::MatMul | Op::Binary(_) => (2, 2),
            Op::Where => (3, 3),
            Op::Concat { .. } => (1, usize::MAX),
            _ => (1, 1),
        };
        if (least..=most).contains(&found) {
            return Ok(());
        }
        match most {
            usize::MAX => err!("takes at least {least} input, but {found} were given"),
            _ if least == most => err!("takes {least} inputs, but {found} were given"),
            _ => err!("takes {least} to {most} inputs, but {found} were given"),
        }
    }
}

/// The dimension of an axis.
fn dim(shape: &[Dim], axis: usize) -> Rule<Dim> {
    match shape.get(axis) {
        Some(&dim) => Ok(dim),
        None => err!("axis {axis} is outside of {}, which has {} axes", Show(shape), shape.len()),
    }
}

/// The size of an axis that must not depend on the batch.
fn fixed(shape: &[Dim], axis: usize) -> Rule<usize> {
    match dim(shape, axis)? {
        Dim::Fixed(size) => Ok(size),
        Dim::Batch(_) => err!("axis {axis} of {} depends on the batch size; it must be known", Show(shape)),
    }
}

/// The four dimensions of an image batch: the first as it is, the others known.
fn image(shape: &[Dim]) -> Rule<(Dim, [usize; 3])> {
    if shape.len() != 4 {
        return err!("takes [N, C, H, W], but got {} with {} axes", Show(shape), shape.len());
    }
    Ok((shape[0], [fixed(shape, 1)?, fixed(shape, 2)?, fixed(shape, 3)?]))
}

/// Demands a shape.
fn expect(what: &str, found: &[Dim], wanted: &[Dim]) -> Rule<()> {
    if found == wanted {
        return Ok(());
    }
    err!("{what} has shape {}, but must have {}", Show(found), Show(wanted))
}

/// Number of elements as `(factor, power)`: `factor * batch^power`.
fn elements(shape: &[Dim]) -> Rule<(usize, usize)> {
    let mut power = 0;
    let mut factor = Some(1usize);
    let mut magnitude = Some(1usize);
    for &dim in shape {
        let size = match dim {
            Dim::Fixed(size) => size,
            Dim::Batch(times) => {
                power += 1;
                times
            }
        };
        factor = factor.and_then(|f| f.checked_mul(size));
        magnitude = magnitude.and_then(|f| f.checked_mul(size.max(1)));
    }
    match (factor, magnitude) {
        (Some(factor), Some(magnitude)) if magnitude <= isize::MAX as usize / 8 => Ok((factor, power)),
        _ => err!("a value of shape {} exceeds the address space", Show(shape)),
    }
}

/// A sum or product of sizes that left the range of `usize`.
fn overflow() -> ShapeError {
    ShapeError(format!("a size exceeds {}", usize::MAX))
}
