//! Matrix products.
//!
//! Order of summation: along the inner axis, from zero.

use alloc::{boxed::Box, vec::Vec};

use super::{linear::LinearKernel, taps::weighted_sum};
use crate::{
    kernel::{Kernel, Operands, Site},
    view::{MAX_RANK, Nest, ViewMut, broadcast_strides},
};

/// The kernel for `a [.., M, K]` times `b [.., K, N]`; a constant matrix `b` makes it a linear layer.
pub(crate) fn kernel(site: &Site) -> Box<dyn Kernel> {
    let constant = site.inputs[1].tensor.as_ref();
    match constant.map(|tensor| (tensor, tensor.shape())) {
        Some((tensor, &[inner, outer])) => {
            let floats = tensor.to_floats();
            let columns: Vec<f32> =
                (0..outer).flat_map(|column| floats[column..].iter().step_by(outer).copied()).collect();
            Box::new(LinearKernel::from_rows(&columns, inner))
        }
        _ => Box::new(MatMulKernel),
    }
}

/// Both matrices computed.
struct MatMulKernel;

impl Kernel for MatMulKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let (a, b) = (operands.get(0), operands.get(1));
        let (Some((batch, [rows, columns])), Some((a_batch, [_, inner])), Some((b_batch, _))) =
            (out.shape.split_last_chunk(), a.shape.split_last_chunk(), b.shape.split_last_chunk::<2>())
        else {
            return;
        };
        let (rows, columns, inner) = (*rows, *columns, *inner);
        let matrix_strides = |shape: &[usize], len: usize| -> [isize; MAX_RANK] {
            broadcast_strides(shape, batch.len()).map(|stride| stride * len as isize)
        };
        let strides = [matrix_strides(a_batch, rows * inner), matrix_strides(b_batch, inner * columns)];
        let nest = Nest::new(batch, strides);
        let mut products = out.data.chunks_exact_mut(rows * columns);
        nest.for_each_row([0, 0], |[a_at, b_at]| {
            for i in 0..nest.row_len() {
                let Some(product) = products.next() else { return };
                let [a_step, b_step] = nest.row_strides();
                let a = &a.data[a_at + i * a_step as usize..][..rows * inner];
                let b = &b.data[b_at + i * b_step as usize..][..inner * columns];
                for (a, row) in a.chunks_exact(inner).zip(product.chunks_exact_mut(columns)) {
                    weighted_sum(0.0, a.iter().enumerate().map(|(k, &a)| (k * columns, a)), b, row);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use gaunt_graph::{Op, Tensor};

    use crate::testing::{evaluate, noise};

    /// `a [M, K]` times `b [K, N]`, entry by entry.
    fn reference(a: &[f32], b: &[f32], inner: usize, columns: usize) -> Vec<f32> {
        let entry = |row: &[f32], column: usize| {
            row.iter().enumerate().fold(0.0, |sum, (k, a)| sum + a * b[k * columns + column])
        };
        a.chunks(inner).flat_map(|row| (0..columns).map(move |column| entry(row, column))).collect()
    }

    #[test]
    fn a_constant_matrix_gives_what_a_computed_one_gives() {
        let (a, b) = (noise(9 * 7, 1), noise(7 * 43, 2));
        let expected = reference(&a, &b, 7, 43);
        let constant = Tensor::new(vec![7, 43], b.clone()).unwrap();
        assert_eq!(evaluate(Op::MatMul, &[(&[9, 7], &a), (&[7, 43], &b)], &[]), expected);
        assert_eq!(evaluate(Op::MatMul, &[(&[9, 7], &a)], &[constant]), expected);
    }

    #[test]
    fn leading_axes_are_broadcast() {
        let (a, b) = (noise(2 * 4 * 3, 1), noise(5 * 3 * 2, 2));
        let y = evaluate(Op::MatMul, &[(&[2, 1, 4, 3], &a), (&[5, 3, 2], &b)], &[]);
        let pairs = a.chunks(12).flat_map(|a| b.chunks(6).map(move |b| (a, b)));
        let expected: Vec<f32> = pairs.flat_map(|(a, b)| reference(a, b, 3, 2)).collect();
        assert_eq!(y, expected);
    }
}
