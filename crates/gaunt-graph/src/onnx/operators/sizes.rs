//! Operators that exporters use to compute shapes; all but `ConstantOfShape` must be known when the file is read.

use crate::{
    Dim, Op,
    onnx::{
        call::{Call, axes},
        constant::{Affine, Array, Constant},
        error::{Outcome, Reason, fail},
        import::{Importer, Item},
        tensor::decode,
    },
};

/// All forms of the value but strings and sparse tensors.
pub(super) fn constant<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let ints = |ints: &[i64]| ints.iter().map(|&value| Affine::number(value)).collect();
    let Some(attribute) = call.node.attribute.first() else {
        return fail!("has no value");
    };
    let constant = match attribute.name {
        "value" => match &attribute.t {
            Some(tensor) => decode(tensor, cx.external).map_err(|error| Reason(error.to_string()))?,
            None => return fail!("has no value"),
        },
        "value_float" => Constant::Floats(Array::scalar(attribute.f)),
        "value_floats" => Constant::Floats(Array::vector(attribute.floats.clone())),
        "value_int" => Constant::Ints(Array::scalar(Affine::number(attribute.i))),
        "value_ints" => Constant::Ints(Array::vector(ints(&attribute.ints))),
        other => return fail!("`{other}` is not supported; dense numbers are"),
    };
    Ok(cx.weight(constant))
}

pub(super) fn shape<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let shape = cx.shape(&call.input(0)?);
    let rank = shape.len() as i64;
    let bound = |name, default| {
        let value = call.int(name, default);
        (if value < 0 { value.saturating_add(rank) } else { value }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    Ok(cx.weight(Constant::sizes(shape.get(start..end).unwrap_or_default())))
}

/// One number, repeated; where the shape depends on the batch, when the network runs.
pub(super) fn constant_of_shape<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let Some(sizes) = call.affine(0)? else { return fail!("has no shape") };
    let shape = sizes.into_iter().map(Dim::try_from).collect::<Outcome<Vec<_>>>()?;
    let value = match call.tensor("value") {
        None => Constant::Floats(Array::scalar(0.0)),
        Some(tensor) => match decode(tensor, cx.external).map_err(|error| Reason(error.to_string()))? {
            Constant::Floats(array) => Constant::Floats(Array { shape: vec![], ..array }),
            Constant::Ints(array) => Constant::Ints(Array { shape: vec![], ..array }),
        },
    };
    if value.len() != 1 {
        return fail!("its value has {} elements instead of 1", value.len());
    }
    let value = cx.weight(value);
    cx.emit(Op::Expand { shape }, &[value])
}

/// The remainder of sizes, with the sign of the divisor.
pub(super) fn modulo<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let shape = known_result(cx, &a, &b)?;
    let (Item::Weight(a), Item::Weight(b)) = (a, b) else {
        return fail!("takes remainders at run time; only those of sizes are supported");
    };
    match (&a.constant, &b.constant) {
        (Constant::Ints(a), Constant::Ints(b)) => Ok(cx.weight(Constant::Ints(a.zip(b, &shape, Affine::modulo)?))),
        _ => fail!("takes remainders of floats; only those of sizes are supported"),
    }
}

pub(super) fn equal<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let shape = known_result(cx, &a, &b)?;
    let (Item::Weight(a), Item::Weight(b)) = (a, b) else {
        return fail!("compares values at run time; only sizes can be compared");
    };
    let equal = match (&a.constant, &b.constant) {
        (Constant::Ints(a), Constant::Ints(b)) => a.zip(b, &shape, Affine::equal)?,
        (a, b) => a.to_floats()?.zip(&b.to_floats()?, &shape, |a, b| Ok(Affine::number((a == b).into())))?,
    };
    Ok(cx.weight(Constant::Ints(equal)))
}

/// The broadcast shape of two constants, paid for.
fn known_result(cx: &mut Importer<'_>, a: &Item, b: &Item) -> Outcome<Vec<usize>> {
    let (a, b) = (cx.shape(a), cx.shape(b));
    let shapes = Op::Binary(crate::Binary::Add).output_shapes(&[&a, &b])?;
    let shape: Vec<usize> = shapes.iter().flatten().map(|dim| dim.at(1)).collect();
    cx.charge(std::slice::from_ref(&shape))?;
    Ok(shape)
}

pub(super) fn floor<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    match call.constant(0)?.as_deref().map(|weight| &weight.constant) {
        Some(Constant::Floats(array)) => {
            let data = array.data.iter().map(|x| x.floor()).collect();
            Ok(cx.weight(Constant::Floats(Array { shape: array.shape.clone(), data })))
        }
        _ => call.input(0),
    }
}

pub(super) fn range<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (start, limit, delta) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let is_float = [&start, &limit, &delta]
        .iter()
        .any(|item| matches!(item, Item::Weight(weight) if matches!(weight.constant, Constant::Floats(_))));
    let bound = |index| -> Outcome<f64> {
        let value = if is_float { call.scalar(index)?.map(f64::from) } else { integer(call, index)?.map(|x| x as f64) };
        value.ok_or_else(|| Reason(format!("input {index} is missing")))
    };
    let (start, limit, delta) = (bound(0)?, bound(1)?, bound(2)?);
    let count = ((limit - start) / delta).ceil().max(0.0);
    if !count.is_finite() {
        return fail!("counts from {start} to {limit} in steps of {delta}");
    }
    let count = count as usize;
    cx.charge(&[vec![count]])?;
    let numbers = (0..count).map(|index| start + index as f64 * delta);
    Ok(cx.weight(if is_float {
        Constant::Floats(Array::vector(numbers.map(|x| x as f32).collect()))
    } else {
        Constant::Ints(Array::vector(numbers.map(|x| Affine::number(x as i64)).collect()))
    }))
}

fn integer(call: &Call<'_>, index: usize) -> Outcome<Option<i64>> {
    match call.numbers(index)?.as_deref() {
        None => Ok(None),
        Some(&[value]) => Ok(Some(value)),
        Some(values) => fail!("input {index} must hold one number, but holds {}", values.len()),
    }
}

/// Only over all elements, which is how exporters multiply sizes.
pub(super) fn reduce_prod<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let Some(values) = call.affine(0)? else { return fail!("has no input") };
    let rank = cx.shape(&call.input(0)?).len();
    let list = call.numbers_or_attribute(18, 1, "axes")?.unwrap_or_else(|| (0..rank as i64).collect());
    if axes(&list, rank)?.len() < rank {
        return fail!("multiplies along some axes only; all are supported");
    }
    let product = values.into_iter().try_fold(Affine::number(1), Affine::mul)?;
    let shape = if call.int("keepdims", 1) != 0 { vec![1; rank] } else { vec![] };
    Ok(cx.weight(Constant::Ints(Array { shape, data: vec![product] })))
}
