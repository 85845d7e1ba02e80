//! Geometry of pooling.

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
