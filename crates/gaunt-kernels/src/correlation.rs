//! Products of maps and gradients of maps, summed over images and pixels: the gradient of a convolution's weight.
//!
//! For each tap, six output channels by four input channels are summed in registers over all rows of a sweep, which is a few
//! blocks of images where maps are small. Between the sweeps of a task the sums rest in the nearest cache, a vector each;
//! lanes are added up at its end. Maps are of numbers, or of [pairs](crate::pairs) of bfloat16 from two blocks of images.

use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    conv::Kernel,
    geometry::{ConvGeometry, slices},
    lanes::{COLUMNS, Isa, LANES, Lanes, ROWS, dispatch, dispatch_pairs, numbers, with_constant},
    pairs::pitch,
};

/// Sums that a single pair of channels is cut into.
const PARTS: usize = 4;
/// Pixels that a sweep should have to be worth fetching and putting back the sums.
const SWEEP: usize = 128;
/// Tasks that are aimed at, by cutting the batch if there are fewer blocks of channels. Fixed, so that nothing depends on the
/// number of threads.
const TASKS: usize = 32;

/// For one tap: the output pixels of a row that it serves, and the input pixel of the first.
pub(crate) struct TapRow {
    pub output: usize,
    pub input: usize,
    pub count: usize,
}

/// For each tap, the rows in which it lies inside the input.
pub(crate) fn tap_rows(g: &ConvGeometry, input: [usize; 2], kernel: [usize; 2]) -> Vec<Vec<TapRow>> {
    let output = g.output_size(input, kernel);
    let at = |axis: usize, tap: usize, window: usize| -> Option<usize> {
        let at = (window * g.stride[axis] + tap * g.dilation[axis]).checked_sub(g.pads[axis])?;
        (at < input[axis]).then_some(at)
    };
    let mut taps = Vec::new();
    for (down, across) in (0..kernel[0]).flat_map(|down| (0..kernel[1]).map(move |across| (down, across))) {
        let mut columns = (0..output[1]).filter_map(|window| Some((window, at(1, across, window)?)));
        let first = columns.next();
        let count = 1 + columns.count();
        let rows = first.into_iter().flat_map(|(left, column)| {
            let rows = (0..output[0]).filter_map(|window| Some((window, at(0, down, window)?)));
            rows.map(move |(window, row)| TapRow {
                output: window * output[1] + left,
                input: row * input[1] + column,
                count,
            })
        });
        taps.push(rows.collect());
    }
    taps
}

/// What is multiplied with what.
pub(crate) struct Correlation<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    kernel: Kernel,
    groups: usize,
    /// Vectors from a channel to the next.
    input_plane: usize,
    output_plane: usize,
    rows: Vec<Vec<TapRow>>,
    input_step: usize,
    pairs: bool,
}

/// A block of output and input channels, over a part of the batch.
#[derive(Clone, Copy)]
struct Task {
    output: usize,
    outputs: usize,
    /// In the group.
    input: usize,
    inputs: usize,
    first_block: usize,
    last_block: usize,
}

