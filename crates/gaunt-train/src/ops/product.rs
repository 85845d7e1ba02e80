//! Matrix products.

use burn::backend::{Dispatch, ops::FloatTensorOps};
use gaunt_kernels::{ConvGeometry, Maps, Precision, conv2d};

use crate::plain::{self, Plain};

/// `x [.., K] * weight [O, K]^T + bias [O]`.
pub(crate) fn linear(x: Plain, weight: Plain, bias: Option<Plain>, precision: Precision) -> Plain {
    let mut to = plain::shape(&x);
    let (inputs, outputs) = (plain::shape(&weight)[1], plain::shape(&weight)[0]);
    let rows = to[..to.len() - 1].iter().product();
    let product = match precision {
        Precision::Fp32 => {
            Dispatch::float_matmul(plain::reshape(x, &[rows, inputs]), Dispatch::float_swap_dims(weight, 0, 1))
        }
        Precision::Bf16 => by_convolution(x, weight, [rows, inputs, outputs], precision),
    };
    let sum = match bias {
        Some(bias) => Dispatch::float_add(product, plain::reshape(bias, &[1, outputs])),
        None => product,
    };
    if let Some(last) = to.last_mut() {
        *last = outputs;
    }
    plain::reshape(sum, &to)
}

/// A linear layer is a convolution of images of one pixel, whose kernels know other precisions.
fn by_convolution(x: Plain, weight: Plain, [rows, inputs, outputs]: [usize; 3], precision: Precision) -> Plain {
    let geometry = ConvGeometry { stride: [1; 2], pads: [0; 4], dilation: [1; 2], groups: 1 };
    let x = Maps::from_tensor(plain::reshape(x, &[rows, inputs, 1, 1]));
    let weight = plain::reshape(weight, &[outputs, inputs, 1, 1]);
    plain::reshape(conv2d(x, weight, None, &geometry, precision).into_tensor(), &[rows, outputs])
}

/// `a [.., M, K] * b [.., K, N]`, leading axes broadcast.
pub(crate) fn matmul(a: Plain, b: Plain) -> Plain {
    let (a, b) = plain::aligned(a, b);
    Dispatch::float_matmul(a, b)
}
