//! Functions of two values, broadcast as in NumPy.

use gaunt_graph::Binary;
use libm::powf;

use crate::{
    kernel::{Kernel, Operands},
    view::{Nest, ViewMut, broadcast_strides},
};

impl Kernel for Binary {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        match self {
            Binary::Add => combine(operands, out, |a, b| a + b),
            Binary::Sub => combine(operands, out, |a, b| a - b),
            Binary::Mul => combine(operands, out, |a, b| a * b),
            Binary::Div => combine(operands, out, |a, b| a / b),
            Binary::Pow => combine(operands, out, powf),
            Binary::Max => combine(operands, out, |a, b| if a < b || b.is_nan() { b } else { a }),
            Binary::Min => combine(operands, out, |a, b| if a > b || b.is_nan() { b } else { a }),
            Binary::PRelu => combine(operands, out, |a, slope| if a < 0.0 { slope * a } else { a }),
        }
    }

    fn in_place(&self) -> bool {
        true
    }

    fn commutes(&self) -> bool {
        matches!(self, Binary::Add | Binary::Mul)
    }
}

/// `out = f(out, b)`, `b` broadcast.
fn combine(operands: &Operands, out: ViewMut, f: impl Fn(f32, f32) -> f32) {
    let b = operands.get(1);
    let nest = Nest::new(out.shape, [broadcast_strides(b.shape, out.shape.len())]);
    let (len, [step]) = (nest.row_len(), nest.row_strides());
    let mut rows = out.data.chunks_exact_mut(len);
    nest.for_each_row([0], |[at]| {
        let Some(row) = rows.next() else { return };
        if step == 0 {
            let b = b.data[at];
            row.iter_mut().for_each(|a| *a = f(*a, b));
        } else {
            row.iter_mut().zip(&b.data[at..at + len]).for_each(|(a, &b)| *a = f(*a, b));
        }
    });
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use gaunt_graph::{Binary, Op};

    use crate::testing::{count, evaluate};

    #[test]
    fn functions_have_known_values() {
        let table = [
            (Binary::Add, 2.0),
            (Binary::Sub, -8.0),
            (Binary::Mul, -15.0),
            (Binary::Div, -0.6),
            (Binary::Pow, -243.0),
            (Binary::Max, 5.0),
            (Binary::Min, -3.0),
            (Binary::PRelu, -15.0),
        ];
        for (binary, expected) in table {
            assert_eq!(evaluate(Op::Binary(binary), &[(&[1], &[-3.0]), (&[1], &[5.0])], &[]), [expected], "{binary:?}");
        }
    }

    /// Every way in which a shape can be spread over `[2, 3, 2]`, on both sides.
    #[test]
    fn operands_are_broadcast() {
        let full: [usize; 3] = [2, 3, 2];
        let shapes: [&[usize]; 7] = [&[2, 3, 2], &[1], &[2], &[3, 1], &[2, 1, 1], &[2, 1, 2], &[1, 3, 1]];
        for small in shapes {
            let (a, b) = (count(12), count(small.iter().product()));
            let spread = |i: usize| {
                let index = [i / 6, i / 2 % 3, i % 2];
                let axes = small.iter().zip(&index[3 - small.len()..]);
                b[axes.fold(0, |at, (&size, &i)| at * size + if size == 1 { 0 } else { i })]
            };
            let expected: Vec<f32> = (0..12).map(|i| a[i] - spread(i)).collect();
            let negated: Vec<f32> = expected.iter().map(|x| -x).collect();
            let sub = Op::Binary(Binary::Sub);
            assert_eq!(evaluate(sub.clone(), &[(&full, &a), (small, &b)], &[]), expected, "{small:?}");
            assert_eq!(evaluate(sub, &[(small, &b), (&full, &a)], &[]), negated, "{small:?}");
        }
    }

    #[test]
    fn both_operands_may_grow() {
        let y = evaluate(Op::Binary(Binary::Add), &[(&[2, 1], &[0.0, 10.0]), (&[3], &[1.0, 2.0, 3.0])], &[]);
        assert_eq!(y, [1.0, 2.0, 3.0, 11.0, 12.0, 13.0]);
    }
}