impl<'a> Correlation<'a> {
    /// `x [B, C, H, W, 16]` has planes of `input` pixels, `dy` those of the convolution's output.
    pub fn new(x: &'a [f32], dy: &'a [f32], g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Self {
        let output = g.output_size(input, kernel.size);
        Self {
            x,
            dy,
            kernel,
            groups: g.groups,
            input_plane: input[0] * input[1],
            output_plane: output[0] * output[1],
            rows: tap_rows(g, input, kernel.size),
            input_step: g.stride[1],
            pairs: false,
        }
    }

    /// As [`new`](Self::new), of maps that are paired.
    pub fn of_pairs(x: &'a [f32], dy: &'a [f32], g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Self {
        let plain = Self::new(x, dy, g, kernel, input);
        let [input_plane, output_plane] = [plain.input_plane, plain.output_plane].map(|plane| pitch(plane) / LANES);
        Self { pairs: true, input_plane, output_plane, ..plain }
    }

    /// Numbers in a block of images, of the input and of the output.
    fn block_sizes(&self) -> (usize, usize) {
        let channels = self.groups * self.kernel.inputs;
        (channels * self.input_plane * LANES, self.kernel.outputs * self.output_plane * LANES)
    }

    /// The sums, `[O, I, KH, KW]`.
    pub fn run(&self, isa: Isa) -> Buffer {
        let blocks = self.x.len() / self.block_sizes().0.max(1);
        assert_eq!(self.dy.len(), blocks * self.block_sizes().1, "maps and gradients have as many images");
        let tasks = self.tasks(blocks);
        let taps = self.kernel.taps();
        let sums: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|&task| {
                let correlation = self;
                if self.pairs {
                    dispatch_pairs!(isa, correlate(correlation: &Correlation, task: Task) -> Vec<f32>)
                } else {
                    dispatch!(isa, correlate(correlation: &Correlation, task: Task) -> Vec<f32>)
                }
            })
            .collect();
        let mut gradient = Buffer::zeros(self.kernel.len());
        for (task, sums) in tasks.iter().zip(sums) {
            for (sums, output) in sums.chunks_exact(task.inputs * taps).zip(task.output..) {
                let to = &mut gradient[(output * self.kernel.inputs + task.input) * taps..][..sums.len()];
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        }
        gradient
    }

    /// Parts of the batch come one after the other, so that their sums are added in order.
    fn tasks(&self, blocks: usize) -> Vec<Task> {
        let (outputs, inputs) = (self.kernel.outputs / self.groups, self.kernel.inputs);
        let width = inputs.div_ceil(inputs.div_ceil(COLUMNS).max(1));
        let mut whole = Vec::new();
        for group in 0..self.groups {
            for panel in slices(outputs, outputs.div_ceil(ROWS)) {
                whole.extend((0..inputs).step_by(width).map(|input| Task {
                    output: group * outputs + panel.start,
                    outputs: panel.len(),
                    input,
                    inputs: width.min(inputs - input),
                    first_block: 0,
                    last_block: blocks,
                }));
            }
        }
        let parts = TASKS.div_ceil(whole.len().max(1)).min(blocks.max(1));
        let part = blocks.div_ceil(parts).max(1);
        let parts = (0..blocks).step_by(part);
        let cut =
            |first_block: usize, task: Task| Task { first_block, last_block: blocks.min(first_block + part), ..task };
        parts.flat_map(|first| whole.iter().map(move |&task| cut(first, task))).collect()
    }
}

/// The sums of a task, `[outputs, inputs, taps]`.
///
/// # Safety
/// The instructions of `L` are enabled; the task names channels of one group and blocks that there are.
#[inline(always)]
unsafe fn correlate<L: Lanes>(correlation: &Correlation, task: Task) -> Vec<f32> {
    // SAFETY: as promised by the caller.
    unsafe { with_constant!(rows task.outputs, O => correlate_outputs::<L, O>(correlation, task)) }
}

/// # Safety
/// As [`correlate`].
#[inline(always)]
unsafe fn correlate_outputs<L: Lanes, const O: usize>(correlation: &Correlation, task: Task) -> Vec<f32> {
    let taps = correlation.kernel.taps();
    let mut sums = vec![0.0; O * task.inputs * taps];
    let mut first = 0;
    while first < task.inputs {
        let inputs = L::columns(O).min(task.inputs - first);
        let (input, sums) = (task.input + first, &mut sums[first * taps..]);
        let pitch = task.inputs * taps;
        // SAFETY: as promised by the caller.
        unsafe {
            with_constant!(columns inputs, I => correlate_block::<L, O, I>(correlation, task, input, sums, pitch));
        }
        first += inputs;
    }
    sums
}

/// `O` output by `I` input channels, sweep by sweep. Outputs are `pitch` apart in `to`.
///
/// # Safety
/// As [`correlate`].
#[inline(always)]
unsafe fn correlate_block<L: Lanes, const O: usize, const I: usize>(
    correlation: &Correlation,
    task: Task,
    input: usize,
    to: &mut [f32],
    pitch: usize,
) {
    let Correlation { x, dy, kernel, groups, input_plane, output_plane, .. } = *correlation;
    let channel = task.output / (kernel.outputs / groups) * kernel.inputs + input;
    let (x_block, dy_block) = correlation.block_sizes();
    let mut sums = vec![[[[0.0f32; LANES]; I]; O]; kernel.taps()];
    let blocks: Vec<usize> = (task.first_block..task.last_block).collect();
    for sweep in blocks.chunks(SWEEP.div_ceil(output_plane.max(1))) {
        for (rows, sums) in correlation.rows.iter().zip(&mut sums) {
            // SAFETY: the channels lie in the blocks, and rows name pixels of the planes.
            unsafe {
                let mut vectors: [[L; I]; O] =
                    std::array::from_fn(|o| std::array::from_fn(|i| L::load(sums[o][i].as_ptr())));
                for block in sweep {
                    let x = x[block * x_block + channel * input_plane * LANES..][..I * input_plane * LANES].as_ptr();
                    let dy = dy[block * dy_block + task.output * output_plane * LANES..][..O * output_plane * LANES]
                        .as_ptr();
                    for row in rows {
                        correlate_row(
                            correlation,
                            row,
                            x.add(row.input * LANES),
                            dy.add(row.output * LANES),
                            &mut vectors,
                        );
                    }
                }
                for (sums, vectors) in sums.iter_mut().zip(vectors) {
                    sums.iter_mut().zip(vectors).for_each(|(sum, vector)| *sum = numbers(vector));
                }
            }
        }
    }
    for (tap, sums) in sums.iter().enumerate() {
        for (o, sums) in sums.iter().enumerate() {
            sums.iter().enumerate().for_each(|(i, sum)| to[o * pitch + i * kernel.taps() + tap] = lane_sum(sum));
        }
    }
}

/// Adds the products of one row. A single sum would wait for itself at every pixel, so it is made of several.
///
/// # Safety
/// As [`correlate`]; `x` and `dy` point to the row's first pixels in the first of `I` and `O` channels.
#[inline(always)]
unsafe fn correlate_row<L: Lanes, const O: usize, const I: usize>(
    correlation: &Correlation,
    row: &TapRow,
    x: *const f32,
    dy: *const f32,
    sums: &mut [[L; I]; O],
) {
    // SAFETY: the row's pixels lie in the planes.
    unsafe {
        let mut first = 0;
        if O * I == 1 {
            let mut parts = [[[L::zero(); I]; O]; PARTS];
            while first + PARTS <= row.count {
                for (part, sums) in parts.iter_mut().enumerate() {
                    correlate_pixel(correlation, first + part, x, dy, sums);
                }
                first += PARTS;
            }
            for part in parts {
                sums[0][0] = sums[0][0].add(part[0][0]);
            }
        }
        for pixel in first..row.count {
            correlate_pixel(correlation, pixel, x, dy, sums);
        }
    }
}

/// Adds the products of one pixel of a row.
///
/// # Safety
/// As [`correlate_row`].
#[inline(always)]
unsafe fn correlate_pixel<L: Lanes, const O: usize, const I: usize>(
    correlation: &Correlation,
    pixel: usize,
    x: *const f32,
    dy: *const f32,
    sums: &mut [[L; I]; O],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let x = x.add(pixel * correlation.input_step * LANES);
        let dy = dy.add(pixel * LANES);
        let mut inputs = [L::zero(); I];
        for (i, input) in inputs.iter_mut().enumerate() {
            *input = L::load(x.add(i * correlation.input_plane * LANES));
        }
        for (o, sums) in sums.iter_mut().enumerate() {
            let dy = L::load(dy.add(o * correlation.output_plane * LANES));
            for (sum, &x) in sums.iter_mut().zip(&inputs) {
                *sum = sum.add_product(dy, x);
            }
        }
    }
}

/// The sum of all lanes, halving each time.
fn lane_sum(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0]
}
