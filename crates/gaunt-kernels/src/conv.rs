//! Direct convolution on blocked maps, in three passes: forward, gradient of the input, gradient of the weight.
//!
//! Maps are `[B, C, H, W, 16]`: sixteen images lie side by side, so that a pixel of a channel is one vector and every
//! operation is vertical. Forward and input gradient are the same gather over [`Run`]s of pixels, four channels by six
//! pixels at a time, with positions in the padding skipped. The weight gradient keeps four by four sums in registers while it
//! walks over the pixels. Tasks and orders of summation are fixed, so any number of threads gives the same bits.

use rayon::prelude::*;

use crate::{
    geometry::{ConvGeometry, Run, backward_runs, forward_runs},
    lanes::{Isa, LANES, Lanes, dispatch},
};

/// Output channels that are computed together; a tail is done two by two and one by one.
const CHANNELS: usize = 4;
/// Pixels that are computed together.
const PIXELS: usize = 6;

/// A kernel `[O, I, KH, KW]`; `I` counts the channels of one group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub outputs: usize,
    pub inputs: usize,
    pub size: [usize; 2],
}

impl Kernel {
    pub fn of(shape: [usize; 4]) -> Self {
        Self { outputs: shape[0], inputs: shape[1], size: [shape[2], shape[3]] }
    }

    fn taps(&self) -> usize {
        self.size[0] * self.size[1]
    }

    pub fn len(&self) -> usize {
        self.outputs * self.inputs * self.taps()
    }
}

/// `y = x * w`: `x [B, C, H, W, 16]` in planes of `input` pixels.
pub(crate) fn forward(isa: Isa, x: &[f32], w: &[f32], g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Vec<f32> {
    let output = g.output_size(input, kernel.size);
    let (group_outputs, taps) = (kernel.outputs / g.groups, kernel.taps());
    let gather = Gather {
        runs: forward_runs(g, input, kernel.size),
        groups: g.groups,
        sources: kernel.inputs,
        targets: group_outputs,
        source_plane: input[0] * input[1],
        target_plane: output[0] * output[1],
        taps,
        weights: pack(g.groups, group_outputs, kernel.inputs, taps, |group, target, source, tap| {
            w[((group * group_outputs + target) * kernel.inputs + source) * taps + tap]
        }),
    };
    gather.run(isa, x)
}

/// Gradient of `x` from that of `y`.
pub(crate) fn input_gradient(
    isa: Isa,
    dy: &[f32],
    w: &[f32],
    g: &ConvGeometry,
    kernel: Kernel,
    input: [usize; 2],
) -> Vec<f32> {
    let output = g.output_size(input, kernel.size);
    let (group_outputs, taps) = (kernel.outputs / g.groups, kernel.taps());
    let gather = Gather {
        runs: backward_runs(g, input, kernel.size),
        groups: g.groups,
        sources: group_outputs,
        targets: kernel.inputs,
        source_plane: output[0] * output[1],
        target_plane: input[0] * input[1],
        taps,
        weights: pack(g.groups, kernel.inputs, group_outputs, taps, |group, target, source, tap| {
            w[((group * group_outputs + source) * kernel.inputs + target) * taps + tap]
        }),
    };
    gather.run(isa, dy)
}

/// Sizes of the blocks of channels.
fn blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = match channels - at {
            0 => return None,
            1 => 1,
            2..CHANNELS => 2,
            _ => CHANNELS,
        };
        at += size;
        Some((at - size, size))
    })
}

/// Weights in the order in which the gather reads them: group, block of targets, source, tap, target in the block.
fn pack(
    groups: usize,
    targets: usize,
    sources: usize,
    taps: usize,
    at: impl Fn(usize, usize, usize, usize) -> f32,
) -> Vec<f32> {
    let mut packed = Vec::with_capacity(groups * targets * sources * taps);
    for group in 0..groups {
        for (first, size) in blocks(targets) {
            for source in 0..sources {
                for tap in 0..taps {
                    packed.extend((first..first + size).map(|target| at(group, target, source, tap)));
                }
            }
        }
    }
    packed
}

