//! Batch norm in training, with the activation behind it.
//!
//! Statistics are those of the batch, over the lanes that hold images. Sums run in `f32` within a channel of one block
//! and in `f64`, in the order of the blocks, from there on; the variance is of differences from the block's own
//! mean, so that a large mean does not cancel it (Chan, Golub and LeVeque, 1979).

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    lanes::{Isa, LANES, Lanes, dispatch, numbers},
    pointwise::{Activation, Bounds, affine, by_channel},
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
        (self.plane * LANES).max(1)
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

/// Statistics of every channel.
pub(crate) fn statistics(isa: Isa, x: &[f32], extent: Extent) -> Statistics {
    let planes = x.par_chunks(extent.size()).enumerate().map(|(index, x)| {
        let valid = extent.lanes(index);
        dispatch!(isa, plane_statistics(x: &[f32], valid: usize) -> PlaneStatistics)
    });
    let planes: Vec<PlaneStatistics> = planes.collect();
    let mut statistics = Statistics { mean: Vec::new(), variance: Vec::new() };
    for channel in 0..extent.channels {
        let of_channel = || planes.iter().enumerate().skip(channel).step_by(extent.channels);
        let mean = of_channel().map(|(_, plane)| plane.sum).sum::<f64>() / extent.count();
        let squares = of_channel().map(|(index, plane)| plane.squares_around(mean, extent.lanes(index) * extent.plane));
        statistics.variance.push((squares.sum::<f64>() / extent.count()) as f32);
        statistics.mean.push(mean as f32);
    }
    statistics
}

/// Of one channel in one block of images.
struct PlaneStatistics {
    sum: f64,
    /// What the squares were taken around.
    around: f32,
    squares: f64,
}

impl PlaneStatistics {
    /// The squares of differences from another mean, for `count` elements.
    fn squares_around(&self, mean: f64, count: usize) -> f64 {
        let (count, around) = (count as f64, f64::from(self.around));
        let moved =
            self.squares - 2.0 * (mean - around) * (self.sum - count * around) + count * (mean - around).powi(2);
        moved.max(0.0)
    }
}

/// # Safety
/// The instructions of `L` are enabled.
#[inline(always)]
unsafe fn plane_statistics<L: Lanes>(x: &[f32], valid: usize) -> PlaneStatistics {
    // SAFETY: each chunk is a vector.
    unsafe {
        let mut sums = L::zero();
        x.chunks_exact(LANES).for_each(|x| sums = sums.add(L::load(x.as_ptr())));
        let sum = first_lanes(sums, valid);
        let around = (sum / (x.len() / LANES * valid) as f64) as f32;
        let mut squares = L::zero();
        for x in x.chunks_exact(LANES) {
            let difference = L::load(x.as_ptr()).sub(L::splat(&around));
            squares = squares.add_product(difference, difference);
        }
        PlaneStatistics { sum, around, squares: first_lanes(squares, valid) }
    }
}

/// The sum of the lanes that hold images.
///
/// # Safety
/// The instructions of `L` are enabled.
#[inline(always)]
unsafe fn first_lanes<L: Lanes>(vector: L, valid: usize) -> f64 {
    // SAFETY: as promised by the caller.
    let lanes = unsafe { numbers(vector) };
    lanes[..valid].iter().map(|&x| f64::from(x)).sum()
}

/// Batch norm with the batch's statistics, followed by an activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm<'a> {
    pub statistics: &'a Statistics,
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub epsilon: f32,
    pub activation: Activation,
}

/// How a channel is normalised: `factor * x + offset`.
#[derive(Clone, Copy)]
struct Normalizer {
    factor: f32,
    offset: f32,
    mean: f32,
    /// One over the deviation.
    inverse: f32,
}

