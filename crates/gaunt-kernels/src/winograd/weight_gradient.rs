//! Gradient of the weight: for each point, gradients of outputs times inputs, summed over tiles and images.
//!
//! Inputs are turned so that channels lie on the lanes; then images are terms of the sums, and no lanes are left to add up.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Choice, Place, TILES, Tiling,
    forward::{input_points, store_points},
    kernel::{TAPS, Taps, gather_taps},
    load_tile,
    scheme::{Pair, Quad, Scheme, both_axes},
};
use crate::{
    buffer::{Buffer, Scratch},
    conv::Kernel,
    geometry::slices,
    lanes::{Isa, LANES, Lanes, dispatch},
    product::{Operands, Product},
};

/// Maps, and the gradients of what the convolution makes of them.
struct Pass<'a> {
    isa: Isa,
    tiling: Tiling,
    kernel: Kernel,
    x: &'a [f32],
    dy: &'a [f32],
}

/// A part of the tiles, for some output channels and some blocks of input channels.
struct Task<'a> {
    places: &'a [Place],
    outputs: Range<usize>,
    /// Blocks of [`LANES`] input channels.
    inputs: Range<usize>,
}

/// How the work is cut: parts of the batch are summed apart, which costs memory; cuts of channels transform tiles again.
struct Cuts {
    parts: usize,
    outputs: usize,
    inputs: usize,
}

impl Cuts {
    /// By size alone, so that sums are the same for any number of threads.
    fn of(kernel: Kernel) -> Self {
        match kernel.outputs * kernel.inputs {
            0..=0x4000 => Self { parts: 8, outputs: 1, inputs: 1 },
            0x4001..=0x1_0000 => Self { parts: 2, outputs: 1, inputs: 2 },
            _ => Self { parts: 1, outputs: 2, inputs: 4 },
        }
    }
}

/// The gradient `[O, I, 3, 3]`.
pub(crate) fn weight_gradient(isa: Isa, tiling: &Tiling, x: &[f32], dy: &[f32], kernel: Kernel) -> Buffer {
    let pass = Pass { isa, tiling: *tiling, kernel, x, dy };
    let places = tiling.places(x.len() / pass.input_block().max(1));
    let mut gradient = Buffer::zeros(kernel.len());
    if places.is_empty() {
        return gradient;
    }
    let Cuts { parts, outputs, inputs } = Cuts::of(kernel);
    let input_blocks = kernel.inputs.div_ceil(LANES);
    let (outputs, inputs) = (outputs.min(kernel.outputs), inputs.min(input_blocks));
    let part = places.len().div_ceil(parts).next_multiple_of(TILES);
    let mut tasks = Vec::new();
    for (outputs, inputs) in
        slices(kernel.outputs, outputs).flat_map(|o| slices(input_blocks, inputs).map(move |i| (o.clone(), i)))
    {
        let parts = places.chunks(part);
        tasks.extend(parts.map(|places| Task { places, outputs: outputs.clone(), inputs: inputs.clone() }));
    }
    let sums: Vec<Scratch> = tasks
        .par_iter()
        .map(|task| {
            let pass = &pass;
            dispatch!(isa, sum_task(pass: &Pass, task: &Task) -> Scratch)
        })
        .collect();
    let rows = gradient.par_chunks_exact_mut(kernel.inputs * TAPS).enumerate();
    rows.for_each(|(output, row)| pass.collect(&tasks, &sums, output, row));
    gradient
}

impl Pass<'_> {
    /// Numbers of a block of images.
    fn input_block(&self) -> usize {
        self.kernel.inputs * self.tiling.input[0] * self.tiling.input[1] * LANES
    }

    /// Adds up the parts of one output channel, in order, and turns points into taps.
    fn collect(&self, tasks: &[Task], sums: &[Scratch], output: usize, row: &mut [f32]) {
        for block in 0..self.kernel.inputs.div_ceil(LANES) {
            let mut plane = 0;
            let of_block = tasks
                .iter()
                .zip(sums)
                .filter(|(task, _)| task.outputs.contains(&output) && task.inputs.contains(&block));
            let parts: Vec<*const f32> = of_block
                .map(|(task, sums)| {
                    plane = task.plane();
                    let at = (output - task.outputs.start) * task.inputs.len() + block - task.inputs.start;
                    sums.as_ptr().wrapping_add(at * LANES)
                })
                .collect();
            let (choice, parts) = (self.tiling.choice, &parts[..]);
            let taps = dispatch!(self.isa, gather_taps(choice: Choice, parts: &[*const f32], plane: usize) -> Taps);
            for (lane, kernel) in row[block * LANES * TAPS..].chunks_exact_mut(TAPS).take(LANES).enumerate() {
                kernel.iter_mut().zip(&taps).for_each(|(to, tap)| *to = tap[lane]);
            }
        }
    }
}

