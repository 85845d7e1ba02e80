//! Fully connected layers.
//!
//! Rows of the input are turned by groups of up to [`RUN`], so that each weight multiplies one element of every row
//! in the group at once.
//!
//! Order of summation: bias, then along the row; zero weights are left out.

use gaunt_graph::Tensor;

use super::taps::{RUN, Taps, weighted_run};
use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// `x [.., K]` times a constant matrix.
pub(crate) struct LinearKernel {
    taps: Taps,
    row_len: usize,
}

impl LinearKernel {
    /// From `weight [O, K]`.
    pub fn new(weight: &Tensor) -> Self {
        Self::from_rows(&weight.to_floats(), weight.shape()[1])
    }

    /// From the weights of each output, `row_len` in number.
    pub fn from_rows(weights: &[f32], row_len: usize) -> Self {
        Self { taps: Taps::new(weights, row_len, |i| i as u32), row_len }
    }

    /// Computes as many whole groups of `B` rows as there are, and returns what is left.
    fn groups<'x, 'out, const B: usize>(
        &self,
        (x, out): (&'x [f32], &'out mut [f32]),
        out_len: usize,
        bias: Option<&[f32]>,
        turned: &mut [f32],
    ) -> (&'x [f32], &'out mut [f32]) {
        let groups = x.len() / (B * self.row_len);
        let (x, x_rest) = x.split_at(groups * B * self.row_len);
        let (out, out_rest) = out.split_at_mut(groups * B * out_len);
        let turned = &mut turned[..B * self.row_len];
        for (x, out) in x.chunks_exact(B * self.row_len).zip(out.chunks_exact_mut(B * out_len)) {
            for (lane, row) in x.chunks_exact(self.row_len).enumerate() {
                turned[lane..].iter_mut().step_by(B).zip(row).for_each(|(y, &x)| *y = x);
            }
            for (o, taps) in self.taps.channels().enumerate() {
                let bias = bias.map_or(0.0, |bias| bias[o]);
                let terms = taps.iter().map(|tap| (tap.offset as usize * B, tap.weight));
                let sums: [f32; B] = weighted_run(bias, terms, turned);
                out[o..].iter_mut().step_by(out_len).zip(sums).for_each(|(y, sum)| *y = sum);
            }
        }
        (x_rest, out_rest)
    }
}

impl Kernel for LinearKernel {
    fn run(&self, operands: &Operands, out: ViewMut, scratch: &mut [f32]) {
        let bias = operands.optional(1);
        let out_len = out.shape.last().copied().unwrap_or(1);
        let rest = (operands.get(0).data, out.data);
        let rest = self.groups::<RUN>(rest, out_len, bias, scratch);
        let rest = self.groups::<8>(rest, out_len, bias, scratch);
        self.groups::<1>(rest, out_len, bias, scratch);
    }

    fn reads(&self, input: usize) -> bool {
        input != 1
    }

    fn scratch_len(&self) -> usize {
        RUN * self.row_len
    }

    fn weight_bytes(&self) -> usize {
        self.taps.bytes()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use gaunt_graph::{Op, Tensor};

    use crate::testing::{evaluate, noise};

    /// Row counts on both sides of every group size.
    #[test]
    fn sums_are_those_of_the_definition() {
        let (row_len, out_len) = (13, 5);
        let codes: Vec<i32> = noise(row_len * out_len, 1).iter().map(|&x| (x * 2.5) as i32).collect();
        let weight = Tensor::from_codes(vec![out_len, row_len], codes, noise(out_len, 2)).unwrap();
        let bias = noise(out_len, 3);
        for rows in [1, 2, 7, 8, 9, 31, 32, 33, 41, 71] {
            let x = noise(rows * row_len, 4);
            let mut expected = Vec::new();
            for (x, o) in x.chunks(row_len).flat_map(|x| (0..out_len).map(move |o| (x, o))) {
                let weights = &weight.to_floats()[o * row_len..][..row_len];
                let terms = weights.iter().zip(x).filter(|(weight, _)| **weight != 0.0);
                expected.push(terms.fold(bias[o], |sum, (weight, x)| sum + weight * x));
            }
            let parameters = [weight.clone(), Tensor::new(vec![out_len], bias.clone()).unwrap()];
            assert_eq!(evaluate(Op::Linear, &[(&[rows, row_len], &x)], &parameters), expected, "{rows} rows");
        }
    }
}
