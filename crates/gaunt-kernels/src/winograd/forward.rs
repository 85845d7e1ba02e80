//! Forward pass and gradient of the input.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    Choice, Place, TILES, Tiling,
    kernel::Rows,
    load_tile,
    scheme::{MOST, Pair, Quad, Scheme, Tile, both_axes},
};
use crate::{
    buffer::{Buffer, Scratch, Shared},
    conv::Kernel,
    geometry::slices,
    lanes::{Isa, LANES, Lanes, dispatch},
    product::{Operands, Product},
};

/// Tasks that are aimed at, by cutting the output channels if there are few tiles. Fixed, as all that decides about sums.
const TASKS: usize = 8;
/// The most cuts of the output channels: each transforms all inputs again.
const CUTS: usize = 4;

/// `y = x * w`.
pub(crate) fn forward(isa: Isa, tiling: &Tiling, x: &[f32], w: &[f32], kernel: Kernel) -> Buffer {
    let rows =
        Rows { rows: kernel.outputs, depth: kernel.inputs, row_step: kernel.inputs, term_step: 1, turned: false };
    Correlation { isa, tiling: *tiling, rows }.run(x, w)
}

/// Gradient of `x` from that of `y`.
pub(crate) fn input_gradient(isa: Isa, tiling: &Tiling, dy: &[f32], w: &[f32], kernel: Kernel) -> Buffer {
    let rows = Rows { rows: kernel.inputs, depth: kernel.outputs, row_step: 1, term_step: kernel.inputs, turned: true };
    Correlation { isa, tiling: tiling.turned(), rows }.run(dy, w)
}

/// Maps with `rows.depth` channels in, with `rows.rows` channels out.
struct Correlation {
    isa: Isa,
    tiling: Tiling,
    rows: Rows,
}

/// Some tiles of some output channels.
struct Task<'a> {
    places: &'a [Place],
    channels: Range<usize>,
}

impl Correlation {
    fn run(&self, x: &[f32], w: &[f32]) -> Buffer {
        let [input, output] = [self.tiling.input, self.tiling.output].map(|[height, width]| height * width);
        let blocks = x.len() / (self.rows.depth * input * LANES);
        let kernels = self.rows.transform(self.isa, &self.tiling, w);
        let places = self.tiling.places(blocks);
        let groups = places.len().div_ceil(TILES);
        let cuts = TASKS.div_ceil(groups.max(1)).min(CUTS);
        let tasks = places
            .chunks(TILES)
            .flat_map(|places| slices(self.rows.rows, cuts).map(move |channels| Task { places, channels }));
        let tasks: Vec<Task> = tasks.collect();
        let fill = |y: &mut [MaybeUninit<f32>]| {
            let y = Shared(y.as_mut_ptr().cast::<f32>());
            tasks.par_iter().for_each(|task| {
                let (this, kernels, y) = (self, kernels.as_ptr(), y.at(0));
                dispatch!(self.isa, run_task(this: &Correlation, task: &Task, x: &[f32], kernels: *const f32, y: *mut f32));
            });
        };
        // SAFETY: tiles cover the planes, and tasks all tiles and channels.
        unsafe { Buffer::written(blocks * self.rows.rows * output * LANES, fill) }
    }
}

/// # Safety
/// The instructions of `L` are enabled; kernels and outputs have the sizes that the correlation implies, and nobody else
/// writes the task's outputs.
#[inline(always)]
unsafe fn run_task<L: Lanes>(correlation: &Correlation, task: &Task, x: &[f32], kernels: *const f32, y: *mut f32) {
    // SAFETY: as promised by the caller.
    unsafe {
        match correlation.tiling.choice {
            Choice::Quad => run_with::<L, Quad>(correlation, task, x, kernels, y),
            Choice::Pair => run_with::<L, Pair>(correlation, task, x, kernels, y),
        }
    }
}

