//! Rules of operators that move, select or reduce elements.

use alloc::{vec, vec::Vec};

use super::{Dim, Rule, Shape, Show, dim, elements, err, fixed, overflow};
use crate::{PadMode, SliceAxis};

pub(super) fn reshape(x: &[Dim], shape: &[Dim]) -> Rule {
    if elements(x)? != elements(shape)? {
        return err!("{} cannot be reshaped to {}: the element counts differ", Show(x), Show(shape));
    }
    Ok(shape.to_vec())
}

pub(super) fn transpose(x: &[Dim], perm: &[usize]) -> Rule {
    let is_permutation = perm.len() == x.len() && (0..x.len()).all(|axis| perm.contains(&axis));
    if !is_permutation {
        return err!("{perm:?} is not a permutation of the {} axes of {}", x.len(), Show(x));
    }
    Ok(perm.iter().map(|&axis| x[axis]).collect())
}

pub(super) fn reduce(x: &[Dim], axes: &[usize], keep_dims: bool) -> Rule {
    check_axes(x, axes.iter().copied())?;
    let kept = x.iter().enumerate().filter_map(|(axis, &dim)| match (axes.contains(&axis), keep_dims) {
        (false, _) => Some(dim),
        (true, true) => Some(Dim::Fixed(1)),
        (true, false) => None,
    });
    Ok(kept.collect())
}

pub(super) fn concat(inputs: &[&[Dim]], axis: usize) -> Rule {
    let mut shape = inputs[0].to_vec();
    let mut total = dim(&shape, axis)?;
    for &input in &inputs[1..] {
        let fits = input.len() == shape.len() && (0..shape.len()).all(|i| i == axis || input[i] == shape[i]);
        if !fits {
            return err!("{} and {} differ in another axis than the joined one, {axis}", Show(inputs[0]), Show(input));
        }
        total = match (total, input[axis]) {
            (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(a.checked_add(b).ok_or_else(overflow)?),
            (Dim::Batch(a), Dim::Batch(b)) => Dim::Batch(a.checked_add(b).ok_or_else(overflow)?),
            (a, b) => return err!("joins {a} and {b} along axis {axis}; either all or none may depend on the batch"),
        };
    }
    shape[axis] = total;
    Ok(shape)
}

pub(super) fn split(x: &[Dim], axis: usize, sizes: &[usize]) -> Rule<Vec<Shape>> {
    let size = fixed(x, axis)?;
    let total = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
    if total != Some(size) {
        return err!("the sizes {sizes:?} do not add up to {size}, axis {axis} of {}", Show(x));
    }
    Ok(sizes.iter().map(|&size| with(x, axis, size)).collect())
}

pub(super) fn slice(x: &[Dim], axes: &[SliceAxis]) -> Rule {
    check_axes(x, axes.iter().map(|slice| slice.axis))?;
    let mut shape = x.to_vec();
    for &SliceAxis { axis, start, step, len } in axes {
        let size = fixed(x, axis)?;
        if step == 0 {
            return err!("the step along axis {axis} must not be zero");
        }
        let last = len.checked_sub(1).and_then(|hops| step.checked_mul(isize::try_from(hops).ok()?));
        let inside = last.and_then(|hop| start.checked_add_signed(hop)).is_some_and(|last| last < size);
        if len > 0 && !(start < size && inside) {
            return err!("{len} elements from {start} in steps of {step} leave axis {axis} of {}", Show(x));
        }
        shape[axis] = Dim::Fixed(len);
    }
    Ok(shape)
}

pub(super) fn pad(x: &[Dim], pads: &[(i64, i64)], mode: PadMode) -> Rule {
    if pads.len() != x.len() {
        return err!("pads {} axes, but {} has {}", pads.len(), Show(x), x.len());
    }
    let mut shape = x.to_vec();
    for (axis, &(before, after)) in pads.iter().enumerate().filter(|(_, pads)| **pads != (0, 0)) {
        let size = fixed(x, axis)?;
        let fits = match mode {
            PadMode::Constant(_) => true,
            PadMode::Reflect => before.max(after) < size as i64,
            PadMode::Edge => size > 0 || before.max(after) <= 0,
        };
        let padded = before.checked_add(after).and_then(|sum| (size as i64).checked_add(sum));
        match padded.and_then(|padded| usize::try_from(padded).ok()) {
            Some(padded) if fits => shape[axis] = Dim::Fixed(padded),
            _ => return err!("padding {before} and {after} does not fit axis {axis} of {}", Show(x)),
        }
    }
    Ok(shape)
}

pub(super) fn gather(x: &[Dim], axis: usize, indices: &[usize], indices_shape: &[usize]) -> Rule {
    let size = fixed(x, axis)?;
    let replacement: Shape = indices_shape.iter().map(|&size| Dim::Fixed(size)).collect();
    if elements(&replacement)?.0 != indices.len() {
        return err!("{} indices do not fill the shape {}", indices.len(), Show(&replacement));
    }
    if let Some(index) = indices.iter().find(|&&index| index >= size) {
        return err!("index {index} is outside of axis {axis} of {}", Show(x));
    }
    let mut shape = x.to_vec();
    shape.splice(axis..=axis, replacement);
    Ok(shape)
}

/// Axes must exist and occur once.
fn check_axes(x: &[Dim], axes: impl Iterator<Item = usize>) -> Rule<()> {
    let mut seen = vec![false; x.len()];
    for axis in axes {
        dim(x, axis)?;
        if core::mem::replace(&mut seen[axis], true) {
            return err!("axis {axis} is given twice");
        }
    }
    Ok(())
}

fn with(x: &[Dim], axis: usize, size: usize) -> Shape {
    let mut shape = x.to_vec();
    shape[axis] = Dim::Fixed(size);
    shape
}
