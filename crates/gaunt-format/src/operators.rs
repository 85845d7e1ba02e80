//! Operators and their attributes in the description. Tags are for ever: new operators get new ones.

use alloc::{format, vec::Vec};

use gaunt_graph::{
    Binary, Conv, Dim, NearestRounding, Op, PadMode, Pool, Reduction, Resize, ResizeCoordinates, ResizeMode, Shape,
    SliceAxis, Unary,
};

use crate::{
    FormatError,
    limits::{Limits, check},
    wire::{Reader, Writer},
};

const BINARIES: [Binary; 8] =
    [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Pow, Binary::Max, Binary::Min, Binary::PRelu];
const REDUCTIONS: [Reduction; 2] = [Reduction::Mean, Reduction::Sum];
const COORDINATES: [ResizeCoordinates; 4] = [
    ResizeCoordinates::HalfPixel,
    ResizeCoordinates::PytorchHalfPixel,
    ResizeCoordinates::AlignCorners,
    ResizeCoordinates::Asymmetric,
];
const SAMPLINGS: [ResizeMode; 5] = [
    ResizeMode::Linear,
    ResizeMode::Nearest(NearestRounding::RoundPreferFloor),
    ResizeMode::Nearest(NearestRounding::RoundPreferCeil),
    ResizeMode::Nearest(NearestRounding::Floor),
    ResizeMode::Nearest(NearestRounding::Ceil),
];

/// Writes an operator's tag and attributes.
pub(crate) fn write(out: &mut Writer, op: &Op) {
    match op {
        Op::Conv(conv) => {
            out.0.push(0);
            sizes(out, &conv.kernel);
            sizes(out, &conv.stride);
            sizes(out, &conv.pads);
            sizes(out, &conv.dilation);
            out.size(conv.groups);
        }
        Op::BatchNorm { epsilon } => {
            out.0.push(1);
            out.float(*epsilon);
        }
        Op::Linear => out.0.push(2),
        Op::MatMul => out.0.push(3),
        Op::Unary(unary) => {
            out.0.push(4);
            write_unary(out, *unary);
        }
        Op::Binary(binary) => {
            out.0.push(5);
            choice(out, &BINARIES, binary);
        }
        Op::Softmax { axis } => tagged(out, 6, *axis),
        Op::MaxPool(pool) => {
            out.0.push(7);
            write_pool(out, pool);
        }
        Op::AveragePool { pool, count_include_pad } => {
            out.0.push(8);
            write_pool(out, pool);
            out.0.push(u8::from(*count_include_pad));
        }
        Op::Reduce { reduction, axes, keep_dims } => {
            out.0.push(9);
            choice(out, &REDUCTIONS, reduction);
            list(out, axes);
            out.0.push(u8::from(*keep_dims));
        }
        Op::LayerNorm { axis, epsilon } => {
            tagged(out, 10, *axis);
            out.float(*epsilon);
        }
        Op::Reshape { shape } => {
            out.0.push(11);
            write_shape(out, shape);
        }
        Op::Transpose { perm } => {
            out.0.push(12);
            list(out, perm);
        }
        Op::Concat { axis } => tagged(out, 13, *axis),
        Op::Split { axis, sizes } => {
            tagged(out, 14, *axis);
            list(out, sizes);
        }
        Op::Slice { axes } => {
            out.0.push(15);
            out.size(axes.len());
            for slice in axes {
                sizes(out, &[slice.axis, slice.start, slice.len]);
                out.signed(slice.step as i64);
            }
        }
        Op::Pad { pads, mode } => {
            out.0.push(16);
            out.size(pads.len());
            pads.iter().flat_map(|&(before, after)| [before, after]).for_each(|pad| out.signed(pad));
            write_pad_mode(out, *mode);
        }
        Op::Expand { shape } => {
            out.0.push(17);
            write_shape(out, shape);
        }
        Op::Resize(resize) => {
            out.0.push(18);
            sizes(out, &resize.size);
            resize.scale.iter().for_each(|&scale| out.float(scale));
            choice(out, &SAMPLINGS, &resize.mode);
            choice(out, &COORDINATES, &resize.coordinates);
        }
        Op::Gather { axis, indices, indices_shape } => {
            tagged(out, 19, *axis);
            list(out, indices);
            list(out, indices_shape);
        }
        Op::Where => out.0.push(20),
    }
}

