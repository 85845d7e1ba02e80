//! Operators that move, select or repeat elements; their targets must be known when the file is read.

use crate::{
    Binary, Dim, Op, PadMode, Shape, SliceAxis,
    onnx::{
        call::{self, Call, unsigned},
        constant::{Affine, Constant},
        error::{Outcome, Reason, fail},
        import::{Importer, Item},
    },
};

/// Product of sizes, at most one of which depends on the batch.
pub(super) fn product(dims: &[Dim]) -> Outcome<Dim> {
    dims.iter().try_fold(Affine::number(1), |product, &dim| product.mul(dim.into()))?.try_into()
}

/// Reshapes where something changes.
fn reshape_to(cx: &mut Importer<'_>, x: Item, shape: Shape) -> Outcome<Item> {
    if cx.shape(&x) == shape { Ok(x) } else { cx.emit(Op::Reshape { shape }, &[x]) }
}

pub(super) fn reshape<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let Some(target) = call.affine(1)? else { return fail!("has no target shape") };
    let input = cx.shape(&x);
    let keeps_zero = call.int("allowzero", 0) != 0;
    let mut shape = Vec::with_capacity(target.len());
    let mut rest = None;
    for (axis, &size) in target.iter().enumerate() {
        shape.push(match size.as_number() {
            Some(0) if !keeps_zero => match input.get(axis) {
                Some(&dim) => dim,
                None => return fail!("copies axis {axis}, which the input does not have"),
            },
            Some(-1) if rest.replace(axis).is_some() => return fail!("leaves the size of two axes open"),
            Some(-1) => Dim::Fixed(1),
            _ => size.try_into()?,
        });
    }
    free_batch(cx.fixed_batch, &input, &mut shape, rest);
    if let Some(axis) = rest {
        shape[axis] = quotient(&input, &shape)?;
    }
    let is_fixed = cx.fixed_batch.is_some();
    reshape_to(cx, x, shape).map_err(|Reason(reason)| match is_fixed {
        true => Reason(format!("{reason}; the file fixes the batch size, so export it with a variable one")),
        false => Reason(reason),
    })
}

/// A file with a fixed batch repeats it in the targets of its reshapes: there it becomes the batch again.
fn free_batch(fixed_batch: Option<usize>, input: &[Dim], shape: &mut [Dim], rest: Option<usize>) {
    let is_batch = |dim: &Dim| matches!(dim, Dim::Batch(_));
    let loses_batch = input.iter().any(is_batch) && !shape.iter().any(is_batch);
    if let (Some(batch), Some(first)) = (fixed_batch, shape.first_mut())
        && loses_batch
        && *first == Dim::Fixed(batch)
        && rest != Some(0)
    {
        *first = Dim::Batch(1);
    }
}

/// What one more axis must have so that the element counts agree.
fn quotient(input: &[Dim], shape: &[Dim]) -> Outcome<Dim> {
    // Batches on both sides cancel before the products, where only one may remain.
    let (mut input, mut shape) = (input.to_vec(), shape.to_vec());
    while let (Some(a), Some(b)) = (position(&input), position(&shape)) {
        let (Dim::Batch(times), Dim::Batch(other)) = (input[a], shape[b]) else { break };
        (input[a], shape[b]) = (Dim::Fixed(times), Dim::Fixed(other));
    }
    let (whole, part) = (Affine::from(product(&input)?), Affine::from(product(&shape)?));
    match whole.div(part) {
        Ok(size) if size.mul(part)? == whole => size.try_into(),
        _ => fail!("the sizes that are given do not divide the number of elements"),
    }
}

fn position(shape: &[Dim]) -> Option<usize> {
    shape.iter().position(|dim| matches!(dim, Dim::Batch(_)))
}

pub(super) fn flatten<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    let rank = shape.len() as i64;
    let axis = call.int("axis", 1);
    let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
    let Some((head, tail)) = usize::try_from(axis).ok().and_then(|axis| shape.split_at_checked(axis)) else {
        return fail!("`axis` = {axis} is outside of -{rank}..={rank}");
    };
    let flat = vec![product(head)?, product(tail)?];
    reshape_to(cx, x, flat)
}

