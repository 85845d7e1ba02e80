//! The rules as a table: operator, inputs, and the outputs or a word of the error.

use alloc::{string::ToString, vec, vec::Vec};

use crate::{
    Binary, Conv, Dim, NearestRounding, Op, PadMode, Pool, Reduction, Resize, ResizeCoordinates, ResizeMode, Shape,
    SliceAxis, Unary,
};

/// `"N,3,2N"` as a shape; the empty text is a scalar.
fn shape(text: &str) -> Shape {
    let dim = |part: &str| match part.strip_suffix('N') {
        Some("") => Dim::Batch(1),
        Some(times) => Dim::Batch(times.parse().unwrap()),
        None => Dim::Fixed(part.parse().unwrap()),
    };
    text.split(',').filter(|part| !part.is_empty()).map(dim).collect()
}

/// Inputs are separated by blanks; so are the outputs.
fn shapes(text: &str) -> Vec<Shape> {
    text.split(' ').map(shape).collect()
}

fn infer(op: &Op, inputs: &str) -> Result<Vec<Shape>, alloc::string::String> {
    let inputs = shapes(inputs);
    let inputs: Vec<&[Dim]> = inputs.iter().map(Vec::as_slice).collect();
    op.output_shapes(&inputs).map_err(|error| error.to_string())
}

fn conv(kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4], dilation: [usize; 2], groups: usize) -> Op {
    Op::Conv(Conv { kernel, stride, pads, dilation, groups })
}

fn max_pool(kernel: usize, stride: usize, pad: usize, ceil: bool) -> Op {
    Op::MaxPool(Pool { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], dilation: [1, 1], ceil })
}

fn reduce(axes: &[usize], keep_dims: bool) -> Op {
    Op::Reduce { reduction: Reduction::Mean, axes: axes.to_vec(), keep_dims }
}

fn slice(axis: usize, start: usize, step: isize, len: usize) -> Op {
    Op::Slice { axes: vec![SliceAxis { axis, start, step, len }] }
}

fn pad(pads: &[(i64, i64)], mode: PadMode) -> Op {
    Op::Pad { pads: pads.to_vec(), mode }
}

fn resize(size: [usize; 2], scale: [f32; 2]) -> Op {
    let mode = ResizeMode::Nearest(NearestRounding::Floor);
    Op::Resize(Resize { size, scale, mode, coordinates: ResizeCoordinates::Asymmetric })
}

fn gather(axis: usize, indices: &[usize], indices_shape: &[usize]) -> Op {
    Op::Gather { axis, indices: indices.to_vec(), indices_shape: indices_shape.to_vec() }
}

fn reshape(text: &str) -> Op {
    Op::Reshape { shape: shape(text) }
}