/// Reads an operator.
pub(crate) fn read(input: &mut Reader, limits: &Limits) -> Result<Op, FormatError> {
    Ok(match input.byte()? {
        0 => Op::Conv(Conv {
            kernel: read_sizes(input)?,
            stride: read_sizes(input)?,
            pads: read_sizes(input)?,
            dilation: read_sizes(input)?,
            groups: input.size()?,
        }),
        1 => Op::BatchNorm { epsilon: input.float()? },
        2 => Op::Linear,
        3 => Op::MatMul,
        4 => Op::Unary(read_unary(input)?),
        5 => Op::Binary(read_choice(input, &BINARIES)?),
        6 => Op::Softmax { axis: input.size()? },
        7 => Op::MaxPool(read_pool(input)?),
        8 => Op::AveragePool { pool: read_pool(input)?, count_include_pad: read_flag(input)? },
        9 => Op::Reduce {
            reduction: read_choice(input, &REDUCTIONS)?,
            axes: read_axes(input, limits)?,
            keep_dims: read_flag(input)?,
        },
        10 => Op::LayerNorm { axis: input.size()?, epsilon: input.float()? },
        11 => Op::Reshape { shape: read_shape(input, limits)? },
        12 => Op::Transpose { perm: read_axes(input, limits)? },
        13 => Op::Concat { axis: input.size()? },
        14 => Op::Split { axis: input.size()?, sizes: read_list(input)? },
        15 => Op::Slice { axes: read_slices(input)? },
        16 => Op::Pad { pads: read_pads(input)?, mode: read_pad_mode(input)? },
        17 => Op::Expand { shape: read_shape(input, limits)? },
        18 => Op::Resize(Resize {
            size: read_sizes(input)?,
            scale: [input.float()?, input.float()?],
            mode: read_choice(input, &SAMPLINGS)?,
            coordinates: read_choice(input, &COORDINATES)?,
        }),
        19 => Op::Gather { axis: input.size()?, indices: read_list(input)?, indices_shape: read_axes(input, limits)? },
        20 => Op::Where,
        tag => return Err(input.invalid(format!("operator {tag} is not known; read it with a newer version of gaunt"))),
    })
}

fn write_unary(out: &mut Writer, unary: Unary) {
    let (tag, attributes): (u8, &[f32]) = match &unary {
        Unary::Relu => (0, &[]),
        Unary::Clip { min, max } => (1, &[*min, *max]),
        Unary::LeakyRelu { alpha } => (2, &[*alpha]),
        Unary::Elu { alpha } => (3, &[*alpha]),
        Unary::Sigmoid => (4, &[]),
        Unary::HardSigmoid { alpha, beta } => (5, &[*alpha, *beta]),
        Unary::HardSwish => (6, &[]),
        Unary::Tanh => (7, &[]),
        Unary::Erf => (8, &[]),
        Unary::Gelu { approximate: false } => (9, &[]),
        Unary::Gelu { approximate: true } => (10, &[]),
        Unary::Sqrt => (11, &[]),
        Unary::Exp => (12, &[]),
        Unary::Truncate => (13, &[]),
        Unary::NotZero => (14, &[]),
    };
    out.0.push(tag);
    attributes.iter().for_each(|&attribute| out.float(attribute));
}

fn read_unary(input: &mut Reader) -> Result<Unary, FormatError> {
    Ok(match input.byte()? {
        0 => Unary::Relu,
        1 => Unary::Clip { min: input.float()?, max: input.float()? },
        2 => Unary::LeakyRelu { alpha: input.float()? },
        3 => Unary::Elu { alpha: input.float()? },
        4 => Unary::Sigmoid,
        5 => Unary::HardSigmoid { alpha: input.float()?, beta: input.float()? },
        6 => Unary::HardSwish,
        7 => Unary::Tanh,
        8 => Unary::Erf,
        9 => Unary::Gelu { approximate: false },
        10 => Unary::Gelu { approximate: true },
        11 => Unary::Sqrt,
        12 => Unary::Exp,
        13 => Unary::Truncate,
        14 => Unary::NotZero,
        tag => return Err(input.invalid(format!("function {tag} is not known"))),
    })
}

