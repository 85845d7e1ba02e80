//! Convolution by products of tiles of bfloat16, as processors with AMX have them.
//!
//! A tile is sixteen rows of sixteen words, each a [pair](crate::pairs). The [`Engine`] sums products of tiles into two by two
//! tiles of numbers, 32 rows by 32 columns, along [`Segment`]s of the operands. Forward, and for the gradient of the input, rows are
//! target channels and columns a pixel of sixteen images of two blocks; words are pairs of source channels. For the gradient of the
//! weight rows are output channels and columns input channels; words are pairs of images. Operands are [packed](pack) so that a tile
//! lies in a row. Where there are no such instructions the same is computed by a loop, which is how it is tested anywhere.

mod engine;
mod pack;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use self::{
    engine::{Engine, Extent, Operands, SUMS, Segment, Start, Sums},
    pack::Order,
};
use crate::{
    buffer::{Buffer, Scratch, Shared},
    conv::Kernel,
    correlation::tap_rows,
    gather::Gather,
    geometry::{ConvGeometry, Run, Tap, slices},
    lanes::{Isa, LANES},
};

#[cfg(target_arch = "x86_64")]
pub(crate) use engine::available;

/// Rows of a tile, and words of a row.
const SIDE: usize = LANES;
/// Rows and columns of the sums of a product: two tiles.
const WIDTH: usize = 2 * SIDE;
/// Words of a tile.
const TILE: usize = SIDE * SIDE;
/// Tasks that are aimed at. Fixed, so that nothing depends on the number of threads.
const TASKS: usize = 32;
/// Pixels whose sums are written together, since channels lie far apart.
const GROUP: usize = 4;
/// Pixels that make fetching and putting back the sums worth it.
const VISIT: usize = 32;

/// Tiles of a panel that begins at `first` of so many channels.
fn tiles(channels: usize, first: usize) -> usize {
    (channels - first).div_ceil(SIDE).min(2)
}

/// Weights of a sum over channels, whose taps lie side by side.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub numbers: &'a [f32],
    /// Numbers from a target to the next.
    pub target: usize,
    /// Numbers from a source to the next.
    pub source: usize,
}

/// A sum over channels: `from [B, C, plane, 16]` as the gather says.
pub(crate) fn gather(isa: Isa, gather: &Gather, from: &[f32], weights: Weights) -> Buffer {
    // Tiles of equal depth: the last would be nearly empty else.
    let chunks = gather.sources.div_ceil(2).div_ceil(SIDE);
    let depth = gather.sources.div_ceil(2).div_ceil(chunks);
    let blocks = from.len() / (gather.sources * gather.source_plane * LANES);
    let maps = pack::by_channels(isa, from, gather.sources, gather.source_plane, [chunks, depth]);
    let source_block = chunks * gather.source_plane * depth * LANES;
    let weights = pack::weights(isa, gather, weights, [chunks, depth]);
    let panel_weights = gather.taps * chunks * 2 * TILE;
    let segments: Vec<Vec<Segment>> = gather.runs.iter().map(|run| segments(run, [chunks, depth])).collect();
    let panels = gather.targets.div_ceil(WIDTH);
    let whole = (0..blocks).step_by(2).flat_map(|block| (0..panels).map(move |panel| (block, panel)));
    let parts = TASKS.div_ceil((blocks.div_ceil(2) * panels).max(1)).min(gather.runs.len());
    let tasks: Vec<_> = whole.flat_map(|task| slices(gather.runs.len(), parts).map(move |runs| (task, runs))).collect();
    let fill = |y: &mut [MaybeUninit<f32>]| {
        let y = Shared(y.as_mut_ptr().cast());
        tasks.into_par_iter().for_each(|((block, panel), runs)| {
            let weights = weights.as_ptr().wrapping_add(panel * panel_weights);
            let (first, plane) = (panel * WIDTH, gather.target_plane);
            let panel = Panel {
                extent: [tiles(gather.targets, first), 2.min(blocks - block)],
                // What the extent leaves out is not read, whatever its place.
                operands: Operands {
                    rows: [weights, weights.wrapping_add(TILE)],
                    row_step: 2 * TILE,
                    columns: [block, block + 1].map(|block| maps.as_ptr().wrapping_add(block * source_block)),
                    column_step: gather.source_plane * depth * LANES,
                },
                pixel: depth * LANES,
                to: [block, block + 1].map(|block| y.at((block * gather.targets + first) * plane * LANES)),
                channels: WIDTH.min(gather.targets - first),
                plane,
            };
            let engine = Engine::new(isa, depth);
            let mut sums = [Sums::default(); GROUP];
            for (run, segments) in gather.runs[runs.clone()].iter().zip(&segments[runs]) {
                // SAFETY: weights and maps have all tiles that taps name, and no other task has the runs of the panel.
                unsafe { panel.run(&engine, run, segments, &mut sums) };
            }
        });
    };
    // SAFETY: runs cover the plane, and panels the targets of each block.
    unsafe { Buffer::written(blocks * gather.targets * gather.target_plane * LANES, fill) }
}