#[test]
fn outputs_follow_from_inputs() {
    let relu = Op::Unary(Unary::Relu);
    let add = Op::Binary(Binary::Add);
    let cases = [
        (conv([3, 3], [1, 1], [1; 4], [1, 1], 1), "N,3,32,32 16,3,3,3 16", "N,16,32,32"),
        (conv([3, 3], [2, 2], [1; 4], [1, 1], 1), "N,3,32,32 16,3,3,3", "N,16,16,16"),
        (conv([3, 2], [2, 1], [0, 1, 2, 3], [2, 3], 2), "N,4,9,8 6,2,3,2", "N,6,4,9"),
        (conv([1, 1], [1, 1], [0; 4], [1, 1], 4), "1,4,5,5 4,1,1,1", "1,4,5,5"),
        (Op::BatchNorm { epsilon: 1e-5 }, "N,4,5 4 4 4 4", "N,4,5"),
        (Op::Linear, "N,7,5 3,5 3", "N,7,3"),
        (Op::Linear, "5 3,5", "3"),
        (Op::MatMul, "N,7,5 5,3", "N,7,3"),
        (Op::MatMul, "2,1,7,5 N,5,3", "2,N,7,3"),
        (Op::MatMul, "5,N N,5", "5,5"),
        (relu, "N,2", "N,2"),
        (add.clone(), "N,3,1 4", "N,3,4"),
        (add.clone(), "N,4 1,4", "N,4"),
        (add.clone(), "2,4 ", "2,4"),
        (add.clone(), "0,4 1,4", "0,4"),
        (Op::Where, "4 N,1 3,1,1", "3,N,4"),
        (Op::Softmax { axis: 1 }, "N,10", "N,10"),
        (max_pool(2, 2, 0, false), "N,2,7,7", "N,2,3,3"),
        (max_pool(2, 2, 0, true), "N,2,7,7", "N,2,4,4"),
        // A fourth window would begin in the padding.
        (max_pool(2, 3, 1, true), "N,2,5,5", "N,2,2,2"),
        (reduce(&[2, 3], true), "N,4,5,5", "N,4,1,1"),
        (reduce(&[0, 2], false), "N,4,5", "4"),
        (Op::LayerNorm { axis: 1, epsilon: 1e-5 }, "N,4,5 4,5 4,5", "N,4,5"),
        (reshape("N,12"), "N,3,4", "N,12"),
        (reshape("12N"), "N,3,4", "12N"),
        (reshape("3N,N"), "N,N,3", "3N,N"),
        (Op::Transpose { perm: vec![2, 0, 1] }, "N,3,4", "4,N,3"),
        (Op::Concat { axis: 1 }, "N,3 N,4 N,5", "N,12"),
        (Op::Concat { axis: 0 }, "N,3 2N,3", "3N,3"),
        (Op::Split { axis: 1, sizes: vec![1, 4] }, "N,5", "N,1 N,4"),
        (slice(1, 4, -2, 3), "N,5", "N,3"),
        (slice(1, 0, 1, 0), "N,5", "N,0"),
        (pad(&[(0, 0), (1, 2)], PadMode::Constant(0.0)), "N,5", "N,8"),
        (pad(&[(0, 0), (-1, -2)], PadMode::Constant(0.0)), "N,5", "N,2"),
        (pad(&[(0, 0), (4, 4)], PadMode::Reflect), "N,5", "N,13"),
        (Op::Expand { shape: shape("N,3,4") }, "3,1", "N,3,4"),
        (resize([8, 6], [2.0, 1.5]), "N,3,4,4", "N,3,8,6"),
        (gather(1, &[0, 4, 2, 2], &[2, 2]), "N,5,3", "N,2,2,3"),
        (gather(1, &[3], &[]), "N,5,3", "N,3"),
    ];
    for (op, inputs, outputs) in cases {
        assert_eq!(infer(&op, inputs), Ok(shapes(outputs)), "{op:?} of {inputs}");
    }
}

