//! Functions of one value. NaN stays NaN.

use core::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use gaunt_graph::Unary;
use libm::{erff, expf, sqrtf, tanhf, truncf};

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

impl Kernel for Unary {
    fn run(&self, _operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = out.data;
        match *self {
            Unary::Relu => map(x, |x| at_least(x, 0.0)),
            Unary::Clip { min, max } => map(x, |x| at_most(at_least(x, min), max)),
            Unary::LeakyRelu { alpha } => map(x, |x| if x < 0.0 { alpha * x } else { x }),
            Unary::Elu { alpha } => map(x, |x| if x < 0.0 { alpha * libm::expm1f(x) } else { x }),
            Unary::Sigmoid => map(x, |x| 1.0 / (1.0 + expf(-x))),
            Unary::HardSigmoid { alpha, beta } => map(x, |x| unit(alpha * x + beta)),
            Unary::HardSwish => map(x, |x| x * unit(x / 6.0 + 0.5)),
            Unary::Tanh => map(x, tanhf),
            Unary::Erf => map(x, erff),
            Unary::Gelu { approximate: false } => map(x, |x| 0.5 * x * (1.0 + erff(x * FRAC_1_SQRT_2))),
            Unary::Gelu { approximate: true } => map(x, |x| {
                let inner = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + tanhf(inner))
            }),
            Unary::Sqrt => map(x, sqrtf),
            Unary::Exp => map(x, expf),
            Unary::Truncate => map(x, truncf),
            Unary::NotZero => map(x, |x| if x != 0.0 { 1.0 } else { 0.0 }),
        }
    }

    fn in_place(&self) -> bool {
        true
    }
}

fn map(x: &mut [f32], f: impl Fn(f32) -> f32) {
    x.iter_mut().for_each(|x| *x = f(*x));
}

/// The larger. Unlike `f32::max` it says which zero wins (`x`) and keeps a NaN in `x`.
fn at_least(x: f32, bound: f32) -> f32 {
    if x < bound { bound } else { x }
}

/// The smaller, in the manner of [`at_least`].
fn at_most(x: f32, bound: f32) -> f32 {
    if x > bound { bound } else { x }
}

/// Clipped to 0..1.
fn unit(x: f32) -> f32 {
    at_most(at_least(x, 0.0), 1.0)
}

#[cfg(test)]
mod tests {
    use gaunt_graph::{Op, Unary};

    use crate::testing::evaluate;

    #[test]
    fn functions_have_known_values() {
        let table: [(Unary, f32, f32); 15] = [
            (Unary::Relu, -2.0, 0.0),
            (Unary::Clip { min: -1.0, max: 6.0 }, 7.0, 6.0),
            (Unary::LeakyRelu { alpha: 0.25 }, -2.0, -0.5),
            (Unary::Elu { alpha: 2.0 }, -1.0, -1.264_241_1),
            (Unary::Sigmoid, 1.0, 0.731_058_6),
            (Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, 1.0, 0.7),
            (Unary::HardSwish, 1.5, 1.125),
            (Unary::Tanh, 0.5, 0.462_117_16),
            (Unary::Erf, 0.5, 0.520_499_9),
            (Unary::Gelu { approximate: false }, 1.0, 0.841_344_7),
            (Unary::Gelu { approximate: true }, 1.0, 0.841_192),
            (Unary::Sqrt, 2.0, core::f32::consts::SQRT_2),
            (Unary::Exp, 1.0, core::f32::consts::E),
            (Unary::Truncate, -2.75, -2.0),
            (Unary::NotZero, -0.5, 1.0),
        ];
        for (unary, x, expected) in table {
            let y = evaluate(Op::Unary(unary), &[(&[1], &[x])], &[])[0];
            assert!((y - expected).abs() < 1e-6, "{unary:?} of {x} is {y}, not {expected}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        for unary in [Unary::Relu, Unary::Clip { min: 0.0, max: 6.0 }, Unary::HardSwish, Unary::Sigmoid] {
            assert!(evaluate(Op::Unary(unary), &[(&[1], &[f32::NAN])], &[])[0].is_nan(), "{unary:?}");
        }
    }
}
