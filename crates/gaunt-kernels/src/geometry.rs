//! Where windows lie: sizes, and the runs of output pixels that see the same taps.

use std::ops::Range;

/// Geometry of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Step between windows, down and across.
    pub stride: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Channel groups.
    pub groups: usize,
}

impl ConvGeometry {
    /// Output `[H, W]` for input `[H, W]` and a kernel.
    pub fn output_size(&self, input: [usize; 2], kernel: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let padded = input[axis] + self.pads[axis] + self.pads[axis + 2];
            (padded - ((kernel[axis] - 1) * self.dilation[axis] + 1)) / self.stride[axis] + 1
        })
    }
}

/// Cuts `0..size` into `count` ranges of nearly the same length.
pub(crate) fn slices(size: usize, count: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..count).map(move |slice| size * slice / count..size * (slice + 1) / count)
}

/// One kernel position of a run: which one, and the input pixel that the first output pixel multiplies it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Row-major position in the kernel.
    pub weight: usize,
    /// Pixel in the channel's plane.
    pub input: usize,
}

/// A run of output pixels in one row that see the same taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First output pixel in the channel's plane.
    pub output: usize,
    /// Output pixels.
    pub count: usize,
    /// Output pixels from one to the next.
    pub output_step: usize,
    /// Input pixels from one to the next.
    pub input_step: usize,
    /// What is summed; empty where only padding is seen.
    pub taps: Vec<Tap>,
}

/// For one axis and one output position: the taps inside the input, with the input position of each.
type Seen = Vec<(usize, usize)>;

/// Runs that cover the output of a convolution.
pub(crate) fn forward_runs(g: &ConvGeometry, input: [usize; 2], kernel: [usize; 2]) -> Vec<Run> {
    let seen = |axis: usize, position: usize| -> Seen {
        let taps = (0..kernel[axis]).filter_map(|tap| {
            let at = (position * g.stride[axis] + tap * g.dilation[axis]).checked_sub(g.pads[axis])?;
            (at < input[axis]).then_some((tap, at))
        });
        taps.collect()
    };
    let target = Target { size: g.output_size(input, kernel), step: 1, source_step: g.stride[1] };
    target.runs(input[1], kernel[1], seen)
}

/// Runs that cover the gradient of a convolution's input, as a gather from the gradient of its output.
pub(crate) fn backward_runs(g: &ConvGeometry, input: [usize; 2], kernel: [usize; 2]) -> Vec<Run> {
    let output = g.output_size(input, kernel);
    let seen = |axis: usize, position: usize| -> Seen {
        let taps = (0..kernel[axis]).filter_map(|tap| {
            let at = (position + g.pads[axis]).checked_sub(tap * g.dilation[axis])?;
            let window = at / g.stride[axis];
            (at.is_multiple_of(g.stride[axis]) && window < output[axis]).then_some((tap, window))
        });
        taps.collect()
    };
    let target = Target { size: input, step: g.stride[1], source_step: 1 };
    target.runs(output[1], kernel[1], seen)
}

/// A plane to cover with runs: pixels `step` apart in a row belong together, and from one to the next the source
/// moves by `source_step`.
struct Target {
    size: [usize; 2],
    step: usize,
    source_step: usize,
}

impl Target {
    fn runs(&self, source_width: usize, kernel_width: usize, seen: impl Fn(usize, usize) -> Seen) -> Vec<Run> {
        let [height, width] = self.size;
        let columns: Vec<Seen> = (0..width).map(|column| seen(1, column)).collect();
        let spans = spans(&columns, self.step);
        let mut runs = Vec::with_capacity(height * spans.len());
        for row in 0..height {
            let rows = seen(0, row);
            for &(first, count) in &spans {
                let taps = rows.iter().flat_map(|&(tap_row, source_row)| {
                    columns[first].iter().map(move |&(tap_column, source_column)| Tap {
                        weight: tap_row * kernel_width + tap_column,
                        input: source_row * source_width + source_column,
                    })
                });
                let (output, taps) = (row * width + first, taps.collect());
                runs.push(Run { output, count, output_step: self.step, input_step: self.source_step, taps });
            }
        }
        runs
    }
}

/// Cuts a row into `(first, count)` of positions `step` apart that see the same taps.
fn spans(columns: &[Seen], step: usize) -> Vec<(usize, usize)> {
    let same = |a: &Seen, b: &Seen| a.iter().map(|(tap, _)| tap).eq(b.iter().map(|(tap, _)| tap));
    let mut spans = Vec::new();
    for phase in 0..step.min(columns.len()) {
        let mut first = phase;
        while first < columns.len() {
            let alike = (first..columns.len()).step_by(step).take_while(|&at| same(&columns[at], &columns[first]));
            let count = alike.count();
            spans.push((first, count));
            first += count * step;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_row_has_two_borders_and_an_interior() {
        let g = ConvGeometry { stride: [1, 1], pads: [0, 1, 0, 1], dilation: [1, 1], groups: 1 };
        let runs = forward_runs(&g, [1, 8], [1, 3]);
        let shape: Vec<_> = runs.iter().map(|run| (run.output, run.count, run.taps.len())).collect();
        assert_eq!(shape, [(0, 1, 2), (1, 6, 3), (7, 1, 2)]);
        assert_eq!(runs[1].taps[0], Tap { weight: 0, input: 0 });
    }

    #[test]
    fn strided_gradients_are_gathered_by_phase() {
        let g = ConvGeometry { stride: [2, 2], pads: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };
        let runs = backward_runs(&g, [4, 6], [3, 3]);
        let covered: usize = runs.iter().map(|run| run.count).sum();
        assert_eq!(covered, 24);
        assert!(runs.iter().all(|run| run.output_step == 2 && run.input_step == 1));
    }
}
