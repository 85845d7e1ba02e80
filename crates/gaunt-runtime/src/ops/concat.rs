//! Joining values along an axis.

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// Any number of values, one after the other along `axis`.
pub(crate) struct ConcatKernel {
    pub axis: usize,
}

impl Kernel for ConcatKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let out_block: usize = out.shape[self.axis..].iter().product();
        let mut start = 0;
        for index in 0..operands.len() {
            let x = operands.get(index);
            let block: usize = x.shape[self.axis..].iter().product();
            let blocks = out.data.chunks_exact_mut(out_block).zip(x.data.chunks_exact(block));
            blocks.for_each(|(out, x)| out[start..start + block].copy_from_slice(x));
            start += block;
        }
    }
}

#[cfg(test)]
mod tests {
    use gaunt_graph::Op;

    use crate::testing::evaluate;

    #[test]
    fn values_follow_each_other_along_the_axis() {
        let inputs: [(&[usize], &[f32]); 2] = [(&[2, 1], &[1., 4.]), (&[2, 2], &[2., 3., 5., 6.])];
        assert_eq!(evaluate(Op::Concat { axis: 1 }, &inputs, &[]), [1., 2., 3., 4., 5., 6.]);
    }
}
