//! Sums and means over axes.
//!
//! Order of summation: the row-major order of the input, from zero.

use alloc::vec::Vec;

use gaunt_graph::Reduction;

use crate::{
    kernel::{Kernel, Operands},
    view::{Nest, ViewMut, dense_strides},
};

/// Reduces the given axes.
pub(crate) struct ReduceKernel {
    pub reduction: Reduction,
    pub axes: Vec<usize>,
}

impl Kernel for ReduceKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        let nest = Nest::new(x.shape, [self.output_strides(x.shape)]);
        let [step] = nest.row_strides();
        out.data.fill(0.0);
        let mut rows = x.data.chunks_exact(nest.row_len());
        nest.for_each_row([0], |[at]| {
            let Some(row) = rows.next() else { return };
            if step == 0 {
                out.data[at] = row.iter().fold(out.data[at], |sum, &x| sum + x);
            } else {
                out.data[at..].iter_mut().step_by(step as usize).zip(row).for_each(|(sum, &x)| *sum += x);
            }
        });
        if self.reduction == Reduction::Mean {
            let count = (x.data.len() / out.data.len()) as f32;
            out.data.iter_mut().for_each(|sum| *sum /= count);
        }
    }
}

impl ReduceKernel {
    /// How far one moves in the output with each step along an axis of the input: not at all along a reduced one.
    fn output_strides(&self, shape: &[usize]) -> [isize; crate::MAX_RANK] {
        let mut kept = [1; crate::MAX_RANK];
        let kept = &mut kept[..shape.len()];
        kept.copy_from_slice(shape);
        self.axes.iter().for_each(|&axis| kept[axis] = 1);
        let mut strides = dense_strides(kept);
        self.axes.iter().for_each(|&axis| strides[axis] = 0);
        strides
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use gaunt_graph::{Op, Reduction};

    use crate::testing::{count, evaluate};

    #[test]
    fn any_axes_are_reduced() {
        let table: [(Vec<usize>, Vec<f32>); 5] = [
            (vec![0], vec![6., 8., 10., 12., 14., 16.]),
            (vec![1], vec![6., 9., 24., 27.]),
            (vec![2], vec![1., 5., 9., 13., 17., 21.]),
            (vec![0, 2], vec![14., 22., 30.]),
            (vec![0, 1, 2], vec![66.]),
        ];
        for (axes, sums) in table {
            for keep_dims in [false, true] {
                let reduce = |reduction| Op::Reduce { reduction, axes: axes.clone(), keep_dims };
                let x = count(12);
                let inputs: [(&[usize], &[f32]); 1] = [(&[2, 3, 2], &x)];
                let means: Vec<f32> = sums.iter().map(|sum| sum / (12 / sums.len()) as f32).collect();
                assert_eq!(evaluate(reduce(Reduction::Sum), &inputs, &[]), sums, "{axes:?}");
                assert_eq!(evaluate(reduce(Reduction::Mean), &inputs, &[]), means, "{axes:?}");
            }
        }
    }
}
