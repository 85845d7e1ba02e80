//! Operators on maps `[N, C, H, W]`, as the kernels compute them.

use gaunt_graph::{Conv, PadMode, Pool, SliceAxis, ValueId};
use gaunt_kernels::{self as kernels, Activation, ConvGeometry, Maps, PoolGeometry, Precision};

use crate::{
    flow::Flow,
    ops::layout,
    plain::{self, Plain},
};

/// Statistics of one batch as a batch norm saw them: mean and biased variance of each channel.
#[derive(Debug)]
pub(crate) struct BatchStatistics {
    pub mean: Plain,
    pub variance: Plain,
    /// Elements of each channel.
    pub count: usize,
    /// What the mean lacks, since the maps came without it.
    pub bias: Option<ValueId>,
}

pub(crate) fn conv(x: Flow, weight: Plain, bias: Option<Plain>, conv: &Conv, precision: Precision) -> Flow {
    let Conv { stride, pads, dilation, groups, .. } = *conv;
    let geometry = ConvGeometry { stride, pads, dilation, groups };
    Flow::Maps(kernels::conv2d(x.maps(), weight, bias, &geometry, precision))
}

/// Normalises by the statistics of the batch.
pub(crate) fn batch_norm(
    x: Flow,
    gamma: Plain,
    beta: Plain,
    epsilon: f32,
    activation: Activation,
) -> (Flow, BatchStatistics) {
    let shape = x.shape();
    let count = shape.iter().product::<usize>() / shape[1].max(1);
    let (y, mean, variance) = kernels::batch_norm(flattened(x), gamma, beta, epsilon, activation);
    (restored(y, &shape), BatchStatistics { mean, variance, count, bias: None })
}

/// `scale * x + shift` for each channel.
pub(crate) fn affine(x: Flow, scale: Plain, shift: Plain, activation: Activation) -> Flow {
    let shape = x.shape();
    restored(kernels::affine(flattened(x), scale, shift, activation), &shape)
}

/// The sum of maps of one shape.
pub(crate) fn add(a: Flow, b: Flow, activation: Activation) -> Flow {
    Flow::Maps(kernels::add(a.maps(), b.maps(), activation))
}

pub(crate) fn activate(x: Flow, activation: Activation) -> Flow {
    Flow::Maps(kernels::activate(x.maps(), activation))
}

pub(crate) fn max_pool(x: Flow, pool: &Pool) -> Flow {
    Flow::Maps(kernels::max_pool(x.maps(), &geometry(pool)))
}

pub(crate) fn average_pool(x: Flow, pool: &Pool, count_include_pad: bool) -> Flow {
    Flow::Maps(kernels::average_pool(x.maps(), &geometry(pool), count_include_pad))
}

fn geometry(pool: &Pool) -> PoolGeometry {
    let Pool { kernel, stride, pads, dilation, ceil } = *pool;
    PoolGeometry { kernel, stride, pads, dilation, ceil }
}

/// The mean of each map.
pub(crate) fn global_average(x: Flow, keep_dims: bool) -> Flow {
    let shape = x.shape();
    let means = kernels::global_average(x.maps());
    let kept = [shape[0], shape[1], 1, 1];
    Flow::Plain(plain::reshape(means, if keep_dims { &kept } else { &kept[..2] }))
}

/// Picks elements along axes. Maps that lose every second row and column, as shortcuts do, stay maps.
pub(crate) fn slice(x: Flow, axes: &[SliceAxis]) -> Flow {
    match (stride(&x.shape(), axes), x) {
        (Some(stride), Flow::Maps(maps)) => Flow::Maps(kernels::subsample(maps, stride)),
        (_, x) => Flow::Plain(layout::slice(x.plain(), axes)),
    }
}

/// The strides down and across, if rows and columns are all that is cut, from the first to the last.
fn stride(shape: &[usize], axes: &[SliceAxis]) -> Option<[usize; 2]> {
    let mut stride = [1; 2];
    for &SliceAxis { axis, start, step, len } in axes {
        let step = usize::try_from(step).ok().filter(|_| start == 0)?;
        *stride.get_mut(axis.checked_sub(2)?)? = (shape[axis].div_ceil(step) == len).then_some(step)?;
    }
    Some(stride)
}

/// Adds elements around. Maps that get channels of zeros stay maps.
pub(crate) fn pad(x: Flow, pads: &[(i64, i64)], mode: PadMode) -> Flow {
    match (pads, mode, x) {
        (&[(0, 0), (before @ 0.., after @ 0..), (0, 0), (0, 0)], PadMode::Constant(0.0), Flow::Maps(maps)) => {
            Flow::Maps(kernels::pad_channels(maps, before as usize, after as usize))
        }
        (_, _, x) => Flow::Plain(layout::pad(x.plain(), pads, mode)),
    }
}

/// `[N, C, ...]` as maps, by making all further axes one.
fn flattened(x: Flow) -> Maps {
    let shape = x.shape();
    if shape.len() == 4 {
        return x.maps();
    }
    let area = shape[2..].iter().product();
    Maps::from_tensor(plain::reshape(x.plain(), &[shape[0], shape[1], area, 1]))
}

/// Undoes [`flattened`].
fn restored(maps: Maps, shape: &[usize]) -> Flow {
    if shape.len() == 4 { Flow::Maps(maps) } else { Flow::Plain(plain::reshape(maps.into_tensor(), shape)) }
}