fn write_pool(out: &mut Writer, pool: &Pool) {
    sizes(out, &pool.kernel);
    sizes(out, &pool.stride);
    sizes(out, &pool.pads);
    sizes(out, &pool.dilation);
    out.0.push(u8::from(pool.ceil));
}

fn read_pool(input: &mut Reader) -> Result<Pool, FormatError> {
    Ok(Pool {
        kernel: read_sizes(input)?,
        stride: read_sizes(input)?,
        pads: read_sizes(input)?,
        dilation: read_sizes(input)?,
        ceil: read_flag(input)?,
    })
}

fn write_pad_mode(out: &mut Writer, mode: PadMode) {
    match mode {
        PadMode::Constant(value) => {
            out.0.push(0);
            out.float(value);
        }
        PadMode::Reflect => out.0.push(1),
        PadMode::Edge => out.0.push(2),
    }
}

fn read_pad_mode(input: &mut Reader) -> Result<PadMode, FormatError> {
    Ok(match input.byte()? {
        0 => PadMode::Constant(input.float()?),
        1 => PadMode::Reflect,
        2 => PadMode::Edge,
        tag => return Err(input.invalid(format!("padding mode {tag} is not known"))),
    })
}

/// A shape: its rank, then each dimension as twice its size, plus one if it counts in batches.
pub(crate) fn write_shape(out: &mut Writer, shape: &Shape) {
    out.size(shape.len());
    for dim in shape {
        out.number(match *dim {
            Dim::Fixed(size) => 2 * size as u64,
            Dim::Batch(times) => 2 * times as u64 + 1,
        });
    }
}

pub(crate) fn read_shape(input: &mut Reader, limits: &Limits) -> Result<Shape, FormatError> {
    let rank = input.size()?;
    check("axes in a shape", rank, limits.rank)?;
    let dim = |_| {
        let number = input.size()?;
        Ok(if number % 2 == 1 { Dim::Batch(number / 2) } else { Dim::Fixed(number / 2) })
    };
    (0..rank).map(dim).collect()
}

fn tagged(out: &mut Writer, tag: u8, number: usize) {
    out.0.push(tag);
    out.size(number);
}

fn sizes<const N: usize>(out: &mut Writer, sizes: &[usize; N]) {
    sizes.iter().for_each(|&size| out.size(size));
}

fn read_sizes<const N: usize>(input: &mut Reader) -> Result<[usize; N], FormatError> {
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = input.size()?;
    }
    Ok(sizes)
}

fn list(out: &mut Writer, list: &[usize]) {
    out.size(list.len());
    list.iter().for_each(|&size| out.size(size));
}

/// A count is at most the bytes that are left, since each entry has one at least.
fn read_count(input: &mut Reader) -> Result<usize, FormatError> {
    let count = input.size()?;
    if count > input.left() {
        return Err(input.invalid(format!("a list of {count} entries does not fit into {} bytes", input.left())));
    }
    Ok(count)
}

fn read_list(input: &mut Reader) -> Result<Vec<usize>, FormatError> {
    (0..read_count(input)?).map(|_| input.size()).collect()
}

/// A list with an entry for each axis.
fn read_axes(input: &mut Reader, limits: &Limits) -> Result<Vec<usize>, FormatError> {
    let axes = read_list(input)?;
    check("axes in a list", axes.len(), limits.rank)?;
    Ok(axes)
}

fn read_slices(input: &mut Reader) -> Result<Vec<SliceAxis>, FormatError> {
    let count = read_count(input)?;
    let slice = |_| {
        let [axis, start, len] = read_sizes(input)?;
        Ok(SliceAxis { axis, start, len, step: input.signed()? as isize })
    };
    (0..count).map(slice).collect()
}

fn read_pads(input: &mut Reader) -> Result<Vec<(i64, i64)>, FormatError> {
    (0..read_count(input)?).map(|_| Ok((input.signed()?, input.signed()?))).collect()
}