/// What the first pixel of a run sums: the chunks of each tap.
fn segments(run: &Run, [chunks, depth]: [usize; 2]) -> Vec<Segment> {
    let segment =
        |tap: &Tap| Segment { rows: tap.weight * chunks * 2 * TILE, columns: tap.input * depth * LANES, count: chunks };
    run.taps.iter().map(segment).collect()
}

/// Target channels of two blocks of images.
struct Panel {
    extent: Extent,
    /// At the first pixel.
    operands: Operands,
    /// Words from a pixel of the source to the next.
    pixel: usize,
    /// The first channel in each block.
    to: [*mut f32; 2],
    channels: usize,
    /// Pixels from a channel to the next.
    plane: usize,
}

impl Panel {
    /// The pixels of a run, which uses the sums as room.
    ///
    /// # Safety
    /// The operands have what segments name at each pixel; the targets may be written in as many blocks as there are columns.
    unsafe fn run(&self, engine: &Engine, run: &Run, segments: &[Segment], sums: &mut [Sums; GROUP]) {
        for first in (0..run.count).step_by(GROUP) {
            let pixels = GROUP.min(run.count - first);
            for (pixel, sums) in (first..).zip(&mut sums[..pixels]) {
                let columns = self.operands.columns.map(|from| from.wrapping_add(pixel * run.input_step * self.pixel));
                let operands = Operands { columns, ..self.operands };
                // SAFETY: as promised by the caller.
                unsafe { engine.multiply(self.extent, &operands, segments, Start::Zero, sums) };
            }
            for (c, channel) in (0..self.extent[1]).flat_map(|c| (0..self.channels).map(move |channel| (c, channel))) {
                for (pixel, sums) in (first..).zip(&sums[..pixels]) {
                    let at = channel * self.plane + run.output + pixel * run.output_step;
                    let from = sums.row(channel, c).as_ptr();
                    // SAFETY: as promised by the caller.
                    unsafe { self.to[c].add(at * LANES).copy_from_nonoverlapping(from, LANES) };
                }
            }
        }
    }
}

/// Inputs `[B, C, plane, 16]` as the gradient of the weight takes them: `[ceil(B / 2), tile of channels, plane, 16, 16]` of pairs.
pub(crate) fn keep(isa: Isa, x: &[f32], channels: usize, plane: usize) -> Buffer {
    pack::by_blocks(isa, x, channels, plane, Order::Images)
}

