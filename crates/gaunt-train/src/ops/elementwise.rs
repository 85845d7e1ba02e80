//! Functions of one value or of two broadcast values, and the choice between two.

use burn::backend::{
    Dispatch,
    ops::{ActivationOps, FloatTensorOps},
};
use gaunt_graph::{Binary, Unary};

use crate::plain::{self, Plain};

/// `sqrt(2 / pi)`.
const GELU_SLOPE: f32 = 0.797_884_6;

pub(crate) fn unary(function: Unary, x: Plain) -> Plain {
    match function {
        Unary::Relu => Dispatch::relu(x),
        Unary::Clip { min, max } => Dispatch::float_clamp(x, min.into(), max.into()),
        Unary::LeakyRelu { alpha } => Dispatch::leaky_relu(x, alpha.into()),
        Unary::Elu { alpha } => {
            let below = Dispatch::float_exp(Dispatch::float_clamp_max(x.clone(), 0f32.into()));
            let below = Dispatch::float_mul_scalar(Dispatch::float_sub_scalar(below, 1f32.into()), alpha.into());
            Dispatch::float_add(Dispatch::relu(x), below)
        }
        Unary::Sigmoid => Dispatch::sigmoid(x),
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
        Unary::HardSwish => Dispatch::float_mul(hard_sigmoid(x.clone(), 1.0 / 6.0, 0.5), x),
        Unary::Tanh => Dispatch::float_tanh(x),
        Unary::Erf => Dispatch::float_erf(x),
        Unary::Gelu { approximate: false } => Dispatch::gelu(x),
        Unary::Gelu { approximate: true } => gelu_by_tanh(x),
        Unary::Sqrt => Dispatch::float_sqrt(x),
        Unary::Exp => Dispatch::float_exp(x),
        Unary::Truncate => Dispatch::float_trunc(x),
        Unary::NotZero => plain::not_zero(x),
    }
}

pub(crate) fn binary(function: Binary, a: Plain, b: Plain) -> Plain {
    let (a, b) = plain::aligned(a, b);
    match function {
        Binary::Add => Dispatch::float_add(a, b),
        Binary::Sub => Dispatch::float_sub(a, b),
        Binary::Mul => Dispatch::float_mul(a, b),
        Binary::Div => Dispatch::float_div(a, b),
        Binary::Pow => {
            let (a, b) = expanded(a, b);
            Dispatch::float_powf(a, b)
        }
        Binary::Max => {
            let (a, b) = expanded(a, b);
            plain::choose(plain::lower(a.clone(), b.clone()), b, a)
        }
        Binary::Min => {
            let (a, b) = expanded(a, b);
            plain::choose(plain::lower(b.clone(), a.clone()), b, a)
        }
        Binary::PRelu => {
            let below = Dispatch::float_clamp_max(a.clone(), 0f32.into());
            Dispatch::float_add(Dispatch::relu(a), Dispatch::float_mul(below, b))
        }
    }
}

pub(crate) fn choose(condition: Plain, a: Plain, b: Plain) -> Plain {
    let (a, b) = plain::aligned(a, b);
    let (condition, a) = plain::aligned(condition, a);
    let (a, b) = plain::aligned(a, b);
    let to = plain::broadcast(&plain::broadcast(&plain::shape(&a), &plain::shape(&b)), &plain::shape(&condition));
    plain::choose(plain::expand(condition, &to), plain::expand(a, &to), plain::expand(b, &to))
}

fn hard_sigmoid(x: Plain, alpha: f32, beta: f32) -> Plain {
    let line = Dispatch::float_add_scalar(Dispatch::float_mul_scalar(x, alpha.into()), beta.into());
    Dispatch::float_clamp(line, 0f32.into(), 1f32.into())
}

/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
fn gelu_by_tanh(x: Plain) -> Plain {
    let square = Dispatch::float_mul(x.clone(), x.clone());
    let factor = Dispatch::float_add_scalar(Dispatch::float_mul_scalar(square, 0.044715f32.into()), 1f32.into());
    let inner = Dispatch::float_mul_scalar(Dispatch::float_mul(x.clone(), factor), GELU_SLOPE.into());
    let gate = Dispatch::float_add_scalar(Dispatch::float_tanh(inner), 1f32.into());
    Dispatch::float_mul(Dispatch::float_mul_scalar(x, 0.5f32.into()), gate)
}

fn expanded(a: Plain, b: Plain) -> (Plain, Plain) {
    let to = plain::broadcast(&plain::shape(&a), &plain::shape(&b));
    (plain::expand(a, &to), plain::expand(b, &to))
}