fn read_flag(input: &mut Reader) -> Result<bool, FormatError> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        byte => Err(input.invalid(format!("a flag is {byte}, but must be 0 or 1"))),
    }
}

fn choice<T: PartialEq>(out: &mut Writer, choices: &[T], chosen: &T) {
    let index = choices.iter().position(|choice| choice == chosen).unwrap_or(0);
    out.0.push(index as u8);
}

fn read_choice<T: Copy>(input: &mut Reader, choices: &[T]) -> Result<T, FormatError> {
    let index = input.byte()?;
    choices
        .get(usize::from(index))
        .copied()
        .ok_or_else(|| input.invalid(format!("choice {index} of an attribute is not known")))
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::vec;

    use super::*;

    /// One of each operator, with attributes that differ from each other.
    pub(crate) fn samples() -> Vec<Op> {
        let pool = Pool { kernel: [2, 3], stride: [1, 2], pads: [0, 1, 2, 3], dilation: [1, 2], ceil: true };
        let mut ops = vec![
            Op::Conv(Conv { kernel: [3, 5], stride: [1, 2], pads: [0, 1, 2, 3], dilation: [2, 1], groups: 7 }),
            Op::BatchNorm { epsilon: 1e-5 },
            Op::Linear,
            Op::MatMul,
            Op::Softmax { axis: 1 },
            Op::MaxPool(pool.clone()),
            Op::AveragePool { pool, count_include_pad: true },
            Op::LayerNorm { axis: 2, epsilon: 1e-6 },
            Op::Reshape { shape: vec![Dim::Batch(2), Dim::Fixed(300)] },
            Op::Transpose { perm: vec![1, 0, 2] },
            Op::Concat { axis: 3 },
            Op::Split { axis: 1, sizes: vec![4, 5] },
            Op::Slice { axes: vec![SliceAxis { axis: 2, start: 9, step: -2, len: 4 }] },
            Op::Pad { pads: vec![(0, 0), (-1, 2)], mode: PadMode::Constant(0.5) },
            Op::Pad { pads: vec![], mode: PadMode::Reflect },
            Op::Pad { pads: vec![], mode: PadMode::Edge },
            Op::Expand { shape: vec![] },
            Op::Gather { axis: 0, indices: vec![1, 0], indices_shape: vec![2] },
            Op::Where,
        ];
        ops.extend(BINARIES.map(Op::Binary));
        ops.extend(REDUCTIONS.map(|reduction| Op::Reduce { reduction, axes: vec![2, 3], keep_dims: false }));
        for (mode, coordinates) in SAMPLINGS.into_iter().zip(COORDINATES.into_iter().cycle()) {
            ops.push(Op::Resize(Resize { size: [8, 9], scale: [2.0, 2.25], mode, coordinates }));
        }
        let unaries = [
            Unary::Relu,
            Unary::Clip { min: f32::NEG_INFINITY, max: 6.0 },
            Unary::LeakyRelu { alpha: 0.1 },
            Unary::Elu { alpha: 1.5 },
            Unary::Sigmoid,
            Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
            Unary::HardSwish,
            Unary::Tanh,
            Unary::Erf,
            Unary::Gelu { approximate: false },
            Unary::Gelu { approximate: true },
            Unary::Sqrt,
            Unary::Exp,
            Unary::Truncate,
            Unary::NotZero,
        ];
        ops.extend(unaries.map(Op::Unary));
        ops
    }

    #[test]
    fn every_operator_comes_back() {
        for op in samples() {
            let mut out = Writer::default();
            write(&mut out, &op);
            let mut input = Reader::new(&out.0, "test");
            assert_eq!(read(&mut input, &Limits::default()), Ok(op));
            assert_eq!(input.end(), Ok(()));
        }
    }

    #[test]
    fn unknown_tags_are_named() {
        let error = read(&mut Reader::new(&[200], "the graph"), &Limits::default()).unwrap_err();
        assert_eq!(
            error,
            FormatError::invalid("the graph", "operator 200 is not known; read it with a newer version of gaunt")
        );
        assert!(read(&mut Reader::new(&[12, 0xFF, 0xFF, 3], "the graph"), &Limits::default()).is_err());
    }
}
