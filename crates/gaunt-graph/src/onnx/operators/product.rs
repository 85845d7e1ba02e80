//! Matrix products, the bias behind them, and normalisations with parameters.

use std::rc::Rc;

use crate::{
    Binary, Dim, Op,
    onnx::{
        call::Call,
        constant::{Array, Constant},
        error::Outcome,
        import::{Importer, Item, Weight},
    },
};

pub(super) fn batch_norm<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    call.one_output()?;
    call.only("training_mode", 0)?;
    call.only("spatial", 1)?;
    let inputs = (0..5).map(|index| call.input(index)).collect::<Outcome<Vec<_>>>()?;
    cx.emit(Op::BatchNorm { epsilon: call.float("epsilon", 1e-5) }, &inputs)
}

pub(super) fn layer_norm<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    call.one_output()?;
    let x = call.input(0)?;
    let axis = call.axis(-1, cx.shape(&x).len())?;
    let inputs: Vec<Item> = [x, call.input(1)?].into_iter().chain(call.optional(2)).collect();
    cx.emit(Op::LayerNorm { axis, epsilon: call.float("epsilon", 1e-5) }, &inputs)
}

/// A product with a constant matrix is [`Op::Linear`]; vectors become matrices for a moment.
pub(super) fn matmul<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (mut a, mut b) = (call.input(0)?, call.input(1)?);
    let (a_shape, b_shape) = (cx.shape(&a), cx.shape(&b));
    if let [size] = *b_shape.as_slice() {
        b = cx.emit(Op::Reshape { shape: vec![size, Dim::Fixed(1)] }, &[b])?;
    }
    if let [size] = *a_shape.as_slice() {
        a = cx.emit(Op::Reshape { shape: vec![Dim::Fixed(1), size] }, &[a])?;
    }
    let product = match constant_matrix(cx, &b) {
        Some(weight) if matches!(a, Item::Value(_)) => cx.emit(Op::Linear, &[a, Item::Weight(weight.transposed()?)])?,
        _ => cx.emit(Op::MatMul, &[a, b])?,
    };
    // The axes that made matrices of vectors go again.
    let wide = cx.shape(&product);
    let rank = wide.len();
    let is_added = |axis| (axis + 1 == rank && b_shape.len() == 1) || (axis + 2 == rank && a_shape.len() == 1);
    let shape: Vec<Dim> = (0..rank).filter(|&axis| !is_added(axis)).map(|axis| wide[axis]).collect();
    if shape == wide { Ok(product) } else { cx.emit(Op::Reshape { shape }, &[product]) }
}

/// `alpha * A * B + beta * C`; scaling of constants is done now.
pub(super) fn gemm<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (mut a, b) = (call.input(0)?, call.input(1)?);
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    let swap = Op::Transpose { perm: vec![1, 0] };
    if call.int("transA", 0) != 0 {
        a = cx.emit(swap.clone(), &[a])?;
    }
    let is_transposed = call.int("transB", 0) != 0;
    let Some(weight) = constant_matrix(cx, &b) else {
        let b = if is_transposed { cx.emit(swap, &[b])? } else { b };
        let product = cx.emit(Op::MatMul, &[a, b])?;
        let product = scaled(cx, product, alpha)?;
        return add_scaled(cx, product, call.optional(2), beta);
    };
    let weight = if is_transposed { weight } else { weight.transposed()? };
    let weight = scaled(cx, Item::Weight(weight), alpha)?;
    let outputs = cx.shape(&weight)[0];
    match call.optional(2) {
        Some(Item::Weight(bias)) if is_bias(&bias, outputs) => {
            let bias = as_bias(bias, outputs)?;
            let bias = scaled(cx, Item::Weight(bias), beta)?;
            cx.emit(Op::Linear, &[a, weight, bias])
        }
        addend => {
            let product = cx.emit(Op::Linear, &[a, weight])?;
            add_scaled(cx, product, addend, beta)
        }
    }
}

/// A constant vector that is added to a product without bias, and to nothing else, becomes its bias.
pub(super) fn add<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let product = match (&a, &b) {
        (Item::Value(id), Item::Weight(bias)) => Some((*id, bias, 0)),
        (Item::Weight(bias), Item::Value(id)) => Some((*id, bias, 1)),
        _ => None,
    };
    if let Some((id, bias, position)) = product {
        let is_last_use = call.node.input.get(position).is_some_and(|name| cx.used_once(name));
        if is_last_use && let Some(fused) = cx.fuse_bias(id, bias)? {
            return Ok(fused);
        }
    }
    cx.emit(Op::Binary(Binary::Add), &[a, b])
}

/// A matrix that is known now.
fn constant_matrix(cx: &Importer<'_>, item: &Item) -> Option<Rc<Weight>> {
    match item {
        Item::Weight(weight) if cx.shape(item).len() == 2 => Some(weight.clone()),
        _ => None,
    }
}

/// Whether a constant broadcasts to one row of the output.
fn is_bias(bias: &Weight, outputs: Dim) -> bool {
    match *bias.constant.shape() {
        [] => true,
        [size] | [1, size] => size == 1 || Dim::Fixed(size) == outputs,
        _ => false,
    }
}

fn as_bias(bias: Rc<Weight>, outputs: Dim) -> Outcome<Rc<Weight>> {
    if *bias.constant.shape() == [outputs.at(1)] {
        return Ok(bias);
    }
    let floats = bias.constant.to_floats()?;
    let flat = Array { shape: vec![floats.data.len()], data: floats.data };
    Ok(Weight::new(bias.name.clone(), Constant::Floats(flat.expand(&[outputs.at(1)]))))
}

fn add_scaled(cx: &mut Importer<'_>, product: Item, addend: Option<Item>, beta: f32) -> Outcome<Item> {
    let Some(addend) = addend else { return Ok(product) };
    let addend = scaled(cx, addend, beta)?;
    cx.emit(Op::Binary(Binary::Add), &[product, addend])
}

/// An item times a number; constants are multiplied now and keep their name.
fn scaled(cx: &mut Importer<'_>, item: Item, factor: f32) -> Outcome<Item> {
    if factor == 1.0 {
        return Ok(item);
    }
    if let Item::Weight(weight) = &item {
        let mut floats = weight.constant.to_floats()?;
        floats.data.iter_mut().for_each(|x| *x *= factor);
        return Ok(Item::Weight(Weight::new(weight.name.clone(), Constant::Floats(floats))));
    }
    let factor = cx.weight(Constant::Floats(Array::scalar(factor)));
    cx.emit(Op::Binary(Binary::Mul), &[item, factor])
}
