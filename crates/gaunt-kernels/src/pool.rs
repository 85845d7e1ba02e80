//! Pooling: where windows lie, and the largest or the mean of each.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    lanes::{Isa, LANES, Lanes, dispatch},
};

/// Geometry of a pooling window over maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Window size, down and across.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Round the output size up instead of down.
    pub ceil: bool,
}

/// The windows of a pool along one axis.
pub(crate) struct Windows {
    size: usize,
    pub before: usize,
    after: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    count: usize,
}

impl Windows {
    pub fn new(pool: &PoolGeometry, axis: usize, size: usize) -> Self {
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

    /// Positions of the image in each window, in order.
    fn positions(&self) -> Vec<Vec<usize>> {
        let window = |window: usize| {
            let taps = (0..self.kernel).map(|tap| window * self.stride + tap * self.dilation);
            taps.filter_map(|at| at.checked_sub(self.before)).filter(|&at| at < self.size).collect()
        };
        (0..self.count).map(window).collect()
    }

    /// Where the last window ends, counted from where the first begins.
    pub fn end(&self) -> usize {
        (self.count - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
    }

    /// Positions of each window that count in an average.
    pub fn counts(&self, include_pad: bool) -> Vec<usize> {
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

/// What is taken from a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest; padding never wins, and of equals the first gets the gradient.
    Max,
    /// The mean, of the image's positions only or of the padding's as well.
    Average {
        /// Whether padding counts.
        include_pad: bool,
    },
}

/// A pool over planes of one size.
pub(crate) struct Pool {
    pooling: Pooling,
    input: [usize; 2],
    /// For each window along each axis, the positions in the image.
    positions: [Vec<Vec<usize>>; 2],
    /// What the mean of each window divides its sum by, along each axis.
    counts: [Vec<usize>; 2],
}

impl Pool {
    pub fn new(geometry: &PoolGeometry, pooling: Pooling, input: [usize; 2]) -> Self {
        let windows = [0, 1].map(|axis| Windows::new(geometry, axis, input[axis]));
        let include_pad = pooling == Pooling::Average { include_pad: true };
        Self {
            pooling,
            input,
            positions: windows.each_ref().map(Windows::positions),
            counts: windows.each_ref().map(|windows| windows.counts(include_pad)),
        }
    }

    /// Windows, down and across.
    pub fn output(&self) -> [usize; 2] {
        self.positions.each_ref().map(Vec::len)
    }

    fn sizes(&self) -> (usize, usize) {
        let size = |plane: [usize; 2]| (plane[0] * plane[1] * LANES).max(1);
        (size(self.input), size(self.output()))
    }

    /// One number for each window of `x [B, C, H, W, 16]`.
    pub fn forward(&self, isa: Isa, x: &[f32]) -> Buffer {
        let (input, output) = self.sizes();
        let fill = |y: &mut [MaybeUninit<f32>]| {
            y.par_chunks_mut(output).zip(x.par_chunks_exact(input)).for_each(|(y, x)| {
                let pool = self;
                dispatch!(isa, pool_plane(pool: &Pool, x: &[f32], y: &mut [MaybeUninit<f32>]));
            });
        };
        // SAFETY: the planes cover all, and each is written window by window.
        unsafe { Buffer::written(x.len() / input * output, fill) }
    }

    /// The gradient of `x`, from its pool `y` and the gradient of that.
    pub fn gradient(&self, isa: Isa, x: &[f32], y: &[f32], dy: &[f32]) -> Buffer {
        let (input, output) = self.sizes();
        let operands = x.par_chunks_exact(input).zip(y.par_chunks_exact(output)).zip(dy.par_chunks_exact(output));
        let fill = |dx: &mut [MaybeUninit<f32>]| {
            dx.par_chunks_exact_mut(input).zip(operands).for_each(|(dx, ((x, y), dy))| {
                let pool = self;
                dispatch!(isa, gradient_plane(pool: &Pool, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]));
            });
        };
        // SAFETY: the planes cover all, and each is cleared first.
        unsafe { Buffer::written(x.len(), fill) }
    }

    /// Calls `visit` for each window with its place, the share of each of its pixels in a mean, and its pixels in the image.
    #[inline(always)]
    fn windows(&self, mut visit: impl FnMut(usize, f32, &[usize], &[usize])) {
        let [down, across] = &self.positions;
        for (row, (rows, height)) in down.iter().zip(&self.counts[0]).enumerate() {
            for (column, (columns, width)) in across.iter().zip(&self.counts[1]).enumerate() {
                visit(row * across.len() + column, 1.0 / (height * width) as f32, rows, columns);
            }
        }
    }
}

/// # Safety
/// The slices are planes of the pool's input and output, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn pool_plane<L: Lanes>(pool: &Pool, x: &[f32], y: &mut [MaybeUninit<f32>]) {
    pool.windows(
        #[inline(always)]
        |window, share, rows, columns| {
            // SAFETY: the slices are vectors.
            unsafe {
                let largest = pool.pooling == Pooling::Max;
                let mut result = if largest { L::splat(&f32::NEG_INFINITY) } else { L::zero() };
                for row in rows {
                    for column in columns {
                        let x = L::load(x[(row * pool.input[1] + column) * LANES..][..LANES].as_ptr());
                        result = if largest { result.max(x) } else { result.add(x) };
                    }
                }
                let result = if largest { result } else { result.mul(L::splat(&share)) };
                result.store(y[window * LANES..][..LANES].as_mut_ptr().cast());
            }
        },
    );
}

/// # Safety
/// As [`pool_plane`].
#[inline(always)]
unsafe fn gradient_plane<L: Lanes>(pool: &Pool, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
    dx.fill(MaybeUninit::new(0.0));
    pool.windows(
        #[inline(always)]
        |window, share, rows, columns| {
            // SAFETY: the slices are vectors.
            unsafe {
                let y = L::load(y[window * LANES..][..LANES].as_ptr());
                let mut rest = L::load(dy[window * LANES..][..LANES].as_ptr());
                for row in rows {
                    for column in columns {
                        let at = (row * pool.input[1] + column) * LANES;
                        let dx = &mut dx[at..][..LANES];
                        let mut part = rest.mul(L::splat(&share));
                        if pool.pooling == Pooling::Max {
                            let x = L::load(x[at..][..LANES].as_ptr());
                            part = x.if_equal(y, rest, L::zero());
                            rest = x.if_equal(y, L::zero(), rest);
                        }
                        L::load(dx.as_ptr().cast()).add(part).store(dx.as_mut_ptr().cast());
                    }
                }
            }
        },
    );
}