/// Sums over sources and taps for every target pixel.
struct Gather {
    runs: Vec<Run>,
    groups: usize,
    /// Channels of a group.
    sources: usize,
    targets: usize,
    /// Pixels of a channel.
    source_plane: usize,
    target_plane: usize,
    taps: usize,
    weights: Vec<f32>,
}

impl Gather {
    fn run(&self, isa: Isa, source: &[f32]) -> Vec<f32> {
        let source_block = self.groups * self.sources * self.source_plane * LANES;
        let target_block = self.groups * self.targets * self.target_plane * LANES;
        let images = source.len() / source_block.max(1);
        let mut target = vec![0.0; images * target_block];
        let tasks = target.par_chunks_mut(target_block.max(1)).zip(source.par_chunks(source_block.max(1)));
        tasks.for_each(|(target, source)| {
            // The kernel's pointer arithmetic relies on these lengths.
            assert!(target.len() == target_block && source.len() == source_block);
            let gather = self;
            dispatch!(isa, gather_block(gather: &Gather, source: &[f32], target: &mut [f32]));
        });
        target
    }
}

/// All channels of one block of images.
///
/// # Safety
/// The lengths are those that [`Gather::run`] checks, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn gather_block<L: Lanes>(gather: &Gather, source: &[f32], target: &mut [f32]) {
    let mut weights = gather.weights.as_ptr();
    for group in 0..gather.groups {
        // SAFETY: the group's first channel lies in the block.
        let from = unsafe { source.as_ptr().add(group * gather.sources * gather.source_plane * LANES) };
        for (first, size) in blocks(gather.targets) {
            let channel = group * gather.targets + first;
            // SAFETY: the channel lies in the block; weights were packed block by block in this order, and runs only
            // name pixels of the planes.
            unsafe {
                let to = target.as_mut_ptr().add(channel * gather.target_plane * LANES);
                for run in &gather.runs {
                    match size {
                        CHANNELS => gather_run::<L, CHANNELS>(gather, run, from, weights, to),
                        2 => gather_run::<L, 2>(gather, run, from, weights, to),
                        _ => gather_run::<L, 1>(gather, run, from, weights, to),
                    }
                }
                weights = weights.add(size * gather.sources * gather.taps);
            }
        }
    }
}

/// One run of pixels of a block of `C` channels.
///
/// # Safety
/// As [`gather_block`]; `from`, `weights` and `to` point to the first source channel, the block's weights and the first target
/// channel.
#[inline(always)]
unsafe fn gather_run<L: Lanes, const C: usize>(
    gather: &Gather,
    run: &Run,
    from: *const f32,
    weights: *const f32,
    to: *mut f32,
) {
    let mut first = 0;
    while first < run.count {
        let pixels = PIXELS.min(run.count - first);
        // SAFETY: `first + pixels` is at most the run's count.
        unsafe {
            match pixels {
                1 => gather_pixels::<L, C, 1>(gather, run, first, from, weights, to),
                2 => gather_pixels::<L, C, 2>(gather, run, first, from, weights, to),
                3 => gather_pixels::<L, C, 3>(gather, run, first, from, weights, to),
                4 => gather_pixels::<L, C, 4>(gather, run, first, from, weights, to),
                5 => gather_pixels::<L, C, 5>(gather, run, first, from, weights, to),
                _ => gather_pixels::<L, C, PIXELS>(gather, run, first, from, weights, to),
            }
        }
        first += pixels;
    }
}

