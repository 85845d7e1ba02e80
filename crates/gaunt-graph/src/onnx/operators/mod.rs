//! How each ONNX operator becomes operators of the [`Graph`](crate::Graph).

mod elementwise;
mod layout;
mod product;
mod reduction;
mod resize;
mod sizes;
mod window;

use super::{
    call::Call,
    error::Outcome,
    import::{Importer, Item},
};
use crate::{Binary, Reduction, Unary};

/// The translation of an operator with one output, or with several.
#[derive(Clone, Copy)]
pub(super) enum Translate {
    One(for<'a> fn(&mut Importer<'a>, &Call<'a>) -> Outcome<Item>),
    Many(for<'a> fn(&mut Importer<'a>, &Call<'a>) -> Outcome<Vec<Item>>),
}

pub(super) use window::without_idle_ceil;

use Translate::{Many, One};

/// Every supported operator, in alphabetical order. Import, the error about others, and the documentation read it.
const OPERATORS: &[(&str, Translate)] = &[
    ("Add", One(product::add)),
    ("AveragePool", One(window::average_pool)),
    ("BatchNormalization", One(product::batch_norm)),
    ("Cast", One(elementwise::cast)),
    ("Clip", One(elementwise::clip)),
    ("Concat", One(layout::concat)),
    ("Constant", One(sizes::constant)),
    ("ConstantOfShape", One(sizes::constant_of_shape)),
    ("Conv", One(window::conv)),
    ("Div", One(elementwise::divide)),
    ("Dropout", One(elementwise::identity)),
    ("Elu", One(|cx, call| elementwise::unary(cx, call, Unary::Elu { alpha: call.float("alpha", 1.0) }))),
    ("Equal", One(sizes::equal)),
    ("Erf", One(|cx, call| elementwise::unary(cx, call, Unary::Erf))),
    ("Exp", One(|cx, call| elementwise::unary(cx, call, Unary::Exp))),
    ("Expand", One(layout::expand)),
    ("Flatten", One(layout::flatten)),
    ("Floor", One(sizes::floor)),
    ("Gather", One(layout::gather)),
    ("Gelu", One(elementwise::gelu)),
    ("Gemm", One(product::gemm)),
    ("GlobalAveragePool", One(reduction::global_average_pool)),
    ("GlobalMaxPool", One(window::global_max_pool)),
    ("HardSigmoid", One(elementwise::hard_sigmoid)),
    ("HardSwish", One(|cx, call| elementwise::unary(cx, call, Unary::HardSwish))),
    ("Identity", One(elementwise::identity)),
    ("LayerNormalization", One(product::layer_norm)),
    ("LeakyRelu", One(|cx, call| elementwise::unary(cx, call, Unary::LeakyRelu { alpha: call.float("alpha", 0.01) }))),
    ("MatMul", One(product::matmul)),
    ("Max", One(|cx, call| elementwise::variadic(cx, call, Binary::Max))),
    ("MaxPool", One(window::max_pool)),
    ("Min", One(|cx, call| elementwise::variadic(cx, call, Binary::Min))),
    ("Mod", One(sizes::modulo)),
    ("Mul", One(|cx, call| elementwise::binary(cx, call, Binary::Mul))),
    ("PRelu", One(|cx, call| elementwise::binary(cx, call, Binary::PRelu))),
    ("Pad", One(layout::pad)),
    ("Pow", One(|cx, call| elementwise::binary(cx, call, Binary::Pow))),
    ("Range", One(sizes::range)),
    ("ReduceMean", One(|cx, call| reduction::reduce(cx, call, Reduction::Mean))),
    ("ReduceProd", One(sizes::reduce_prod)),
    ("ReduceSum", One(|cx, call| reduction::reduce(cx, call, Reduction::Sum))),
    ("Relu", One(|cx, call| elementwise::unary(cx, call, Unary::Relu))),
    ("Reshape", One(layout::reshape)),
    ("Resize", One(resize::resize)),
    ("Shape", One(sizes::shape)),
    ("Sigmoid", One(|cx, call| elementwise::unary(cx, call, Unary::Sigmoid))),
    ("Slice", One(layout::slice)),
    ("Softmax", One(reduction::softmax)),
    ("Split", Many(layout::split)),
    ("Sqrt", One(|cx, call| elementwise::unary(cx, call, Unary::Sqrt))),
    ("Squeeze", One(layout::squeeze)),
    ("Sub", One(|cx, call| elementwise::binary(cx, call, Binary::Sub))),
    ("Sum", One(|cx, call| elementwise::variadic(cx, call, Binary::Add))),
    ("Tanh", One(|cx, call| elementwise::unary(cx, call, Unary::Tanh))),
    ("Transpose", One(layout::transpose)),
    ("Unsqueeze", One(layout::unsqueeze)),
    ("Upsample", One(resize::upsample)),
    ("Where", One(elementwise::choose)),
];

/// The translation of an operator.
pub(super) fn find(name: &str) -> Option<Translate> {
    OPERATORS.binary_search_by(|(entry, _)| (*entry).cmp(name)).ok().map(|index| OPERATORS[index].1)
}

/// The names of all operators.
pub(super) fn names() -> Vec<&'static str> {
    OPERATORS.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_sorted_so_that_each_is_found() {
        assert!(OPERATORS.is_sorted_by_key(|(name, _)| *name));
        assert!(names().into_iter().all(|name| find(name).is_some()));
        assert!(find("LSTM").is_none());
    }
}
