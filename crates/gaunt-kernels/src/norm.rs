//! Batch norm in training, with the activation behind it.
//!
//! Statistics are those of the batch, over the lanes that hold images. Sums run in `f32` within a channel of one block
//! and in `f64`, in the order of the blocks, from there on; the variance is of differences from the block's own
//! mean, so that a large mean does not cancel it (Chan, Golub and LeVeque, 1979). A task takes all passes over its channel,
//! which lies in a cache after the first.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use crate::{
    buffer::{Buffer, Shared},
    lanes::{Isa, LANES, Lanes, dispatch, numbers},
    pointwise::{Activation, Bounds, affine_plane},
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

    fn blocks(self) -> usize {
        self.images.div_ceil(LANES)
    }

    /// Elements of all channels.
    fn len(self) -> usize {
        self.blocks() * self.channels * self.size()
    }

    /// Lanes of a block that hold images.
    fn lanes(self, block: usize) -> usize {
        (self.images - block * LANES).min(LANES)
    }

    /// The elements of a channel in a block.
    fn range(self, block: usize, channel: usize) -> Range<usize> {
        let index = block * self.channels + channel;
        index * self.size()..(index + 1) * self.size()
    }

    /// The elements of a channel in a block, to be written by whoever has the channel.
    ///
    /// # Safety
    /// `maps` has this extent, and nobody else uses the channel meanwhile.
    unsafe fn plane<'a>(self, maps: Shared, block: usize, channel: usize) -> &'a mut [MaybeUninit<f32>] {
        let range = self.range(block, channel);
        // SAFETY: as promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(maps.at(range.start).cast(), range.len()) }
    }

    /// Elements of each channel.
    fn count(self) -> f64 {
        (self.images * self.plane) as f64
    }
}

/// Mean and biased variance of one channel.
fn channel_statistics(isa: Isa, x: &[f32], extent: Extent, channel: usize) -> [f32; 2] {
    let planes = (0..extent.blocks()).map(|block| {
        let (x, valid) = (&x[extent.range(block, channel)], extent.lanes(block));
        dispatch!(isa, plane_statistics(x: &[f32], valid: usize) -> PlaneStatistics)
    });
    let planes: Vec<PlaneStatistics> = planes.collect();
    let mean = planes.iter().map(|plane| plane.sum).sum::<f64>() / extent.count();
    let planes = planes.iter().enumerate();
    let squares = planes.map(|(block, plane)| plane.squares_around(mean, extent.lanes(block) * extent.plane));
    [mean as f32, (squares.sum::<f64>() / extent.count()) as f32]
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
    fn channel(&self, channel: usize, [mean, variance]: [f32; 2]) -> Normalizer {
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        let factor = self.gamma[channel] * inverse;
        Normalizer { factor, offset: self.beta[channel] - mean * factor, mean, inverse }
    }

    /// `activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)`, and the statistics.
    pub fn forward(&self, isa: Isa, x: &[f32], extent: Extent) -> (Buffer, Statistics) {
        let bounds = self.activation.bounds();
        let mut statistics = Vec::new();
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let out = Shared(out.as_mut_ptr().cast());
            let channels = (0..extent.channels).into_par_iter().map(|channel| {
                let statistics = channel_statistics(isa, x, extent, channel);
                let Normalizer { factor, offset, .. } = self.channel(channel, statistics);
                for block in 0..extent.blocks() {
                    let x = &x[extent.range(block, channel)];
                    // SAFETY: the buffer has this extent, and the task has the channel.
                    let out = unsafe { extent.plane(out, block, channel) };
                    dispatch!(isa, affine_plane(
                        x: &[f32], out: &mut [MaybeUninit<f32>], factor: f32, offset: f32, bounds: Bounds,
                    ));
                }
                statistics
            });
            statistics = channels.collect();
        };
        assert_eq!(x.len(), extent.len(), "maps have their extent");
        // SAFETY: every plane of every channel is written from its first to its last vector.
        let y = unsafe { Buffer::written(x.len(), fill) };
        let (mean, variance) = statistics.into_iter().map(|[mean, variance]| (mean, variance)).unzip();
        (y, Statistics { mean, variance })
    }

    /// Gradients of [`forward`](Self::forward) of `x`, `gamma` and `beta`, with the statistics that it gave. Lanes without images
    /// get zero.
    pub fn gradient(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        statistics: &Statistics,
        extent: Extent,
    ) -> (Buffer, Vec<f32>, Vec<f32>) {
        assert!(x.len() == extent.len() && dy.len() == x.len(), "a gradient has the shape of its maps");
        let mut sums = Vec::new();
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let out = Shared(out.as_mut_ptr().cast());
            let channels = (0..extent.channels).into_par_iter().map(|index| {
                let channel = self.channel(index, [statistics.mean[index], statistics.variance[index]]);
                // SAFETY: the buffer has this extent, and the task has the channel.
                unsafe { self.channel_gradient(isa, [x, dy], out, extent, index, channel) }
            });
            sums = channels.collect();
        };
        // SAFETY: every plane of every channel is written from its first to its last vector.
        let dx = unsafe { Buffer::written(x.len(), fill) };
        let (beta, gamma) = sums.into_iter().map(|[beta, gamma]: [f32; 2]| (beta, gamma)).unzip();
        (dx, gamma, beta)
    }

    /// Writes the gradient of one channel's `x` to `out`; returns those of `beta` and `gamma`.
    ///
    /// # Safety
    /// `out` has the extent, and nobody else uses the channel meanwhile.
    unsafe fn channel_gradient(
        &self,
        isa: Isa,
        [x, dy]: [&[f32]; 2],
        out: Shared,
        extent: Extent,
        index: usize,
        channel: Normalizer,
    ) -> [f32; 2] {
        let bounds = self.activation.bounds();
        let mut sums = [0.0; 2];
        for block in 0..extent.blocks() {
            let (range, valid) = (extent.range(block, index), extent.lanes(block));
            let (x, dy) = (&x[range.clone()], &dy[range]);
            let plane = dispatch!(isa, plane_sums(
                x: &[f32], dy: &[f32], channel: Normalizer, bounds: Bounds, valid: usize,
            ) -> [f64; 2]);
            sums.iter_mut().zip(plane).for_each(|(sum, plane)| *sum += plane);
        }
        let sums = sums.map(|sum| sum as f32);
        let means = sums.map(|sum| (f64::from(sum) / extent.count()) as f32);
        for block in 0..extent.blocks() {
            let (range, valid) = (extent.range(block, index), extent.lanes(block));
            let (x, dy) = (&x[range.clone()], &dy[range]);
            // SAFETY: as promised by the caller.
            let out = unsafe { extent.plane(out, block, index) };
            dispatch!(isa, plane_gradient(
                x: &[f32],
                dy: &[f32],
                out: &mut [MaybeUninit<f32>],
                channel: Normalizer,
                bounds: Bounds,
                means: [f32; 2],
                valid: usize,
            ));
        }
        sums
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
