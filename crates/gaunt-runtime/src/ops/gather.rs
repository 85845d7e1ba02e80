//! Slices picked by constant indices.

use alloc::vec::Vec;

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// Replaces `axis` by the slices at `indices`.
pub(crate) struct GatherKernel {
    pub axis: usize,
    pub indices: Vec<usize>,
}

impl Kernel for GatherKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        let slice: usize = x.shape[self.axis + 1..].iter().product();
        let blocks = x.data.chunks_exact(x.shape[self.axis] * slice);
        for (x, out) in blocks.zip(out.data.chunks_exact_mut(self.indices.len() * slice)) {
            for (&index, out) in self.indices.iter().zip(out.chunks_exact_mut(slice)) {
                out.copy_from_slice(&x[index * slice..][..slice]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use gaunt_graph::Op;

    use crate::testing::{count, evaluate};

    #[test]
    fn slices_are_picked_in_any_order() {
        let gather = Op::Gather { axis: 1, indices: vec![2, 0, 2], indices_shape: vec![3] };
        assert_eq!(evaluate(gather, &[(&[2, 3], &count(6))], &[]), [2., 0., 2., 5., 3., 5.]);
    }
}
