//! Convolution and pooling: geometry from the attributes.

use crate::{
    Conv, Dim, Op, Pool,
    onnx::{
        call::{Call, unsigned},
        error::{Outcome, fail},
        import::{Importer, Item},
    },
};

pub(super) fn conv<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let (x, weight) = (call.input(0)?, call.input(1)?);
    let shape = cx.shape(&weight);
    let &[_, _, Dim::Fixed(height), Dim::Fixed(width)] = shape.as_slice() else {
        return fail!("only two-dimensional convolution is supported; the weight has {} axes, not 4", shape.len());
    };
    let kernel = [height, width];
    let Geometry { stride, pads, dilation } = Geometry::read(call, kernel, &cx.shape(&x))?;
    let groups = unsigned("group", call.int("group", 1))?;
    let inputs: Vec<Item> = [x, weight].into_iter().chain(call.optional(2)).collect();
    cx.emit(Op::Conv(Conv { kernel, stride, pads, dilation, groups }), &inputs)
}

pub(super) fn max_pool<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    call.one_output()?;
    let x = call.input(0)?;
    let pool = read_pool(call, &cx.shape(&x))?;
    cx.emit(Op::MaxPool(pool), &[x])
}

pub(super) fn average_pool<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let pool = read_pool(call, &cx.shape(&x))?;
    let count_include_pad = call.int("count_include_pad", 0) != 0;
    cx.emit(Op::AveragePool { pool, count_include_pad }, &[x])
}

pub(super) fn global_max_pool<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let shape = cx.shape(&x);
    let &[_, _, Dim::Fixed(height), Dim::Fixed(width)] = shape.as_slice() else {
        return fail!("takes [N, C, H, W], but the input has {} axes", shape.len());
    };
    let pool = Pool { kernel: [height, width], stride: [1, 1], pads: [0; 4], dilation: [1, 1], ceil: false };
    cx.emit(Op::MaxPool(pool), &[x])
}

fn read_pool(call: &Call<'_>, x: &[Dim]) -> Outcome<Pool> {
    let Some(kernel) = list(call, "kernel_shape")? else {
        return fail!("has no `kernel_shape`");
    };
    let Geometry { stride, pads, dilation } = Geometry::read(call, kernel, x)?;
    let pool = Pool { kernel, stride, pads, dilation, ceil: call.int("ceil_mode", 0) != 0 };
    Ok(without_idle_ceil(pool, x))
}

/// Rounds up only where that makes the output larger.
///
/// Runtimes differ in whether a last window may begin in the padding; where it may not, rounding down says the same.
pub(in crate::onnx) fn without_idle_ceil(pool: Pool, x: &[Dim]) -> Pool {
    let floor = Pool { ceil: false, ..pool.clone() };
    let shapes = [&pool, &floor].map(|pool| Op::MaxPool(pool.clone()).output_shapes(&[x]));
    if shapes[0] == shapes[1] { floor } else { pool }
}

struct Geometry {
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: [usize; 2],
}

impl Geometry {
    fn read(call: &Call<'_>, kernel: [usize; 2], x: &[Dim]) -> Outcome<Self> {
        let stride = list(call, "strides")?.unwrap_or([1, 1]);
        let dilation = list(call, "dilations")?.unwrap_or([1, 1]);
        let pads = match call.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => list(call, "pads")?.unwrap_or_default(),
            "VALID" => [0; 4],
            "SAME_UPPER" => same(x, kernel, stride, dilation, |total| total / 2)?,
            "SAME_LOWER" => same(x, kernel, stride, dilation, |total| total.div_ceil(2))?,
            other => return fail!("`auto_pad` = `{other}` is not supported"),
        };
        Ok(Self { stride, pads, dilation })
    }
}

/// Padding after which the output is the input divided by the stride, rounded up; `before` says how much of the total
/// goes before the input.
fn same(
    x: &[Dim],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: fn(usize) -> usize,
) -> Outcome<[usize; 4]> {
    let &[_, _, Dim::Fixed(height), Dim::Fixed(width)] = x else {
        return fail!("`auto_pad` takes [N, C, H, W], but the input has {} axes", x.len());
    };
    let mut pads = [0; 4];
    for (axis, size) in [height, width].into_iter().enumerate() {
        let (kernel, stride, dilation) = (kernel[axis], stride[axis], dilation[axis]);
        if kernel == 0 || stride == 0 {
            return fail!("kernel {kernel} and stride {stride} must not be zero");
        }
        let extent = (kernel - 1).saturating_mul(dilation).saturating_add(1);
        let covered = (size.div_ceil(stride).saturating_sub(1)).saturating_mul(stride).saturating_add(extent);
        let total = covered.saturating_sub(size);
        pads[axis] = before(total);
        pads[axis + 2] = total - before(total);
    }
    Ok(pads)
}

/// An attribute with a number for each spatial axis (or each side of both).
fn list<const N: usize>(call: &Call<'_>, name: &str) -> Outcome<Option<[usize; N]>> {
    let Some(numbers) = call.ints(name) else { return Ok(None) };
    let Ok(numbers) = <[i64; N]>::try_from(numbers.as_slice()) else {
        return fail!("`{name}` must have {N} numbers, for height and width, but has {}", numbers.len());
    };
    let mut result = [0; N];
    for (result, number) in result.iter_mut().zip(numbers) {
        *result = unsigned(name, number)?;
    }
    Ok(Some(result))
}
