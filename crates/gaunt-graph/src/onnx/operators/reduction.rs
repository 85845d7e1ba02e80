//! Reductions over axes, and softmax.

use crate::{
    Dim, Op, Reduction,
    onnx::{
        call::{Call, axes},
        error::{Outcome, fail},
        import::{Importer, Item},
        operators::layout::product,
    },
};

pub(super) fn reduce<'a>(cx: &mut Importer<'a>, call: &Call<'a>, reduction: Reduction) -> Outcome<Item> {
    let x = call.input(0)?;
    let rank = cx.shape(&x).len();
    let since = if reduction == Reduction::Sum { 13 } else { 18 };
    let list = call.numbers_or_attribute(since, 1, "axes")?.unwrap_or_default();
    if list.is_empty() && call.int("noop_with_empty_axes", 0) != 0 {
        return Ok(x);
    }
    if reduction == Reduction::Mean && cx.is_integer(&x) {
        return fail!("averages integers at run time; cast them to float first");
    }
    let mut axes = if list.is_empty() { (0..rank).collect() } else { axes(&list, rank)? };
    axes.sort_unstable();
    cx.emit(Op::Reduce { reduction, axes, keep_dims: call.int("keepdims", 1) != 0 }, &[x])
}

pub(super) fn global_average_pool<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let rank = cx.shape(&x).len();
    if rank < 3 {
        return fail!("takes [N, C, ..], but the input has {rank} axes");
    }
    cx.emit(Op::Reduce { reduction: Reduction::Mean, axes: (2..rank).collect(), keep_dims: true }, &[x])
}

/// Before opset 13, softmax runs over all axes from `axis` on, as if they were one.
pub(super) fn softmax<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    if call.opset >= 13 {
        return cx.emit(Op::Softmax { axis: call.axis(-1, shape.len())? }, &[x]);
    }
    let axis = call.axis(1, shape.len())?;
    if shape[axis + 1..].iter().all(|&dim| dim == Dim::Fixed(1)) {
        return cx.emit(Op::Softmax { axis }, &[x]);
    }
    let mut flat = shape[..axis].to_vec();
    flat.push(product(&shape[axis..])?);
    let flat = cx.emit(Op::Reshape { shape: flat }, &[x])?;
    let normalised = cx.emit(Op::Softmax { axis }, &[flat])?;
    cx.emit(Op::Reshape { shape }, &[normalised])
}