impl Task<'_> {
    /// Numbers of a point in the sums `[point][output][input]`.
    fn plane(&self) -> usize {
        self.outputs.len() * self.inputs.len() * LANES
    }
}

/// # Safety
/// The instructions of `L` are enabled; the task lies inside the pass.
#[inline(always)]
unsafe fn sum_task<L: Lanes>(pass: &Pass, task: &Task) -> Scratch {
    // SAFETY: as promised by the caller.
    unsafe {
        match pass.tiling.choice {
            Choice::Quad => sum_with::<L, Quad>(pass, task),
            Choice::Pair => sum_with::<L, Pair>(pass, task),
        }
    }
}

/// # Safety
/// As [`sum_task`].
#[inline(always)]
unsafe fn sum_with<L: Lanes, S: Scheme>(pass: &Pass, task: &Task) -> Scratch {
    let points = pass.tiling.points();
    let (rows, columns) = (task.outputs.len(), task.inputs.len());
    let sums = Scratch::new(points * task.plane());
    // A line more, so that the points of a tile fall into different sets of the cache.
    let (input_plane, output_plane) = ((columns * LANES * TILES + 1) * LANES, (rows * TILES + 1) * LANES);
    let inputs = Scratch::new(points * input_plane);
    let outputs = Scratch::new(points * output_plane);
    let turning = Scratch::new(points * LANES * LANES);
    for (group, places) in task.places.chunks(TILES).enumerate() {
        let depth = places.len() * LANES;
        let product = Product {
            rows,
            columns,
            depth,
            row_pitch: depth,
            column_pitch: depth * LANES,
            to_row: columns * LANES,
            to_column: LANES,
            add: group > 0,
        };
        // SAFETY: as promised by the caller; the scratch has room for all points of all tiles.
        unsafe {
            turn_inputs::<L, S>(pass, task, places, turning.as_mut_ptr(), inputs.as_mut_ptr(), input_plane);
            transform_gradients::<L, S>(pass, task, places, outputs.as_mut_ptr(), output_plane);
            for point in 0..points {
                let operands = Operands {
                    rows: outputs.as_ptr().add(point * output_plane),
                    columns: inputs.as_ptr().add(point * input_plane),
                    to: sums.as_mut_ptr().add(point * task.plane()),
                };
                product.run(pass.isa, operands);
            }
        }
    }
    sums
}

/// Inputs as points, channels on the lanes: `[point][block of channels][tile][image][channel]`.
///
/// # Safety
/// As [`sum_task`]; `turning` has room for all points of one tile of sixteen channels, `to` for all.
#[inline(always)]
unsafe fn turn_inputs<L: Lanes, S: Scheme>(
    pass: &Pass,
    task: &Task,
    places: &[Place],
    turning: *mut f32,
    to: *mut f32,
    pitch: usize,
) {
    let (tiling, channels) = (&pass.tiling, pass.kernel.inputs);
    let plane = tiling.input[0] * tiling.input[1] * LANES;
    for (column, block) in task.inputs.clone().enumerate() {
        for (index, place) in places.iter().enumerate() {
            // SAFETY: as promised by the caller.
            unsafe {
                for lane in 0..LANES {
                    let (channel, to) = (block * LANES + lane, turning.add(lane * LANES));
                    let points = if channel < channels {
                        let from = pass.x[(place.block * channels + channel) * plane..][..plane].as_ptr();
                        input_points::<L, S>(tiling, place, from)
                    } else {
                        [[L::zero(); _]; _]
                    };
                    store_points::<L, S>(&points, to, LANES * LANES);
                }
                for point in 0..tiling.points() {
                    let to = to.add(point * pitch + (column * places.len() + index) * LANES * LANES);
                    L::transpose(turning.add(point * LANES * LANES), LANES, to);
                }
            }
        }
    }
}

/// Gradients of outputs as points: `[point][output][tile][image]`.
///
/// # Safety
/// As [`sum_task`]; `to` has room.
#[inline(always)]
unsafe fn transform_gradients<L: Lanes, S: Scheme>(
    pass: &Pass,
    task: &Task,
    places: &[Place],
    to: *mut f32,
    pitch: usize,
) {
    let (tiling, channels) = (&pass.tiling, pass.kernel.outputs);
    let plane = tiling.output[0] * tiling.output[1] * LANES;
    for (row, channel) in task.outputs.clone().enumerate() {
        for (index, place) in places.iter().enumerate() {
            let from = pass.dy[(place.block * channels + channel) * plane..][..plane].as_ptr();
            let first = place.tile.map(|tile| (tile * S::OUTPUTS) as isize);
            // SAFETY: as promised by the caller.
            unsafe {
                let tile = load_tile::<L>(from, tiling.output, first, S::OUTPUTS);
                let points = both_axes::<L, S::OutputAdjoint>(&tile);
                store_points::<L, S>(&points, to.add((row * places.len() + index) * LANES), pitch);
            }
        }
    }
}