impl Norm<'_> {
    fn channel(&self, channel: usize) -> Normalizer {
        let mean = self.statistics.mean[channel];
        let inverse = 1.0 / (self.statistics.variance[channel] + self.epsilon).sqrt();
        let factor = self.gamma[channel] * inverse;
        Normalizer { factor, offset: self.beta[channel] - mean * factor, mean, inverse }
    }

    /// `activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)`.
    pub fn normalize(&self, isa: Isa, x: &[f32], extent: Extent) -> Buffer {
        let channels = (0..extent.channels).map(|channel| self.channel(channel));
        let (scale, shift): (Vec<f32>, Vec<f32>) = channels.map(|channel| (channel.factor, channel.offset)).unzip();
        affine(isa, x, &scale, &shift, extent.plane, self.activation)
    }

    /// Gradients of [`normalize`](Self::normalize) with the statistics of `x` itself: of `x`, `gamma` and `beta`. Lanes
    /// without images get zero.
    pub fn gradient(&self, isa: Isa, x: &[f32], dy: &[f32], extent: Extent) -> (Buffer, Vec<f32>, Vec<f32>) {
        assert_eq!(x.len(), dy.len(), "a gradient has the shape of its maps");
        let (bounds, size, channels) = (self.activation.bounds(), extent.size(), extent.channels);
        let planes = x.par_chunks(size).zip(dy.par_chunks(size)).enumerate().map(|(index, (x, dy))| {
            let (channel, valid) = (self.channel(index % channels), extent.lanes(index));
            dispatch!(isa, plane_sums(x: &[f32], dy: &[f32], channel: Normalizer, bounds: Bounds, valid: usize) -> [f64; 2])
        });
        let planes: Vec<[f64; 2]> = planes.collect();
        let (beta, gamma) = (by_channel(&planes, 0, channels), by_channel(&planes, 1, channels));
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let tasks = out.par_chunks_mut(size).zip(x.par_chunks(size)).zip(dy.par_chunks(size));
            tasks.enumerate().for_each(|(index, ((out, x), dy))| {
                let (channel, valid) = (self.channel(index % channels), extent.lanes(index));
                let means = [&beta, &gamma].map(|sums| (f64::from(sums[index % channels]) / extent.count()) as f32);
                dispatch!(isa, plane_gradient(
                    x: &[f32],
                    dy: &[f32],
                    out: &mut [MaybeUninit<f32>],
                    channel: Normalizer,
                    bounds: Bounds,
                    means: [f32; 2],
                    valid: usize,
                ));
            });
        };
        // SAFETY: the planes cover all, and each is written from its first to its last vector.
        let dx = unsafe { Buffer::written(x.len(), fill) };
        (dx, gamma, beta)
    }
}

/// For a vector of inputs: the gradient before the activation, and the normalised inputs.
///
/// # Safety
/// `x` and `dy` are vectors, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn before_activation<L: Lanes>(x: &[f32], dy: &[f32], channel: &Normalizer, bounds: Bounds) -> (L, L) {
    // SAFETY: as promised by the caller.
    unsafe {
        let x = L::load(x.as_ptr());
        let y = bounds.clip(L::splat(&channel.offset).add_product(L::splat(&channel.factor), x));
        let normal = x.sub(L::splat(&channel.mean)).mul(L::splat(&channel.inverse));
        (bounds.pass(y, L::load(dy.as_ptr())), normal)
    }
}

/// Sums of the gradient, and of its products with the normalised inputs.
///
/// # Safety
/// The slices are as long as each other, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn plane_sums<L: Lanes>(x: &[f32], dy: &[f32], channel: Normalizer, bounds: Bounds, valid: usize) -> [f64; 2] {
    // SAFETY: each chunk is a vector.
    unsafe {
        let mut sums = [L::zero(); 2];
        for (x, dy) in x.chunks_exact(LANES).zip(dy.chunks_exact(LANES)) {
            let (dy, normal) = before_activation::<L>(x, dy, &channel, bounds);
            sums = [sums[0].add(dy), sums[1].add_product(dy, normal)];
        }
        sums.map(|sums| first_lanes(sums, valid))
    }
}

/// `factor * (dy - mean(dy) - normal * mean(dy * normal))`, with both means given.
///
/// # Safety
/// As [`plane_sums`].
#[inline(always)]
unsafe fn plane_gradient<L: Lanes>(
    x: &[f32],
    dy: &[f32],
    out: &mut [MaybeUninit<f32>],
    channel: Normalizer,
    bounds: Bounds,
    means: [f32; 2],
    valid: usize,
) {
    for ((out, x), dy) in out.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES)).zip(dy.chunks_exact(LANES)) {
        // SAFETY: each chunk is a vector.
        unsafe {
            let (dy, normal) = before_activation::<L>(x, dy, &channel, bounds);
            let centred = dy.sub(L::splat(&means[0])).sub(normal.mul(L::splat(&means[1])));
            centred.mul(L::splat(&channel.factor)).store(out.as_mut_ptr().cast());
        }
        out[valid..].fill(MaybeUninit::new(0.0));
    }
}
