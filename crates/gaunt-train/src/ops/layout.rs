//! Operators that move elements: joining, splitting, cutting, padding, picking.

use burn::backend::{Dispatch, ops::FloatTensorOps, ops::PadMode as Padding};
use gaunt_graph::{PadMode, SliceAxis};

use crate::plain::{self, Plain};

pub(crate) fn concat(tensors: Vec<Plain>, axis: usize) -> Plain {
    Dispatch::float_cat(tensors, axis)
}

pub(crate) fn split(x: &Plain, axis: usize, sizes: &[usize]) -> Vec<Plain> {
    let mut start = 0;
    let part = |&size: &usize| {
        let part = plain::narrow(x.clone(), axis, start, start + size);
        start += size;
        part
    };
    sizes.iter().map(part).collect()
}

pub(crate) fn slice(x: Plain, axes: &[SliceAxis]) -> Plain {
    axes.iter().fold(x, |x, &SliceAxis { axis, start, step, len }| {
        if step == 1 {
            return plain::narrow(x, axis, start, start + len);
        }
        let at = |i| start.wrapping_add_signed(step.wrapping_mul(i as isize));
        plain::select(x, axis, &(0..len).map(at).collect::<Vec<_>>())
    })
}

pub(crate) fn pad(x: Plain, pads: &[(i64, i64)], mode: PadMode) -> Plain {
    match mode {
        PadMode::Constant(value) => {
            let cropped = crop(x, pads);
            let grow = |&(before, after): &(i64, i64)| (before.max(0) as usize, after.max(0) as usize);
            let pads: Vec<_> = pads.iter().map(grow).collect();
            if pads.iter().all(|&pad| pad == (0, 0)) {
                return cropped;
            }
            Dispatch::float_pad(cropped, &pads, Padding::Constant(value))
        }
        PadMode::Reflect => pad_by_index(x, pads, |i, size| {
            let period = 2 * (size - 1).max(1);
            let i = i.rem_euclid(period);
            i.min(period - i)
        }),
        PadMode::Edge => pad_by_index(x, pads, |i, size| i.clamp(0, size - 1)),
    }
}

pub(crate) fn gather(x: Plain, axis: usize, indices: &[usize], indices_shape: &[usize]) -> Plain {
    let mut to = plain::shape(&x);
    to.splice(axis..=axis, indices_shape.iter().copied());
    plain::reshape(plain::select(x, axis, indices), &to)
}

pub(crate) fn transpose(x: Plain, perm: &[usize]) -> Plain {
    Dispatch::float_permute(x, perm)
}

/// Takes off what negative pads say.
fn crop(x: Plain, pads: &[(i64, i64)]) -> Plain {
    pads.iter().enumerate().fold(x, |x, (axis, &(before, after))| {
        let size = plain::shape(&x)[axis];
        let start = (-before).max(0) as usize;
        let end = size.saturating_sub((-after).max(0) as usize);
        plain::narrow(x, axis, start, end)
    })
}

/// Pads every axis with the elements at `source(position, size)`, where positions before the start are negative.
fn pad_by_index(x: Plain, pads: &[(i64, i64)], source: impl Fn(i64, i64) -> i64) -> Plain {
    pads.iter().enumerate().fold(x, |x, (axis, &(before, after))| {
        if (before, after) == (0, 0) {
            return x;
        }
        let size = plain::shape(&x)[axis] as i64;
        let indices: Vec<usize> = (-before..size + after).map(|i| source(i, size) as usize).collect();
        plain::select(x, axis, &indices)
    })
}
