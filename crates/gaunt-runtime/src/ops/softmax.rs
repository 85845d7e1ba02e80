//! Softmax.

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// `exp(x - max) / sum of exp(x - max)` along one axis.
pub(crate) struct SoftmaxKernel {
    pub axis: usize,
}

impl Kernel for SoftmaxKernel {
    fn run(&self, _operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let stride: usize = out.shape[self.axis + 1..].iter().product();
        for block in out.data.chunks_exact_mut(out.shape[self.axis] * stride) {
            for first in 0..stride {
                let max = block[first..]
                    .iter()
                    .step_by(stride)
                    .fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
                let mut sum = 0.0;
                for x in block[first..].iter_mut().step_by(stride) {
                    *x = libm::expf(*x - max);
                    sum += *x;
                }
                block[first..].iter_mut().step_by(stride).for_each(|x| *x /= sum);
            }
        }
    }

    fn in_place(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use gaunt_graph::Op;

    use crate::testing::evaluate;

    #[test]
    fn large_numbers_do_not_overflow() {
        assert_eq!(evaluate(Op::Softmax { axis: 1 }, &[(&[1, 2], &[1e4, 1e4])], &[]), [0.5, 0.5]);
    }

    #[test]
    fn an_inner_axis_is_normalised_with_stride() {
        let y = evaluate(Op::Softmax { axis: 0 }, &[(&[2, 2], &[0.0, 5.0, 0.0, -200.0])], &[]);
        assert_eq!(y, [0.5, 1.0, 0.5, 0.0]);
    }
}