/// # Safety
/// As [`run_task`].
#[inline(always)]
unsafe fn run_with<L: Lanes, S: Scheme>(
    correlation: &Correlation,
    task: &Task,
    x: &[f32],
    kernels: *const f32,
    y: *mut f32,
) {
    let Correlation { isa, tiling, rows } = correlation;
    let (tiles, channels) = (task.places.len(), task.channels.len());
    // A line more, so that the points of a tile fall into different sets of the cache.
    let (from_plane, to_plane) = ((tiles * rows.depth + 1) * LANES, (tiles * channels + 1) * LANES);
    let inputs = Scratch::new(tiling.points() * from_plane);
    let outputs = Scratch::new(tiling.points() * to_plane);
    let product = Product {
        rows: channels,
        columns: tiles,
        depth: rows.depth,
        row_pitch: rows.pitch(),
        column_pitch: rows.depth * LANES,
        to_row: LANES,
        to_column: channels * LANES,
        add: false,
    };
    // SAFETY: as promised by the caller; the scratch has room for all points of all tiles.
    unsafe {
        transform_inputs::<L, S>(tiling, task.places, rows.depth, x, inputs.as_mut_ptr(), from_plane);
        for point in 0..tiling.points() {
            let first = (point * rows.rows + task.channels.start) * rows.pitch();
            let operands = Operands {
                rows: kernels.add(first),
                columns: inputs.as_ptr().add(point * from_plane),
                to: outputs.as_mut_ptr().add(point * to_plane),
            };
            product.run(*isa, operands);
        }
        let plane = tiling.output[0] * tiling.output[1] * LANES;
        for (index, place) in task.places.iter().enumerate() {
            for (offset, channel) in task.channels.clone().enumerate() {
                let from = outputs.as_ptr().add((index * channels + offset) * LANES);
                let to = y.add((place.block * rows.rows + channel) * plane);
                transform_output::<L, S>(tiling, place, from, to_plane, to);
            }
        }
    }
}

/// Every channel of every tile to points, `[point][tile][channel]`, the points `pitch` apart.
///
/// # Safety
/// As [`run_task`], and there is room.
#[inline(always)]
unsafe fn transform_inputs<L: Lanes, S: Scheme>(
    tiling: &Tiling,
    places: &[Place],
    channels: usize,
    x: &[f32],
    to: *mut f32,
    pitch: usize,
) {
    let plane = tiling.input[0] * tiling.input[1] * LANES;
    for (index, place) in places.iter().enumerate() {
        for channel in 0..channels {
            let from = x[(place.block * channels + channel) * plane..][..plane].as_ptr();
            // SAFETY: as promised by the caller.
            unsafe {
                let to = to.add((index * channels + channel) * LANES);
                store_points::<L, S>(&input_points::<L, S>(tiling, place, from), to, pitch);
            }
        }
    }
}

/// The points of one channel of a tile.
///
/// # Safety
/// `plane` is a plane of the input, and the instructions of `L` are enabled.
#[inline(always)]
pub(super) unsafe fn input_points<L: Lanes, S: Scheme>(tiling: &Tiling, place: &Place, plane: *const f32) -> Tile<L> {
    let first = |axis: usize| (place.tile[axis] * S::OUTPUTS + S::LEAD) as isize - tiling.pads[axis] as isize;
    // SAFETY: as promised by the caller.
    unsafe {
        let tile = load_tile::<L>(plane, tiling.input, [first(0), first(1)], S::INPUTS);
        both_axes::<L, S::Input>(&tile)
    }
}

/// # Safety
/// There is room for a vector at each multiple of `pitch`, one for each point.
#[inline(always)]
pub(super) unsafe fn store_points<L: Lanes, S: Scheme>(points: &Tile<L>, to: *mut f32, pitch: usize) {
    for (row, points) in points.iter().enumerate().take(S::POINTS) {
        for (column, point) in points.iter().enumerate().take(S::POINTS) {
            // SAFETY: as promised by the caller.
            unsafe { point.store(to.add((row * S::POINTS + column) * pitch)) };
        }
    }
}

/// The points of one channel of a tile to pixels of its plane.
///
/// # Safety
/// There is a vector at each multiple of `pitch`, one for each point, and `plane` may be written.
#[inline(always)]
unsafe fn transform_output<L: Lanes, S: Scheme>(
    tiling: &Tiling,
    place: &Place,
    from: *const f32,
    pitch: usize,
    plane: *mut f32,
) {
    // SAFETY: as promised by the caller; only pixels of the plane are written.
    unsafe {
        let mut points: Tile<L> = [[L::zero(); MOST]; MOST];
        for (row, points) in points.iter_mut().enumerate().take(S::POINTS) {
            for (column, point) in points.iter_mut().enumerate().take(S::POINTS) {
                *point = L::load(from.add((row * S::POINTS + column) * pitch));
            }
        }
        let pixels = both_axes::<L, S::Output>(&points);
        let [first_row, first_column] = place.tile.map(|tile| tile * S::OUTPUTS);
        let rows = S::OUTPUTS.min(tiling.output[0] - first_row);
        let columns = S::OUTPUTS.min(tiling.output[1] - first_column);
        for (row, pixels) in pixels.iter().enumerate().take(rows) {
            for (column, pixel) in pixels.iter().enumerate().take(columns) {
                pixel.store(plane.add(((first_row + row) * tiling.output[1] + first_column + column) * LANES));
            }
        }
    }
}
