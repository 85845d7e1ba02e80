//! Operators on maps `[N, C, H, W]`, made of burn's own.

use burn::backend::{
    Dispatch, TensorMetadata,
    ops::{ActivationOps, ConvOptions, FloatTensorOps, ModuleOps, PadMode},
};
use gaunt_graph::{Conv, Pool};

use crate::plain::{self, Plain};

/// Images in the layout of the operators.
#[derive(Clone, Debug)]
pub(crate) struct Maps(Plain);

/// A function that other operators apply to their output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// None.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Maps {
    pub fn from_tensor(tensor: Plain) -> Self {
        Self(tensor)
    }

    pub fn into_tensor(self) -> Plain {
        self.0
    }

    pub fn shape(&self) -> [usize; 4] {
        std::array::from_fn(|axis| self.0.shape()[axis])
    }
}

pub(crate) fn conv2d(x: Maps, weight: Plain, bias: Option<Plain>, conv: &Conv) -> Maps {
    let [top, left, bottom, right] = conv.pads;
    let options = ConvOptions {
        stride: conv.stride,
        padding: [(top, bottom), (left, right)],
        dilation: conv.dilation,
        groups: conv.groups,
    };
    Maps(Dispatch::conv2d(x.0, weight, bias, options))
}

/// Normalised maps, with the mean and the biased variance `[C]` of each channel.
pub(crate) fn batch_norm(
    x: Maps,
    gamma: Plain,
    beta: Plain,
    epsilon: f32,
    activation: Activation,
) -> (Maps, Plain, Plain) {
    let channels = [x.shape()[1]];
    let mean_of = |x: Plain| [3, 2, 0].into_iter().fold(x, Dispatch::float_mean_dim);
    let mean = mean_of(x.0.clone());
    let centred = Dispatch::float_sub(x.0, mean.clone());
    let variance = mean_of(Dispatch::float_mul(centred.clone(), centred.clone()));
    let deviation = Dispatch::float_sqrt(Dispatch::float_add_scalar(variance.clone(), epsilon.into()));
    let normal = affine(Maps(Dispatch::float_div(centred, deviation)), gamma, beta, activation);
    (normal, plain::reshape(mean, &channels), plain::reshape(variance, &channels))
}

/// `scale * x + shift` for each channel.
pub(crate) fn affine(x: Maps, scale: Plain, shift: Plain, activation: Activation) -> Maps {
    let per_channel = [1, x.shape()[1], 1, 1];
    let scaled = Dispatch::float_mul(x.0, plain::reshape(scale, &per_channel));
    activate(Maps(Dispatch::float_add(scaled, plain::reshape(shift, &per_channel))), activation)
}

pub(crate) fn add(a: Maps, b: Maps, activation: Activation) -> Maps {
    activate(Maps(Dispatch::float_add(a.0, b.0)), activation)
}

pub(crate) fn activate(x: Maps, activation: Activation) -> Maps {
    match activation {
        Activation::None => x,
        Activation::Relu => Maps(Dispatch::relu(x.0)),
        Activation::Relu6 => Maps(Dispatch::float_clamp(x.0, 0f32.into(), 6f32.into())),
    }
}

pub(crate) fn max_pool(x: Maps, pool: &Pool) -> Maps {
    let padded = padded(&x, pool, f32::NEG_INFINITY);
    Maps(Dispatch::max_pool2d(padded, pool.kernel, pool.stride, [0, 0], pool.dilation, false))
}

/// Sums each window by a depthwise convolution with ones, and divides by how many positions count.
pub(crate) fn average_pool(x: Maps, pool: &Pool, count_include_pad: bool) -> Maps {
    let [_, channels, height, width] = x.shape();
    let ones = [channels, 1, pool.kernel[0], pool.kernel[1]];
    let weight = plain::upload(&vec![1.0; ones.iter().product()], &ones, &x.0.device());
    let options = ConvOptions { stride: pool.stride, padding: [(0, 0); 2], dilation: pool.dilation, groups: channels };
    let sums = Dispatch::conv2d(padded(&x, pool, 0.0), weight, None, options);
    let counts = [0, 1].map(|axis| Windows::new(pool, axis, [height, width][axis]).counts(count_include_pad));
    let shares: Vec<f32> =
        counts[0].iter().flat_map(|&h| counts[1].iter().map(move |&w| 1.0 / (h * w) as f32)).collect();
    let shares = plain::upload(&shares, &[1, 1, counts[0].len(), counts[1].len()], &sums.device());
    Maps(Dispatch::float_mul(sums, shares))
}

/// The mean of each map, `[N, C]`.
pub(crate) fn global_average(x: Maps) -> Plain {
    let [images, channels, ..] = x.shape();
    plain::reshape(Dispatch::float_mean_dim(Dispatch::float_mean_dim(x.0, 3), 2), &[images, channels])
}

/// Maps with `value` around them, so that windows without padding cover what the pool's windows cover.
fn padded(x: &Maps, pool: &Pool, value: f32) -> Plain {
    let [.., height, width] = x.shape();
    let pads = [height, width].into_iter().enumerate();
    let pads = pads.map(|(axis, size)| {
        let windows = Windows::new(pool, axis, size);
        (windows.before, windows.end().saturating_sub(windows.before + size))
    });
    let pads: Vec<(usize, usize)> = [(0, 0); 2].into_iter().chain(pads).collect();
    let covered = x.0.clone();
    if pads == [(0, 0); 4] { covered } else { Dispatch::float_pad(covered, &pads, PadMode::Constant(value)) }
}

/// The windows of a pool along one axis.
struct Windows {
    size: usize,
    before: usize,
    after: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    count: usize,
}

impl Windows {
    fn new(pool: &Pool, axis: usize, size: usize) -> Self {
        let (kernel, stride, dilation) = (pool.kernel[axis], pool.stride[axis], pool.dilation[axis]);
        let (before, after) = (pool.pads[axis], pool.pads[axis + 2]);
        let room = (size + before + after).saturating_sub((kernel - 1) * dilation + 1);
        let mut count = if pool.ceil { room.div_ceil(stride) } else { room / stride } + 1;
        // A window that would start in the padding after the image is left out.
        if pool.ceil && (count - 1) * stride >= size + before {
            count -= 1;
        }
        Self { size, before, after, kernel, stride, dilation, count }
    }

    /// Where the last window ends, counted from where the first begins.
    fn end(&self) -> usize {
        (self.count - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
    }

    /// Positions of each window that count in an average.
    fn counts(&self, include_pad: bool) -> Vec<usize> {
        let (from, to) = if include_pad {
            (0, self.before + self.size + self.after)
        } else {
            (self.before, self.before + self.size)
        };
        let count = |window: usize| {
            let taps = (0..self.kernel).map(|tap| window * self.stride + tap * self.dilation);
            taps.filter(|position| (from..to).contains(position)).count().max(1)
        };
        (0..self.count).map(count).collect()
    }
}
