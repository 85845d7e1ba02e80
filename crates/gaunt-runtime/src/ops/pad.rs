//! Elements added around a value, or cropped from it.

use alloc::vec::Vec;

use gaunt_graph::PadMode;

use crate::{
    MAX_RANK,
    kernel::{Kernel, Operands},
    view::{ViewMut, dense_strides},
};

/// Adds `(before, after)` elements along each axis.
pub(crate) struct PadKernel {
    pub pads: Vec<(i64, i64)>,
    pub mode: PadMode,
}

impl Kernel for PadKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        let strides = dense_strides(x.shape);
        let last = out.shape.len() - 1;
        let mut index = [0; MAX_RANK];
        for row in out.data.chunks_exact_mut(out.shape[last]) {
            // Where the row lies in the input, unless it is all padding.
            let start = (0..last).try_fold(0, |start, axis| {
                Some(start + self.source(axis, index[axis], x.shape[axis])? * strides[axis] as usize)
            });
            for (i, y) in row.iter_mut().enumerate() {
                let source = start.and_then(|start| Some(start + self.source(last, i, x.shape[last])?));
                *y = match (source, self.mode) {
                    (Some(at), _) => x.data[at],
                    (None, PadMode::Constant(value)) => value,
                    (None, PadMode::Reflect | PadMode::Edge) => 0.0,
                };
            }
            advance(&mut index[..last], out.shape);
        }
    }
}

impl PadKernel {
    /// The input index that an output index shows along an axis of the given size; none for a constant.
    fn source(&self, axis: usize, output: usize, size: usize) -> Option<usize> {
        let last = size as i64 - 1;
        let index = output as i64 - self.pads[axis].0;
        let index = match self.mode {
            PadMode::Constant(_) => index,
            PadMode::Edge => index.clamp(0, last),
            PadMode::Reflect if last == 0 => 0,
            PadMode::Reflect => last - (index.rem_euclid(2 * last) - last).abs(),
        };
        (0..=last).contains(&index).then_some(index as usize)
    }
}

/// Moves to the next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < size {
            return;
        }
        *i = 0;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use gaunt_graph::{Op, PadMode};

    use crate::testing::{count, evaluate};

    #[test]
    fn modes_differ_in_what_they_add() {
        let table = [
            (PadMode::Constant(9.0), [9., 9., 0., 1., 2., 9.]),
            (PadMode::Reflect, [2., 1., 0., 1., 2., 1.]),
            (PadMode::Edge, [0., 0., 0., 1., 2., 2.]),
        ];
        for (mode, expected) in table {
            let op = Op::Pad { pads: vec![(2, 1)], mode };
            assert_eq!(evaluate(op, &[(&[3], &count(3))], &[]), expected, "{mode:?}");
        }
    }

    #[test]
    fn negative_pads_crop() {
        let op = Op::Pad { pads: vec![(1, 0), (-1, 1)], mode: PadMode::Constant(0.0) };
        assert_eq!(evaluate(op, &[(&[2, 2], &[1., 2., 3., 4.])], &[]), [0., 0., 2., 0., 4., 0.]);
    }
}