/// `P` pixels of `C` channels, all sums in registers.
///
/// # Safety
/// As [`gather_run`]; pixels `first..first + P` belong to the run.
#[inline(always)]
unsafe fn gather_pixels<L: Lanes, const C: usize, const P: usize>(
    gather: &Gather,
    run: &Run,
    first: usize,
    from: *const f32,
    weights: *const f32,
    to: *mut f32,
) {
    // SAFETY: taps and pixels of the run lie in the planes, weights in the block.
    unsafe {
        let mut sums = [[L::zero(); P]; C];
        for source in 0..gather.sources {
            let plane = from.add((source * gather.source_plane + first * run.input_step) * LANES);
            let weights = weights.add(source * gather.taps * C);
            for tap in &run.taps {
                let pixel = plane.add(tap.input * LANES);
                let x: [L; P] = core::array::from_fn(|p| L::load(pixel.add(p * run.input_step * LANES)));
                for (c, sums) in sums.iter_mut().enumerate() {
                    let w = L::splat(weights.add(tap.weight * C + c));
                    for (sum, &x) in sums.iter_mut().zip(&x) {
                        *sum = sum.add_product(w, x);
                    }
                }
            }
        }
        for (c, sums) in sums.iter().enumerate() {
            for (p, sum) in sums.iter().enumerate() {
                let pixel = run.output + (first + p) * run.output_step;
                sum.store(to.add((c * gather.target_plane + pixel) * LANES));
            }
        }
    }
}

/// Gradient of the weight, `[O, I, KH, KW]`.
pub(crate) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    kernel: Kernel,
    input: [usize; 2],
) -> Vec<f32> {
    let output = g.output_size(input, kernel.size);
    let correlation = Correlation {
        x,
        dy,
        inputs: kernel.inputs,
        channels: kernel.inputs * g.groups,
        outputs: kernel.outputs,
        input_plane: input[0] * input[1],
        output_plane: output[0] * output[1],
        taps: kernel.taps(),
        rows: tap_rows(g, input, kernel.size),
        input_step: g.stride[1],
    };
    let group_outputs = kernel.outputs / g.groups;
    let per_output = kernel.inputs * kernel.taps();
    let mut gradient = vec![0.0; kernel.len()];
    // Blocks never straddle a group: each has one set of inputs.
    let mut tasks = Vec::new();
    let mut rest = gradient.as_mut_slice();
    for group in 0..g.groups {
        for (first, size) in blocks(group_outputs) {
            let (block, tail) = rest.split_at_mut(size * per_output);
            rest = tail;
            tasks.push((group, group * group_outputs + first, size, block));
        }
    }
    tasks.into_par_iter().for_each(|(group, output, size, block)| {
        let (correlation, first_input) = (&correlation, group * kernel.inputs);
        dispatch!(isa, correlate_block(correlation: &Correlation, first_input: usize, output: usize, size: usize, block: &mut [f32]));
    });
    gradient
}

/// For one tap: the output pixels of a row that it serves, and the input pixel of the first.
struct TapRow {
    output: usize,
    input: usize,
    count: usize,
}

/// For each tap, the rows in which it lies inside the input.
fn tap_rows(g: &ConvGeometry, input: [usize; 2], kernel: [usize; 2]) -> Vec<Vec<TapRow>> {
    let output = g.output_size(input, kernel);
    let inside = |axis: usize, tap: usize| -> (usize, usize) {
        let at = |window: usize| (window * g.stride[axis] + tap * g.dilation[axis]).checked_sub(g.pads[axis]);
        let mut windows = (0..output[axis]).filter(|&window| at(window).is_some_and(|at| at < input[axis]));
        let first = windows.next().unwrap_or(output[axis]);
        (first, first + usize::from(first < output[axis]) + windows.count())
    };
    let at = |axis: usize, tap: usize, window: usize| window * g.stride[axis] + tap * g.dilation[axis] - g.pads[axis];
    let mut taps = Vec::new();
    for tap_row in 0..kernel[0] {
        for tap_column in 0..kernel[1] {
            let ((top, bottom), (left, right)) = (inside(0, tap_row), inside(1, tap_column));
            let rows = (top..bottom).filter(|_| left < right).map(|row| TapRow {
                output: row * output[1] + left,
                input: at(0, tap_row, row) * input[1] + at(1, tap_column, left),
                count: right - left,
            });
            taps.push(rows.collect());
        }
    }
    taps
}

