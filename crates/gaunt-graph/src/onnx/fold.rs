//! Operators whose inputs are all known when the network is read.

use super::{
    constant::{Affine, Array, Constant},
    error::{Outcome, fail},
};
use crate::{Binary, Op, Unary};

/// What the operator makes of constants, if it is one that is worth folding; `shapes` are those of the outputs.
pub(super) fn fold(op: &Op, inputs: &[&Constant], shapes: &[Vec<usize>]) -> Outcome<Option<Vec<Constant>>> {
    let (Some(&first), Some(shape)) = (inputs.first(), shapes.first()) else {
        return Ok(None);
    };
    let result = match (op, inputs) {
        (Op::Binary(binary), &[a, b]) => return Ok(self::binary(*binary, a, b, shape)?.map(|c| vec![c])),
        (Op::Where, &[condition, a, b]) => return Ok(Some(vec![choose(condition, a, b, shape)?])),
        (Op::Unary(Unary::Sqrt), &[Constant::Floats(x)]) => {
            let data = x.data.iter().map(|x| x.sqrt()).collect();
            return Ok(Some(vec![Constant::Floats(Array { shape: shape.clone(), data })]));
        }
        _ => match first {
            Constant::Floats(_) => {
                let floats = inputs.iter().map(|c| c.to_floats()).collect::<Outcome<Vec<_>>>()?;
                layout(op, &floats.iter().collect::<Vec<_>>(), shapes)
                    .map(|a| a.into_iter().map(Constant::Floats).collect())
            }
            Constant::Ints(_) => {
                let ints: Option<Vec<_>> = inputs.iter().map(|c| as_ints(c)).collect();
                let arrays = ints.and_then(|ints| layout(op, &ints, shapes));
                arrays.map(|a| a.into_iter().map(Constant::Ints).collect())
            }
        },
    };
    Ok(result)
}

fn as_ints(constant: &Constant) -> Option<&Array<Affine>> {
    match constant {
        Constant::Ints(array) => Some(array),
        Constant::Floats(_) => None,
    }
}

/// Operators that move elements without looking at them.
fn layout<T: Clone>(op: &Op, inputs: &[&Array<T>], shapes: &[Vec<usize>]) -> Option<Vec<Array<T>>> {
    let (&x, shape) = (inputs.first()?, shapes.first()?);
    Some(vec![match op {
        Op::Reshape { .. } => Array { shape: shape.clone(), data: x.data.clone() },
        Op::Transpose { perm } => x.transpose(perm),
        Op::Expand { .. } => x.expand(shape),
        Op::Concat { axis } => concat(inputs, *axis, shape),
        Op::Gather { axis, indices, .. } => gather(x, *axis, indices, shape),
        Op::Slice { axes } => {
            let own = x.strides();
            let mut strides = own.clone();
            let mut offset = 0;
            for slice in axes {
                strides[slice.axis] = own[slice.axis] * slice.step;
                offset += slice.start * own[slice.axis] as usize;
            }
            x.strided(shape, &strides, offset)
        }
        Op::Split { axis, .. } => return Some(split(x, *axis, shapes)),
        _ => return None,
    }])
}

/// Product of the sizes after an axis: the run of elements that stays together.
fn run(shape: &[usize], axis: usize) -> usize {
    shape.iter().skip(axis + 1).product()
}

fn concat<T: Clone>(inputs: &[&Array<T>], axis: usize, shape: &[usize]) -> Array<T> {
    let outer: usize = shape.iter().take(axis).product();
    let mut data = Vec::with_capacity(shape.iter().product());
    for row in 0..outer {
        for input in inputs {
            let length = run(&input.shape, axis) * input.shape[axis];
            data.extend_from_slice(&input.data[row * length..(row + 1) * length]);
        }
    }
    Array { shape: shape.to_vec(), data }
}

fn gather<T: Clone>(x: &Array<T>, axis: usize, indices: &[usize], shape: &[usize]) -> Array<T> {
    let outer: usize = x.shape.iter().take(axis).product();
    let (run, size) = (run(&x.shape, axis), x.shape[axis]);
    let mut data = Vec::with_capacity(shape.iter().product());
    for row in 0..outer {
        for index in indices {
            let start = (row * size + index) * run;
            data.extend_from_slice(&x.data[start..start + run]);
        }
    }
    Array { shape: shape.to_vec(), data }
}

fn split<T: Clone>(x: &Array<T>, axis: usize, shapes: &[Vec<usize>]) -> Vec<Array<T>> {
    let strides = x.strides();
    let mut start = 0;
    let part = |shape: &Vec<usize>| {
        let array = x.strided(shape, &strides, start * strides[axis] as usize);
        start += shape[axis];
        array
    };
    shapes.iter().map(part).collect()
}

fn binary(op: Binary, a: &Constant, b: &Constant, shape: &[usize]) -> Outcome<Option<Constant>> {
    if let (Constant::Ints(a), Constant::Ints(b)) = (a, b) {
        let combine = match op {
            Binary::Add => Affine::add,
            Binary::Sub => Affine::sub,
            Binary::Mul => Affine::mul,
            Binary::Div => Affine::div,
            Binary::Max => Affine::max,
            Binary::Min => Affine::min,
            Binary::Pow | Binary::PRelu => return Ok(None),
        };
        return Ok(Some(Constant::Ints(a.zip(b, shape, combine)?)));
    }
    let combine = match op {
        Binary::Add => |a: f32, b: f32| a + b,
        Binary::Sub => |a, b| a - b,
        Binary::Mul => |a, b| a * b,
        Binary::Div => |a, b| a / b,
        Binary::Max => f32::max,
        Binary::Min => f32::min,
        Binary::Pow => f32::powf,
        Binary::PRelu => return Ok(None),
    };
    let result = a.to_floats()?.zip(&b.to_floats()?, shape, |a, b| Ok(combine(a, b)))?;
    Ok(Some(Constant::Floats(result)))
}

fn choose(condition: &Constant, a: &Constant, b: &Constant, shape: &[usize]) -> Outcome<Constant> {
    let condition = condition.to_floats()?.expand(shape);
    match (a, b) {
        (Constant::Ints(a), Constant::Ints(b)) => {
            Ok(Constant::Ints(pick(&condition, &a.expand(shape), &b.expand(shape))))
        }
        (Constant::Floats(a), Constant::Floats(b)) => {
            Ok(Constant::Floats(pick(&condition, &a.expand(shape), &b.expand(shape))))
        }
        _ => fail!("chooses between integers and floats"),
    }
}

fn pick<T: Clone>(condition: &Array<f32>, a: &Array<T>, b: &Array<T>) -> Array<T> {
    let pairs = a.data.iter().zip(&b.data).zip(&condition.data);
    let data = pairs.map(|((a, b), &condition)| if condition != 0.0 { a.clone() } else { b.clone() }).collect();
    Array { shape: condition.shape.clone(), data }
}