#[test]
fn impossible_inputs_are_explained() {
    let huge = usize::MAX.to_string();
    let plain = conv([3, 3], [1, 1], [0; 4], [1, 1], 1);
    let add = Op::Binary(Binary::Add);
    let cases = [
        (plain.clone(), "N,3,32,32", "2 to 3 inputs, but 1"),
        (plain.clone(), "N,3,32 16,3,3,3", "[N, C, H, W]"),
        (plain.clone(), "N,3,N,32 16,3,3,3", "depends on the batch"),
        (plain.clone(), "N,3,2,32 16,3,3,3", "spans 3, more than the input's 2"),
        (plain.clone(), "N,4,32,32 16,3,3,3", "does not fit 4 input channels"),
        (plain.clone(), "N,3,32,32 16,3,5,3", "the kernel is 3 x 3"),
        (plain, "N,3,32,32 16,3,3,3 15", "the bias has shape [15]"),
        (conv([1, 1], [0, 1], [0; 4], [1, 1], 1), "N,1,5,5 1,1,1,1", "must not be zero"),
        (conv([1, 1], [1, 1], [0; 4], [0, 1], 1), "N,1,5,5 1,1,1,1", "must not be zero"),
        (conv([1, 1], [1, 1], [0; 4], [1, 1], 0), "N,1,5,5 1,1,1,1", "in 0 groups"),
        (conv([2, 2], [1, 1], [0; 4], [usize::MAX; 2], 1), "N,1,5,5 1,1,2,2", "exceeds"),
        (conv([1, 1], [1, 1], [usize::MAX; 4], [1, 1], 1), "N,1,5,5 1,1,1,1", "exceeds"),
        (Op::BatchNorm { epsilon: 0.0 }, "N,4 4 4 3 4", "mean has shape [3], but must have [4]"),
        (Op::Linear, "N,5 3,4", "takes 4 features"),
        (Op::Linear, " 3,4", "scalar"),
        (Op::MatMul, "5 5,3", "takes matrices"),
        (Op::MatMul, "N,5 4,3", "5 and 4"),
        (add.clone(), "N,3 2,3", "N against 2"),
        (add.clone(), "N,3 2N,3", "N against 2N"),
        (add, "3", "takes 2 inputs, but 1"),
        (Op::Softmax { axis: 2 }, "N,10", "axis 2 is outside of [N, 10]"),
        (max_pool(2, 1, 2, false), "N,1,5,5", "less than the kernel's 2"),
        (max_pool(0, 1, 0, false), "N,1,5,5", "must not be zero"),
        (reduce(&[1, 1], true), "N,4", "twice"),
        (reduce(&[2], true), "N,4", "outside"),
        (Op::LayerNorm { axis: 0, epsilon: 0.0 }, "N,4 N,4", "depends on the batch"),
        (reshape("N,11"), "N,3,4", "element counts differ"),
        (reshape("12,1"), "N,3,4", "element counts differ"),
        (reshape(&[huge.as_str(); 2].join(",")), "N", "exceeds the address space"),
        (Op::Transpose { perm: vec![0, 0] }, "N,3", "not a permutation"),
        (Op::Transpose { perm: vec![0, 1] }, "N,3,4", "not a permutation"),
        (Op::Concat { axis: 1 }, "N,3,4 N,3,5", "differ in another axis"),
        (Op::Concat { axis: 0 }, "N,3 2,3", "all or none"),
        (Op::Split { axis: 1, sizes: vec![2, 2] }, "N,5", "do not add up to 5"),
        (Op::Split { axis: 0, sizes: vec![2, 2] }, "N,5", "depends on the batch"),
        (slice(1, 0, 0, 1), "N,5", "step along axis 1 must not be zero"),
        (slice(1, 4, 1, 2), "N,5", "leave axis 1"),
        (slice(1, 0, isize::MAX, usize::MAX), "N,5", "leave axis 1"),
        (pad(&[(0, 0)], PadMode::Edge), "N,5", "pads 1 axes"),
        (pad(&[(1, 0), (0, 0)], PadMode::Edge), "N,5", "depends on the batch"),
        (pad(&[(0, 0), (5, 0)], PadMode::Reflect), "N,5", "does not fit"),
        (pad(&[(0, 0), (-3, -3)], PadMode::Edge), "N,5", "does not fit"),
        (pad(&[(0, 0), (i64::MAX, i64::MAX)], PadMode::Edge), "N,5", "does not fit"),
        (Op::Expand { shape: shape("1") }, "3", "does not broadcast"),
        (resize([0, 4], [1.0; 2]), "N,1,4,4", "no side may be zero"),
        (resize([4, 4], [f32::NAN, 1.0]), "N,1,4,4", "must be positive"),
        (gather(1, &[5], &[1]), "N,5", "index 5 is outside"),
        (gather(1, &[0, 1], &[3]), "N,5", "do not fill"),
    ];
    for (op, inputs, word) in cases {
        let error = infer(&op, inputs).expect_err(inputs);
        assert!(error.contains(word), "{op:?} of {inputs}: {error}");
    }
}
