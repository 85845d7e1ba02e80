//! Operators that read elements in another order: transposition, slices, broadcasts.

use alloc::vec::Vec;

use gaunt_graph::SliceAxis;

use crate::{
    MAX_RANK,
    kernel::{Kernel, Operands},
    view::{ViewMut, broadcast_strides, dense_strides, strided_copy},
};

/// Output axis `i` is input axis `perm[i]`.
pub(crate) struct TransposeKernel {
    pub perm: Vec<usize>,
}

impl Kernel for TransposeKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        let dense = dense_strides(x.shape);
        let mut strides = [0; MAX_RANK];
        strides.iter_mut().zip(&self.perm).for_each(|(stride, &axis)| *stride = dense[axis]);
        strided_copy(x.data, 0, strides, out);
    }
}

/// A strided box.
pub(crate) struct SliceKernel {
    pub axes: Vec<SliceAxis>,
}

impl Kernel for SliceKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        let mut strides = dense_strides(x.shape);
        let mut start = 0;
        for slice in &self.axes {
            start += slice.start as isize * strides[slice.axis];
            strides[slice.axis] *= slice.step;
        }
        strided_copy(x.data, start, strides, out);
    }
}

/// Broadcasts to the output's shape.
pub(crate) struct ExpandKernel;

impl Kernel for ExpandKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        strided_copy(x.data, 0, broadcast_strides(x.shape, out.shape.len()), out);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use gaunt_graph::{Dim, Op, SliceAxis};

    use crate::testing::{count, evaluate, evaluate_all};

    #[test]
    fn a_transposition_moves_axes() {
        let y = evaluate(Op::Transpose { perm: vec![2, 0, 1] }, &[(&[2, 3, 2], &count(12))], &[]);
        assert_eq!(y, [0., 2., 4., 6., 8., 10., 1., 3., 5., 7., 9., 11.]);
    }

    #[test]
    fn a_slice_may_walk_backwards() {
        let axes =
            vec![SliceAxis { axis: 0, start: 1, step: -1, len: 2 }, SliceAxis { axis: 1, start: 0, step: 2, len: 2 }];
        assert_eq!(evaluate(Op::Slice { axes }, &[(&[2, 4], &count(8))], &[]), [4., 6., 0., 2.]);
    }

    #[test]
    fn a_split_makes_several_values() {
        let y = evaluate_all(Op::Split { axis: 1, sizes: vec![1, 2] }, &[(&[2, 3], &count(6))], &[], 2);
        assert_eq!(y, [vec![0., 3.], vec![1., 2., 4., 5.]]);
    }

    #[test]
    fn an_expansion_repeats() {
        let shape = vec![Dim::Fixed(2), Dim::Fixed(2), Dim::Fixed(3)];
        let y = evaluate(Op::Expand { shape }, &[(&[2, 1], &[5., 6.])], &[]);
        assert_eq!(y, [5., 5., 5., 6., 6., 6., 5., 5., 5., 6., 6., 6.]);
    }
}
