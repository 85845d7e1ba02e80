//! Operators on maps `[N, C, H, W]`, as the kernels compute them.

use gaunt_graph::{Conv, Pool};
use gaunt_kernels::{self as kernels, Activation, ConvGeometry, Maps, PoolGeometry};

use crate::{
    flow::Flow,
    plain::{self, Plain},
};

/// Statistics of one batch as a batch norm saw them: mean and biased variance of each channel.
#[derive(Debug)]
pub(crate) struct BatchStatistics {
    pub mean: Plain,
    pub variance: Plain,
    /// Elements of each channel.
    pub count: usize,
}

pub(crate) fn conv(x: Flow, weight: Plain, bias: Option<Plain>, conv: &Conv) -> Flow {
    let Conv { stride, pads, dilation, groups, .. } = *conv;
    let geometry = ConvGeometry { stride, pads, dilation, groups };
    Flow::Maps(kernels::conv2d(x.maps(), weight, bias, &geometry))
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
    (restored(y, &shape), BatchStatistics { mean, variance, count })
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
