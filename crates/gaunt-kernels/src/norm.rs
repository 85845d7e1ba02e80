//! Batch norm in training, with the activation behind it.
//!
//! Statistics are those of the batch, over the lanes that hold images. Sums run in `f32` within a channel of one block
//! and in `f64`, in the order of the blocks, from there on; the variance is of differences from the block's own
//! mean, so that a large mean does not cancel it (Chan, Golub and LeVeque, 1979).

use rayon::prelude::*;

use crate::{
    lanes::LANES,
    pointwise::{Activation, clip, passes},
};

/// Mean and biased variance of each channel.
#[derive(Clone, Debug)]
pub(crate) struct Statistics {
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// The shape of blocked maps, and the images in them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub channels: usize,
    pub plane: usize,
    pub images: usize,
}

impl Extent {
    /// Elements of one channel of one block.
    fn size(self) -> usize {
        self.plane * LANES
    }

    /// Lanes that hold images, in the block of the channel with this index.
    fn lanes(self, index: usize) -> usize {
        (self.images - index / self.channels * LANES).min(LANES)
    }

    /// Elements of each channel.
    fn count(self) -> f64 {
        (self.images * self.plane) as f64
    }
}

/// Sum over the first lanes.
fn sum(lanes: &[f32; LANES], valid: usize) -> f64 {
    lanes[..valid].iter().map(|&x| f64::from(x)).sum()
}

/// Statistics of every channel.
pub(crate) fn statistics(x: &[f32], extent: Extent) -> Statistics {
    let blocks: Vec<(f64, f64)> = x
        .par_chunks(extent.size())
        .enumerate()
        .map(|(index, x)| {
            let valid = extent.lanes(index);
            let mut sums = [0.0f32; LANES];
            for x in x.chunks_exact(LANES) {
                (0..LANES).for_each(|lane| sums[lane] += x[lane]);
            }
            let total = sum(&sums, valid);
            let mean = (total / (valid * extent.plane) as f64) as f32;
            let mut squares = [0.0f32; LANES];
            for x in x.chunks_exact(LANES) {
                (0..LANES).for_each(|lane| squares[lane] += (x[lane] - mean) * (x[lane] - mean));
            }
            (total, sum(&squares, valid))
        })
        .collect();
    let mut statistics = Statistics { mean: Vec::new(), variance: Vec::new() };
    for channel in 0..extent.channels {
        let of_channel = || blocks.iter().enumerate().skip(channel).step_by(extent.channels);
        let mean = of_channel().map(|(_, block)| block.0).sum::<f64>() / extent.count();
        let squares = of_channel().map(|(index, &(total, squares))| {
            let count = (extent.lanes(index) * extent.plane) as f64;
            // The squares were taken around the block's mean, as it was rounded.
            let around = f64::from((total / count) as f32);
            let moved = squares - 2.0 * (mean - around) * (total - count * around) + count * (mean - around).powi(2);
            moved.max(0.0)
        });
        statistics.variance.push((squares.sum::<f64>() / extent.count()) as f32);
        statistics.mean.push(mean as f32);
    }
    statistics
}

/// The factor and the offset that normalise each channel, and the inverse deviation.
struct Normalizer {
    factor: f32,
    offset: f32,
    inverse: f32,
}

fn normalizer(statistics: &Statistics, gamma: &[f32], beta: &[f32], epsilon: f32, channel: usize) -> Normalizer {
    let inverse = 1.0 / (statistics.variance[channel] + epsilon).sqrt();
    let factor = gamma[channel] * inverse;
    Normalizer { factor, offset: beta[channel] - statistics.mean[channel] * factor, inverse }
}

/// `activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)`.
pub(crate) fn normalize(
    x: &[f32],
    statistics: &Statistics,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    activation: Activation,
    extent: Extent,
) -> Vec<f32> {
    let bounds = activation.bounds();
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(extent.size()).zip(x.par_chunks(extent.size())).enumerate().for_each(|(index, (out, x))| {
        let Normalizer { factor, offset, .. } = normalizer(statistics, gamma, beta, epsilon, index % extent.channels);
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = clip(factor * x + offset, bounds));
    });
    out
}

/// Gradients of [`normalize`] with the statistics of `x` itself: of `x`, `gamma` and `beta`. Lanes without images get zero.
#[allow(clippy::too_many_arguments, reason = "the operands of the operator")]
pub(crate) fn gradient(
    x: &[f32],
    dy: &[f32],
    statistics: &Statistics,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    activation: Activation,
    extent: Extent,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let bounds = activation.bounds();
    let channels = extent.channels;
    let of = |channel: usize| normalizer(statistics, gamma, beta, epsilon, channel);
    let sums: Vec<[f64; 2]> = x
        .par_chunks(extent.size())
        .zip(dy.par_chunks(extent.size()))
        .enumerate()
        .map(|(index, (x, dy))| {
            let channel = index % channels;
            let (Normalizer { factor, offset, inverse }, mean) = (of(channel), statistics.mean[channel]);
            let mut sums = [[0.0f32; LANES]; 2];
            for (x, dy) in x.chunks_exact(LANES).zip(dy.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    let dy = if passes(clip(factor * x[lane] + offset, bounds), bounds) { dy[lane] } else { 0.0 };
                    sums[0][lane] += dy;
                    sums[1][lane] += dy * ((x[lane] - mean) * inverse);
                }
            }
            sums.map(|lanes| sum(&lanes, extent.lanes(index)))
        })
        .collect();
    let total = |channel: usize, which: usize| -> f64 {
        sums.iter().skip(channel).step_by(channels).map(|sums| sums[which]).sum()
    };
    let beta_gradient: Vec<f32> = (0..channels).map(|channel| total(channel, 0) as f32).collect();
    let gamma_gradient: Vec<f32> = (0..channels).map(|channel| total(channel, 1) as f32).collect();

    let mut dx = vec![0.0; x.len()];
    let tasks = dx.par_chunks_mut(extent.size()).zip(x.par_chunks(extent.size())).zip(dy.par_chunks(extent.size()));
    tasks.enumerate().for_each(|(index, ((dx, x), dy))| {
        let (channel, valid) = (index % channels, extent.lanes(index));
        let Normalizer { factor, offset, inverse } = of(channel);
        let mean = statistics.mean[channel];
        let mean_dy = (f64::from(beta_gradient[channel]) / extent.count()) as f32;
        let mean_product = (f64::from(gamma_gradient[channel]) / extent.count()) as f32;
        for ((dx, x), dy) in dx.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES)).zip(dy.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let dy = if passes(clip(factor * x[lane] + offset, bounds), bounds) { dy[lane] } else { 0.0 };
                let normal = (x[lane] - mean) * inverse;
                dx[lane] = factor * (dy - mean_dy - normal * mean_product);
            }
            dx[valid..].fill(0.0);
        }
    });
    (dx, gamma_gradient, beta_gradient)
}