/// Gradient of the weight, `[O, I, KH, KW]`, from inputs that were [kept](keep), and gradients of outputs as they are.
///
/// All taps pass over a few rows of pixels while these are in the cache; between such visits their sums are put aside.
pub(crate) fn weight_gradient(
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    kernel: Kernel,
    input: [usize; 2],
) -> Buffer {
    let [input_plane, output_plane] = [input, g.output_size(input, kernel.size)].map(|[height, width]| height * width);
    let rows = pack::by_blocks(isa, dy, kernel.outputs, output_plane, Order::Channels);
    let visits = visits(dy.len() / (kernel.outputs * output_plane * LANES), g, kernel, input);
    let panels: Vec<[usize; 2]> = (0..kernel.outputs)
        .step_by(WIDTH)
        .flat_map(|output| (0..kernel.inputs).step_by(WIDTH).map(move |input| [output, input]))
        .collect();
    let parts = TASKS.div_ceil(panels.len()).min(visits.len().max(1));
    let tasks: Vec<_> = panels.iter().flat_map(|&panel| (0..parts).map(move |part| (panel, part))).collect();
    let taps = kernel.taps();
    let mut room = Scratch::new(tasks.len() * taps * SUMS);
    let room = &mut room.uninit()[..tasks.len() * taps * SUMS];
    let sums = room.par_chunks_exact_mut(taps * SUMS).zip(&tasks).map(|(room, &([output, input], part))| {
        let tile = |operand: &[f32], channel: usize, plane: usize| {
            [0, 1].map(|tile| operand.as_ptr().wrapping_add((channel / SIDE + tile) * plane * TILE))
        };
        let operands = Operands {
            rows: tile(&rows, output, output_plane),
            row_step: TILE,
            columns: tile(x, input, input_plane),
            column_step: g.stride[1] * TILE,
        };
        let extent = [tiles(kernel.outputs, output), tiles(kernel.inputs, input)];
        let engine = Engine::new(isa, SIDE);
        let sums = Sums::zeros(room);
        for visit in &visits[visits.len() * part / parts..visits.len() * (part + 1) / parts] {
            for (segments, sums) in visit.iter().zip(&mut *sums) {
                // SAFETY: both operands have the extent's tiles, and segments name pixels of both planes.
                unsafe { engine.multiply(extent, &operands, segments, Start::Sums, sums) };
            }
        }
        &*sums
    });
    let sums: Vec<&[Sums]> = sums.collect();
    let mut gradient = Buffer::zeros(kernel.len());
    let panels = sums.chunks_exact((parts * kernel.inputs.div_ceil(WIDTH)).max(1));
    gradient.par_chunks_mut(WIDTH * kernel.inputs * taps).zip(panels.collect::<Vec<_>>()).for_each(|(rows, panels)| {
        for (output, row) in rows.chunks_exact_mut(kernel.inputs * taps).enumerate() {
            for (columns, parts) in row.chunks_mut(WIDTH * taps).zip(panels.chunks_exact(parts)) {
                for (tap, sums) in (0..taps).flat_map(|tap| parts.iter().map(move |sums| (tap, &sums[tap]))) {
                    let sums = [0, 1].into_iter().flat_map(|tile| sums.row(output, tile));
                    columns[tap..].iter_mut().step_by(taps).zip(sums).for_each(|(to, sum)| *to += sum);
                }
            }
        }
    });
    gradient
}

/// For a few rows of output pixels at a time, the segments of each tap.
fn visits(blocks: usize, g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Vec<Vec<Vec<Segment>>> {
    let output = g.output_size(input, kernel.size);
    let taps = tap_rows(g, input, kernel.size);
    let pairs = blocks.div_ceil(2);
    let row_block = kernel.outputs.div_ceil(SIDE) * output[0] * output[1] * TILE;
    let column_block = kernel.inputs.div_ceil(SIDE) * input[0] * input[1] * TILE;
    let mut visits = vec![vec![Vec::new(); taps.len()]; (pairs * output[0]).div_ceil(VISIT.div_ceil(output[1]))];
    for pair in 0..pairs {
        for (tap, row) in taps.iter().enumerate().flat_map(|(tap, rows)| rows.iter().map(move |row| (tap, row))) {
            let visit = (pair * output[0] + row.output / output[1]) / VISIT.div_ceil(output[1]);
            visits[visit][tap].push(Segment {
                rows: pair * row_block + row.output * TILE,
                columns: pair * column_block + row.input * TILE,
                count: row.count,
            });
        }
    }
    visits
}