/// Products of maps and gradients of maps, summed over images and pixels.
struct Correlation<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    /// Input channels of a group, and of all.
    inputs: usize,
    channels: usize,
    outputs: usize,
    input_plane: usize,
    output_plane: usize,
    taps: usize,
    rows: Vec<Vec<TapRow>>,
    input_step: usize,
}

/// The gradient of `size` output channels from `output` on.
///
/// # Safety
/// `block` has `size * inputs * taps` elements, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn correlate_block<L: Lanes>(
    correlation: &Correlation,
    first_input: usize,
    output: usize,
    size: usize,
    block: &mut [f32],
) {
    // SAFETY: blocks of channels stay inside the group.
    unsafe {
        match size {
            CHANNELS => correlate_outputs::<L, CHANNELS>(correlation, first_input, output, block),
            2 => correlate_outputs::<L, 2>(correlation, first_input, output, block),
            _ => correlate_outputs::<L, 1>(correlation, first_input, output, block),
        }
    }
}

/// # Safety
/// As [`correlate_block`].
#[inline(always)]
unsafe fn correlate_outputs<L: Lanes, const O: usize>(
    correlation: &Correlation,
    first_input: usize,
    output: usize,
    block: &mut [f32],
) {
    let Correlation { x, dy, channels, outputs, input_plane, output_plane, .. } = *correlation;
    let x_block = channels * input_plane * LANES;
    let images = x.len() / x_block.max(1);
    for image in 0..images {
        let x = &x[image * x_block..][..x_block];
        let dy = &dy[(image * outputs + output) * output_plane * LANES..][..O * output_plane * LANES];
        for (input, count) in blocks(correlation.inputs) {
            let x = &x[(first_input + input) * input_plane * LANES..][..count * input_plane * LANES];
            for tap in 0..correlation.taps {
                // SAFETY: both slices hold the planes of their channels, and rows name pixels of the planes.
                unsafe {
                    match count {
                        CHANNELS => correlate_tap::<L, O, CHANNELS>(correlation, x, dy, input, tap, block),
                        2 => correlate_tap::<L, O, 2>(correlation, x, dy, input, tap, block),
                        _ => correlate_tap::<L, O, 1>(correlation, x, dy, input, tap, block),
                    }
                }
            }
        }
    }
}

/// One tap between `O` output and `I` input channels of one block of images.
///
/// # Safety
/// `x` and `dy` hold `I` and `O` planes.
#[inline(always)]
unsafe fn correlate_tap<L: Lanes, const O: usize, const I: usize>(
    correlation: &Correlation,
    x: &[f32],
    dy: &[f32],
    input: usize,
    tap: usize,
    block: &mut [f32],
) {
    let mut lanes = [[[0.0f32; LANES]; I]; O];
    // SAFETY: rows name pixels of the planes.
    unsafe {
        let mut sums = [[L::zero(); I]; O];
        for row in &correlation.rows[tap] {
            let x = x.as_ptr().add(row.input * LANES);
            let dy = dy.as_ptr().add(row.output * LANES);
            for pixel in 0..row.count {
                let x = x.add(pixel * correlation.input_step * LANES);
                let dy = dy.add(pixel * LANES);
                let x: [L; I] = core::array::from_fn(|i| L::load(x.add(i * correlation.input_plane * LANES)));
                for (o, sums) in sums.iter_mut().enumerate() {
                    let dy = L::load(dy.add(o * correlation.output_plane * LANES));
                    for (sum, &x) in sums.iter_mut().zip(&x) {
                        *sum = sum.add_product(dy, x);
                    }
                }
            }
        }
        for (lanes, sums) in lanes.iter_mut().zip(&sums) {
            for (lanes, sum) in lanes.iter_mut().zip(sums) {
                sum.store(lanes.as_mut_ptr());
            }
        }
    }
    let per_output = correlation.inputs * correlation.taps;
    for (o, lanes) in lanes.iter().enumerate() {
        for (i, lanes) in lanes.iter().enumerate() {
            block[o * per_output + (input + i) * correlation.taps + tap] += lane_sum(lanes);
        }
    }
}

/// The sum of all lanes, halving each time.
#[inline(always)]
fn lane_sum(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}
