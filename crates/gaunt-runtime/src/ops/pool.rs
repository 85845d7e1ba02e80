//! Maximum and average over windows.

use core::ops::Range;

use gaunt_graph::Pool;

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// The largest element of each window; padding never wins.
pub(crate) struct MaxPoolKernel {
    pub pool: Pool,
}

impl Kernel for MaxPoolKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        for_each_window(&self.pool, operands, out, |window| {
            window.elements().fold(f32::NEG_INFINITY, |max, x| if x > max || x.is_nan() { x } else { max })
        });
    }
}

/// The mean of each window.
pub(crate) struct AveragePoolKernel {
    pub pool: Pool,
    pub count_include_pad: bool,
}

impl Kernel for AveragePoolKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        for_each_window(&self.pool, operands, out, |window| {
            let sum = window.elements().fold(0.0, |sum, x| sum + x);
            let count = if self.count_include_pad { window.padded_count() } else { window.count() };
            sum / count.max(1) as f32
        });
    }
}

/// Fills every output from its window, map by map.
fn for_each_window(pool: &Pool, operands: &Operands, out: ViewMut, f: impl Fn(Window) -> f32) {
    let x = operands.get(0);
    let (size, out_size) = ([x.shape[2], x.shape[3]], [out.shape[2], out.shape[3]]);
    let maps = out.data.chunks_exact_mut(out_size[0] * out_size[1]);
    for (map, out) in x.data.chunks_exact(size[0] * size[1]).zip(maps) {
        for (row, out) in out.chunks_exact_mut(out_size[1]).enumerate() {
            let rows = Span::new(pool, 0, size[0], row);
            for (column, y) in out.iter_mut().enumerate() {
                let columns = Span::new(pool, 1, size[1], column);
                *y = f(Window { map, width: size[1], rows: rows.clone(), columns });
            }
        }
    }
}

/// One window over one map.
struct Window<'a> {
    map: &'a [f32],
    width: usize,
    rows: Span,
    columns: Span,
}

impl Window<'_> {
    /// The elements inside the image, row by row.
    fn elements(&self) -> impl Iterator<Item = f32> {
        self.rows
            .indices()
            .flat_map(move |row| self.columns.indices().map(move |column| self.map[row * self.width + column]))
    }

    /// Taps inside the image.
    fn count(&self) -> usize {
        self.rows.inside.len() * self.columns.inside.len()
    }

    /// Taps inside the padded image. A window that was added by rounding the output size up may go past that.
    fn padded_count(&self) -> usize {
        self.rows.padded * self.columns.padded
    }
}

/// A window along one axis.
#[derive(Clone)]
struct Span {
    /// Position of the first tap, counted from the start of the padding.
    start: usize,
    before: usize,
    dilation: usize,
    /// The taps inside the image.
    inside: Range<usize>,
    /// Number of taps inside the padded image.
    padded: usize,
}

impl Span {
    fn new(pool: &Pool, axis: usize, size: usize, output: usize) -> Self {
        let (before, after, dilation) = (pool.pads[axis], pool.pads[axis + 2], pool.dilation[axis]);
        let start = output * pool.stride[axis];
        let taps_before = |end: usize| end.saturating_sub(start).div_ceil(dilation).min(pool.kernel[axis]);
        let inside = taps_before(before)..taps_before(before + size);
        Self { start, before, dilation, inside, padded: taps_before(before + size + after) }
    }

    /// The indices of the taps inside the image.
    fn indices(&self) -> impl Iterator<Item = usize> {
        self.inside.clone().map(|tap| self.start + tap * self.dilation - self.before)
    }
}

#[cfg(test)]
mod tests {
    use gaunt_graph::{Op, Pool};

    use crate::testing::{count, evaluate};

    fn pool(kernel: usize, stride: usize, pad: usize, ceil: bool) -> Pool {
        Pool { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], dilation: [1; 2], ceil }
    }

    #[test]
    fn padding_never_wins_the_maximum() {
        let y = evaluate(
            Op::MaxPool(pool(3, 2, 1, false)),
            &[(&[1, 1, 3, 3], &[-0., -1., -2., -3., -4., -5., -6., -7., -8.])],
            &[],
        );
        assert_eq!(y, [-0.0, -1.0, -3.0, -4.0]);
    }

    #[test]
    fn an_average_counts_padding_only_when_asked() {
        let average = |count_include_pad| {
            let op = Op::AveragePool { pool: pool(2, 2, 1, false), count_include_pad };
            evaluate(op, &[(&[1, 1, 2, 2], &[4.0, 8.0, 12.0, 16.0])], &[])
        };
        assert_eq!(average(false), [4.0, 8.0, 12.0, 16.0]);
        assert_eq!(average(true), [1.0, 2.0, 3.0, 4.0]);
    }

    /// The last window reaches one element beyond the padded image, which never counts.
    #[test]
    fn windows_past_the_end_are_cut() {
        for count_include_pad in [false, true] {
            let op = Op::AveragePool { pool: pool(2, 2, 0, true), count_include_pad };
            assert_eq!(evaluate(op, &[(&[1, 1, 3, 3], &count(9))], &[]), [2.0, 3.5, 6.5, 8.0]);
        }
    }

    #[test]
    fn dilated_windows_skip_elements() {
        let pool = Pool { dilation: [2; 2], ..pool(2, 1, 0, false) };
        assert_eq!(evaluate(Op::MaxPool(pool), &[(&[1, 1, 3, 4], &count(12))], &[]), [10.0, 11.0]);
    }
}
