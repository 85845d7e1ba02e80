//! Sums and means over axes, and the normalisations made of them.

use burn::backend::{
    Dispatch,
    ops::{ActivationOps, FloatTensorOps},
};
use gaunt_graph::Reduction;

use crate::plain::{self, Plain};

pub(crate) fn reduce(x: Plain, reduction: Reduction, axes: &[usize], keep_dims: bool) -> Plain {
    let reduced = axes.iter().fold(x, |x, &axis| match reduction {
        Reduction::Mean => Dispatch::float_mean_dim(x, axis),
        Reduction::Sum => Dispatch::float_sum_dim(x, axis),
    });
    if keep_dims {
        return reduced;
    }
    let kept = plain::shape(&reduced).into_iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let to: Vec<usize> = kept.map(|(_, size)| size).collect();
    plain::reshape(reduced, &to)
}

pub(crate) fn softmax(x: Plain, axis: usize) -> Plain {
    Dispatch::softmax(x, axis)
}

pub(crate) fn layer_norm(x: Plain, scale: Plain, bias: Option<Plain>, axis: usize, epsilon: f32) -> Plain {
    let whole = plain::shape(&x);
    let width = whole[axis..].iter().product();
    let rows = plain::reshape(x, &[whole[..axis].iter().product(), width]);
    let centred = Dispatch::float_sub(rows.clone(), Dispatch::float_mean_dim(rows, 1));
    let variance = Dispatch::float_mean_dim(Dispatch::float_mul(centred.clone(), centred.clone()), 1);
    let deviation = Dispatch::float_sqrt(Dispatch::float_add_scalar(variance, epsilon.into()));
    let row = |parameter| plain::reshape(parameter, &[1, width]);
    let scaled = Dispatch::float_mul(Dispatch::float_div(centred, deviation), row(scale));
    let shifted = match bias {
        Some(bias) => Dispatch::float_add(scaled, row(bias)),
        None => scaled,
    };
    plain::reshape(shifted, &whole)
}
