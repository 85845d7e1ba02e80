//! Matrix products.

use burn::backend::{Dispatch, ops::FloatTensorOps};

use crate::plain::{self, Plain};

/// `x [.., K] * weight [O, K]^T + bias [O]`.
pub(crate) fn linear(x: Plain, weight: Plain, bias: Option<Plain>) -> Plain {
    let mut to = plain::shape(&x);
    let (inputs, outputs) = (plain::shape(&weight)[1], plain::shape(&weight)[0]);
    let rows = to[..to.len() - 1].iter().product();
    let product = Dispatch::float_matmul(plain::reshape(x, &[rows, inputs]), Dispatch::float_swap_dims(weight, 0, 1));
    let sum = match bias {
        Some(bias) => Dispatch::float_add(product, plain::reshape(bias, &[1, outputs])),
        None => product,
    };
    if let Some(last) = to.last_mut() {
        *last = outputs;
    }
    plain::reshape(sum, &to)
}

/// `a [.., M, K] * b [.., K, N]`, leading axes broadcast.
pub(crate) fn matmul(a: Plain, b: Plain) -> Plain {
    let (a, b) = plain::aligned(a, b);
    Dispatch::float_matmul(a, b)
}