pub(super) fn squeeze<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    let axes = match call.numbers_or_attribute(13, 1, "axes")? {
        Some(list) => call::axes(&list, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == Dim::Fixed(1)).collect(),
    };
    // In a file with batch 1, the batch may be squeezed off too; here it stays a factor, which the reshape refuses.
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
    reshape_to(cx, x, kept)
}

pub(super) fn unsqueeze<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let Some(list) = call.numbers_or_attribute(13, 1, "axes")? else { return fail!("has no axes") };
    let shape = cx.shape(&x);
    let rank = shape.len() + list.len();
    let axes = call::axes(&list, rank)?;
    let mut old = shape.into_iter();
    let wide: Option<Shape> =
        (0..rank).map(|axis| if axes.contains(&axis) { Some(Dim::Fixed(1)) } else { old.next() }).collect();
    match wide.filter(|_| old.next().is_none()) {
        Some(wide) => reshape_to(cx, x, wide),
        None => fail!("names an axis twice"),
    }
}

pub(super) fn transpose<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let rank = cx.shape(&x).len();
    let perm = match call.ints("perm") {
        Some(perm) => perm.into_iter().map(|axis| unsigned("perm", axis)).collect::<Outcome<_>>()?,
        None => (0..rank).rev().collect(),
    };
    cx.emit(Op::Transpose { perm }, &[x])
}

pub(super) fn concat<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let mut inputs = call.all_inputs()?;
    let rank = cx.shape(&call.input(0)?).len();
    let axis = call.axis(0, rank)?;
    if cx.fixed_batch == Some(1) && axis > 0 {
        repeat_over_batch(cx, &mut inputs)?;
    }
    cx.emit(Op::Concat { axis }, &inputs)
}

/// In a file with batch 1, a constant row for each image, such as a class token, has lost its link to the batch.
fn repeat_over_batch(cx: &mut Importer<'_>, inputs: &mut [Item]) -> Outcome<()> {
    let first = |cx: &Importer<'_>, item: &Item| cx.shape(item).first().copied();
    if !inputs.iter().any(|input| first(cx, input) == Some(Dim::Batch(1))) {
        return Ok(());
    }
    for input in inputs {
        if first(cx, input) == Some(Dim::Fixed(1)) {
            let mut shape = cx.shape(input);
            shape[0] = Dim::Batch(1);
            *input = cx.emit(Op::Expand { shape }, std::slice::from_ref(input))?;
        }
    }
    Ok(())
}

pub(super) fn split<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Vec<Item>> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    let axis = call.axis(0, shape.len())?;
    let Dim::Fixed(size) = shape[axis] else {
        return fail!("splits axis {axis}, which depends on the batch size");
    };
    let sizes = match call.numbers_or_attribute(13, 1, "split")? {
        Some(sizes) => sizes.into_iter().map(|size| unsigned("split", size)).collect::<Outcome<Vec<_>>>()?,
        None => equal_parts(size, call.node.output.len()),
    };
    if sizes.len() != call.node.output.len() {
        return fail!("makes {} parts, but names {} outputs", sizes.len(), call.node.output.len());
    }
    cx.emit_all(Op::Split { axis, sizes }, &[x])
}

/// Parts of the same size; the last is smaller if the parts do not divide the whole.
fn equal_parts(size: usize, count: usize) -> Vec<usize> {
    let part = size.div_ceil(count.max(1));
    (0..count).map(|index| part.min(size.saturating_sub(index * part))).collect()
}

pub(super) fn slice<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    let numbers = |list: Vec<i64>| list.into_iter().map(Affine::number).collect::<Vec<_>>();
    let (starts, ends, axes, steps) = if call.opset < 10 {
        (call.ints("starts").map(numbers), call.ints("ends").map(numbers), call.ints("axes"), None)
    } else {
        (call.affine(1)?, call.affine(2)?, call.numbers(3)?, call.numbers(4)?)
    };
    let (Some(starts), Some(ends)) = (starts, ends) else { return fail!("has no starts or no ends") };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return fail!("gives different numbers of starts, ends, axes and steps");
    }
    let axes = call::axes(&axes, shape.len())?;
    let mut sliced = Vec::new();
    for (((axis, start), end), step) in axes.into_iter().zip(starts).zip(ends).zip(steps) {
        sliced.extend(slice_axis(axis, shape[axis], start, end, step)?);
    }
    if sliced.is_empty() { Ok(x) } else { cx.emit(Op::Slice { axes: sliced }, &[x]) }
}

