//! `Where`: an element of one of two values, by a third.

use crate::{
    kernel::{Kernel, Operands},
    view::{Nest, ViewMut, broadcast_strides},
};

/// `a` where the condition is not zero, else `b`; all three broadcast.
pub(crate) struct WhereKernel;

impl Kernel for WhereKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let views = [0, 1, 2].map(|index| operands.get(index));
        let nest = Nest::new(out.shape, views.map(|view| broadcast_strides(view.shape, out.shape.len())));
        let [condition, a, b] = views.map(|view| view.data);
        let steps = nest.row_strides().map(|step| step as usize);
        let mut rows = out.data.chunks_exact_mut(nest.row_len());
        nest.for_each_row([0; 3], |at| {
            for (i, y) in rows.next().into_iter().flatten().enumerate() {
                let [condition_at, a_at, b_at] = core::array::from_fn(|n| at[n] + i * steps[n]);
                *y = if condition[condition_at] != 0.0 { a[a_at] } else { b[b_at] };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use gaunt_graph::Op;

    use crate::testing::evaluate;

    #[test]
    fn the_condition_chooses_and_all_are_broadcast() {
        let inputs: [(&[usize], &[f32]); 3] = [(&[2, 1], &[0.0, -1.0]), (&[1], &[7.0]), (&[2], &[1.0, 2.0])];
        assert_eq!(evaluate(Op::Where, &inputs, &[]), [1.0, 2.0, 7.0, 7.0]);
    }
}
