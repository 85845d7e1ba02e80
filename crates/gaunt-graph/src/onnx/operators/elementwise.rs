//! Activations, arithmetic, and operators that do nothing at inference.

use onnx_rs::ast::DataType;

use crate::{
    Binary, Op, Unary,
    onnx::{
        call::Call,
        constant::{Affine, Array, Constant},
        error::{Outcome, Reason, fail},
        import::{Importer, Item},
    },
};

pub(super) fn unary<'a>(cx: &mut Importer<'a>, call: &Call<'a>, unary: Unary) -> Outcome<Item> {
    cx.emit(Op::Unary(unary), &[call.input(0)?])
}

pub(super) fn binary<'a>(cx: &mut Importer<'a>, call: &Call<'a>, binary: Binary) -> Outcome<Item> {
    cx.emit(Op::Binary(binary), &[call.input(0)?, call.input(1)?])
}

/// Division of integers rounds; only that of sizes, which are known now, is supported.
pub(super) fn divide<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    if cx.is_integer(&call.input(0)?) && cx.is_integer(&call.input(1)?) {
        return fail!("divides integers at run time; cast them to float first");
    }
    binary(cx, call, Binary::Div)
}

/// `op(op(a, b), c)` and so on.
pub(super) fn variadic<'a>(cx: &mut Importer<'a>, call: &Call<'a>, op: Binary) -> Outcome<Item> {
    let mut inputs = call.all_inputs()?.into_iter();
    let first = inputs.next().ok_or_else(|| Reason("has no input".into()))?;
    inputs.try_fold(first, |so_far, next| cx.emit(Op::Binary(op), &[so_far, next]))
}

pub(super) fn choose<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    cx.emit(Op::Where, &[call.input(0)?, call.input(1)?, call.input(2)?])
}

pub(super) fn identity<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    call.input(0)
}

pub(super) fn clip<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (min, max) = if call.opset < 11 {
        (call.float("min", f32::NEG_INFINITY), call.float("max", f32::INFINITY))
    } else {
        (call.scalar(1)?.unwrap_or(f32::NEG_INFINITY), call.scalar(2)?.unwrap_or(f32::INFINITY))
    };
    unary(cx, call, Unary::Clip { min, max })
}

pub(super) fn hard_sigmoid<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (alpha, beta) = (call.float("alpha", 0.2), call.float("beta", 0.5));
    unary(cx, call, Unary::HardSigmoid { alpha, beta })
}

pub(super) fn gelu<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let approximate = match call.string("approximate", "none")? {
        "none" => false,
        "tanh" => true,
        other => return fail!("`approximate` = `{other}` is not supported; `none` and `tanh` are"),
    };
    unary(cx, call, Unary::Gelu { approximate })
}

/// Casts to floats do nothing at run time; others drop the fraction or leave a truth value.
pub(super) fn cast<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let code = i32::try_from(call.int("to", 0)).unwrap_or_default();
    let target = match DataType::try_from(code) {
        Ok(DataType::Float | DataType::Float16 | DataType::Double | DataType::Bfloat16) => Target::Float,
        Ok(DataType::Bool) => Target::Bool,
        Ok(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => Target::Int,
        Ok(DataType::Uint8 | DataType::Uint16 | DataType::Uint32 | DataType::Uint64) => Target::Int,
        _ => return fail!("casts to element type {code}, which is not supported"),
    };
    if let Item::Weight(weight) = &x {
        return Ok(cx.weight(cast_constant(&weight.constant, target)?));
    }
    let unary = match target {
        Target::Float => None,
        Target::Int => (!cx.is_integer(&x)).then_some(Unary::Truncate),
        Target::Bool => (!cx.makes(&x, &Op::Unary(Unary::NotZero))).then_some(Unary::NotZero),
    };
    let Some(unary) = unary else { return Ok(x) };
    let result = cx.emit(Op::Unary(unary), &[x])?;
    cx.mark_integer(&result);
    Ok(result)
}

#[derive(Clone, Copy)]
enum Target {
    Float,
    Int,
    Bool,
}

fn cast_constant(constant: &Constant, target: Target) -> Outcome<Constant> {
    let shape = constant.shape().to_vec();
    let data = match (constant, target) {
        (_, Target::Float) => return Ok(Constant::Floats(constant.to_floats()?)),
        (Constant::Ints(_), Target::Int) => return Ok(constant.clone()),
        (Constant::Floats(array), Target::Int) => array.data.iter().map(|&x| Affine::number(x as i64)).collect(),
        (Constant::Floats(array), Target::Bool) => {
            array.data.iter().map(|&x| Affine::number((x != 0.0).into())).collect()
        }
        (Constant::Ints(array), Target::Bool) => {
            let truth = |x: &Affine| Ok(Affine::number(1 - x.equal(Affine::number(0))?.plus));
            array.data.iter().map(truth).collect::<Outcome<_>>()?
        }
    };
    Ok(Constant::Ints(Array { shape, data }))
}