/// Clamps the bounds as ONNX does. None if the whole axis is taken.
fn slice_axis(axis: usize, dim: Dim, start: Affine, end: Affine, step: i64) -> Outcome<Option<SliceAxis>> {
    if step == 1 && start == Affine::number(0) && (end == dim.into() || end == Affine::number(i64::MAX)) {
        return Ok(None);
    }
    let (Dim::Fixed(size), Some(start), Some(end)) = (dim, start.as_number(), end.as_number()) else {
        return fail!("selects along axis {axis} depending on the batch size");
    };
    let size = i64::try_from(size).map_err(|_| Reason(format!("axis {axis} is too long")))?;
    let from_end = |index: i64| if index < 0 { index.saturating_add(size) } else { index };
    let (start, end) = (from_end(start), from_end(end));
    let (start, end) = match step {
        0 => return fail!("the step along axis {axis} must not be zero"),
        1.. => (start.clamp(0, size), end.clamp(0, size)),
        _ => (start.clamp(-1, size - 1), end.clamp(-1, size - 1)),
    };
    let distance = if step > 0 { end - start } else { start - end };
    let len = u64::try_from(distance).map_or(0, |distance| distance.div_ceil(step.unsigned_abs()));
    if step == 1 && len == size as u64 {
        return Ok(None);
    }
    let step = isize::try_from(step).map_err(|_| Reason(format!("the step along axis {axis} is too long")))?;
    Ok(Some(SliceAxis { axis, start: start.max(0) as usize, step, len: len as usize }))
}

pub(super) fn pad<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let rank = cx.shape(&x).len();
    let Some(list) = call.numbers_or_attribute(11, 1, "pads")? else { return fail!("has no pads") };
    let axes = match call.numbers(3)? {
        Some(axes) => call::axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if list.len() != 2 * axes.len() {
        return fail!("gives {} pads for {} axes; two each are needed", list.len(), axes.len());
    }
    let fill = if call.opset < 11 { call.float("value", 0.0) } else { call.scalar(2)?.unwrap_or(0.0) };
    let mode = match call.string("mode", "constant")? {
        "constant" => PadMode::Constant(fill),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        other => return fail!("`mode` = `{other}` is not supported; `constant`, `reflect` and `edge` are"),
    };
    let mut pads = vec![(0, 0); rank];
    let (before, after) = list.split_at(axes.len());
    for ((axis, &before), &after) in axes.into_iter().zip(before).zip(after) {
        pads[axis] = (before, after);
    }
    if pads.iter().all(|&pads| pads == (0, 0)) { Ok(x) } else { cx.emit(Op::Pad { pads, mode }, &[x]) }
}

/// Broadcasts in both directions, as ONNX does.
pub(super) fn expand<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let Some(target) = call.affine(1)? else { return fail!("has no target shape") };
    let target = target.into_iter().map(Dim::try_from).collect::<Outcome<Shape>>()?;
    let input = cx.shape(&x);
    let shapes = Op::Binary(Binary::Add).output_shapes(&[&input, &target])?;
    let Some(shape) = shapes.into_iter().next().filter(|shape| *shape != input) else { return Ok(x) };
    cx.emit(Op::Expand { shape }, &[x])
}

pub(super) fn gather<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    let axis = call.axis(0, shape.len())?;
    let Some(weight) = call.constant(1)? else { return fail!("has no indices") };
    let Constant::Ints(array) = &weight.constant else { return fail!("its indices must be integers") };
    let Dim::Fixed(size) = shape[axis] else {
        return fail!("picks along axis {axis}, which depends on the batch size");
    };
    let index = |value: &Affine| match value.as_number() {
        Some(index) => call::axis(index, size).map_err(|_| Reason(format!("index {index} is outside of axis {axis}"))),
        None => fail!("its indices depend on the batch size"),
    };
    let indices = array.data.iter().map(index).collect::<Outcome<_>>()?;
    cx.emit(Op::Gather { axis, indices, indices_shape: array.shape.clone() }, &[x])
}
