//! Maps and weights as tiles of bfloat16, each of which lies in a row: a tile that is read from as many pages as it has rows waits
//! for each.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{SIDE, TILE, WIDTH, Weights};
use crate::{
    buffer::{Buffer, Scratch},
    gather::Gather,
    lanes::{Isa, LANES, Lanes, dispatch, numbers},
};

/// How the words of a tile lie whose rows come from channels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// A row for each channel, with images along it.
    Channels,
    /// A row for each image, with channels along it.
    Images,
}

/// Maps `[B, C, plane, 16]` with channels in pairs, `[B, chunk, plane, pair of the chunk, 16]`; what has no partner is paired with
/// zeros.
pub(super) fn by_channels(isa: Isa, x: &[f32], channels: usize, plane: usize, [chunks, depth]: [usize; 2]) -> Scratch {
    let maps = Maps { x, channels, plane };
    let len = maps.blocks() * chunks * plane * depth * LANES;
    let mut room = Scratch::new(len);
    room.uninit()[..len].par_chunks_exact_mut(plane * depth * LANES).enumerate().for_each(|(index, to)| {
        let (block, chunk) = (index / chunks, index % chunks);
        let lines: Vec<[Line; 2]> = (chunk * depth..(chunk + 1) * depth)
            .map(|pair| [maps.line(block, 2 * pair), maps.line(block, 2 * pair + 1)])
            .collect();
        let (lines, order) = (lines.as_slice(), Order::Channels);
        dispatch!(isa, pack(lines: &[[Line; 2]], order: Order, to: &mut [MaybeUninit<f32>]));
    });
    room
}

/// Maps `[B, C, plane, 16]` with blocks in pairs, `[ceil(B / 2), tile of channels, plane, 16, 16]`; zero where there is no such block or
/// channel.
pub(super) fn by_blocks(isa: Isa, x: &[f32], channels: usize, plane: usize, order: Order) -> Buffer {
    let maps = Maps { x, channels, plane };
    let (blocks, tiles) = (maps.blocks(), channels.div_ceil(SIDE));
    let fill = |to: &mut [MaybeUninit<f32>]| {
        to.par_chunks_exact_mut(plane * TILE).enumerate().for_each(|(index, to)| {
            let (block, first) = (index / tiles * 2, index % tiles * SIDE);
            let lines: [[Line; 2]; SIDE] =
                std::array::from_fn(|row| [block, block + 1].map(|block| maps.line(block, first + row)));
            let lines = &lines;
            dispatch!(isa, pack(lines: &[[Line; 2]], order: Order, to: &mut [MaybeUninit<f32>]));
        });
    };
    // SAFETY: every pixel of every tile is written.
    unsafe { Buffer::written(blocks.div_ceil(2) * tiles * plane * TILE, fill) }
}

/// Maps `[B, C, plane, 16]`.
struct Maps<'a> {
    x: &'a [f32],
    channels: usize,
    plane: usize,
}

/// The pixels of a channel, or as many zeros.
#[derive(Clone, Copy)]
struct Line {
    from: *const f32,
    /// Numbers from a pixel to the next.
    step: usize,
}

/// A pixel of a channel that is not there.
static ZEROS: [f32; LANES] = [0.0; LANES];

impl Maps<'_> {
    fn blocks(&self) -> usize {
        self.x.len() / (self.channels * self.plane * LANES)
    }

    fn line(&self, block: usize, channel: usize) -> Line {
        if block < self.blocks() && channel < self.channels {
            let from = self.x[(block * self.channels + channel) * self.plane * LANES..].as_ptr();
            Line { from, step: LANES }
        } else {
            Line { from: ZEROS.as_ptr(), step: 0 }
        }
    }
}

/// Pixels of a channel that are read in a row: as many streams as a tile has rows would be too many.
const BLOCK: usize = 16;

/// # Safety
/// `to` has as many vectors for each pixel as there are lines, which are sixteen if images come first; lines have as many
/// pixels. The instructions of `L` are enabled.
#[inline(always)]
unsafe fn pack<L: Lanes>(lines: &[[Line; 2]], order: Order, to: &mut [MaybeUninit<f32>]) {
    let mut room = [MaybeUninit::<f32>::uninit(); BLOCK * TILE];
    let pixel = lines.len() * LANES;
    for (first, to) in to.chunks_mut(BLOCK * pixel).enumerate().map(|(block, to)| (block * BLOCK, to)) {
        let pixels = to.len() / pixel;
        let to = to.as_mut_ptr().cast::<f32>();
        let rows = if order == Order::Channels { to } else { room.as_mut_ptr().cast() };
        for (row, &[low, high]) in lines.iter().enumerate() {
            for at in 0..pixels {
                // SAFETY: as promised by the caller.
                unsafe {
                    let even = L::load(low.from.add((first + at) * low.step)).round();
                    let odd = L::load(high.from.add((first + at) * high.step)).round();
                    even.pair(odd).store(rows.add(at * pixel + row * LANES));
                }
            }
        }
        if order == Order::Images {
            for at in 0..pixels {
                // SAFETY: both are squares of sixteen vectors.
                unsafe { L::transpose(rows.add(at * TILE), LANES, to.add(at * TILE)) }
            }
        }
    }
}

/// Weights `[panel][tap][chunk][row tile]` of tiles, rows of which are targets and words pairs of sources.
pub(super) fn weights(isa: Isa, gather: &Gather, weights: Weights, [chunks, depth]: [usize; 2]) -> Scratch {
    let panel_len = gather.taps * chunks * 2 * TILE;
    let len = gather.targets.div_ceil(WIDTH) * panel_len;
    let mut packed = Scratch::new(len);
    packed.uninit()[..len].par_chunks_exact_mut(panel_len).enumerate().for_each(|(panel, to)| {
        to.fill(MaybeUninit::new(0.0));
        let rows = panel * WIDTH..gather.targets.min((panel + 1) * WIDTH);
        let weights = &weights;
        dispatch!(isa, pack_panel(gather: &Gather, weights: &Weights, depth: usize, rows: Range<usize>,
            to: &mut [MaybeUninit<f32>]));
    });
    packed
}

/// The targets of a panel. Taps are paired side by side; words come last, so that what is written stays in the nearest cache.
///
/// # Safety
/// The instructions of `L` are enabled.
#[inline(always)]
unsafe fn pack_panel<L: Lanes>(
    gather: &Gather,
    weights: &Weights,
    depth: usize,
    rows: Range<usize>,
    to: &mut [MaybeUninit<f32>],
) {
    let tap_len = to.len() / gather.taps;
    for first in (0..gather.sources).step_by(2) {
        let (chunk, word) = (first / 2 / depth, first / 2 % depth);
        for (row, target) in rows.clone().enumerate() {
            for tap in (0..gather.taps).step_by(LANES) {
                let taps = LANES.min(gather.taps - tap);
                let at = target * weights.target + first * weights.source + tap;
                // SAFETY: as promised by the caller.
                let words = unsafe {
                    let low = load_some::<L>(&weights.numbers[at..], taps).round();
                    let odd = first + 1 < gather.sources;
                    let high = if odd {
                        load_some::<L>(&weights.numbers[at + weights.source..], taps).round()
                    } else {
                        L::zero()
                    };
                    numbers(low.pair(high))
                };
                let to = &mut to[tap * tap_len + (chunk * WIDTH + row) * SIDE + word..];
                for (to, &word) in to.iter_mut().step_by(tap_len).zip(&words[..taps]) {
                    to.write(word);
                }
            }
        }
    }
}

/// A vector that begins with `count` numbers; others are whatever follows, or zero.
///
/// # Safety
/// As for the methods of [`Lanes`].
#[inline(always)]
unsafe fn load_some<L: Lanes>(numbers: &[f32], count: usize) -> L {
    let mut padded = [0.0; LANES];
    let from = if numbers.len() >= LANES {
        numbers.as_ptr()
    } else {
        padded[..count].copy_from_slice(&numbers[..count]);
        padded.as_ptr()
    };
    // SAFETY: as promised by the caller; there are as many numbers as lanes.
    unsafe { L::load(from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pairs::pair, tests::noise};

    #[test]
    fn tiles_hold_pairs_and_zeros() {
        for isa in Isa::available() {
            for (blocks, channels, plane) in [(1, 1, 1), (3, 17, 5), (2, 16, 9)] {
                let x = noise(1, blocks * channels * plane * LANES);
                let number = |block: usize, channel: usize, pixel: usize, image: usize| {
                    let inside = block < blocks && channel < channels;
                    if inside { x[((block * channels + channel) * plane + pixel) * LANES + image] } else { 0.0 }
                };
                let [chunks, depth] = [2, 5];
                let tiles = by_channels(isa, &x, channels, plane, [chunks, depth]);
                let blocked = [Order::Channels, Order::Images].map(|order| by_blocks(isa, &x, channels, plane, order));
                for at in 0..blocks * chunks * plane * depth * LANES {
                    let (image, pair_of, pixel) = (at % LANES, at / LANES % depth, at / LANES / depth % plane);
                    let (chunk, block) = (at / (plane * depth * LANES) % chunks, at / (chunks * plane * depth * LANES));
                    let channel = 2 * (chunk * depth + pair_of);
                    let expected = pair(number(block, channel, pixel, image), number(block, channel + 1, pixel, image));
                    // SAFETY: that many words were written.
                    let word = unsafe { *tiles.as_ptr().add(at) };
                    assert_eq!(word.to_bits(), expected.to_bits(), "{isa:?}");
                }
                for (at, words) in blocked[0].iter().zip(blocked[1].chunks_exact(TILE).flat_map(turned)).enumerate() {
                    let (image, row, pixel) = (at % SIDE, at / SIDE % SIDE, at / TILE % plane);
                    let tile = at / TILE / plane;
                    let (block, channel) =
                        (tile / channels.div_ceil(SIDE) * 2, tile % channels.div_ceil(SIDE) * SIDE + row);
                    let expected = pair(number(block, channel, pixel, image), number(block + 1, channel, pixel, image));
                    assert_eq!([words.0.to_bits(), words.1.to_bits()], [expected.to_bits(); 2], "{isa:?}");
                }
            }
        }
    }

    /// A square with rows and columns exchanged.
    fn turned(square: &[f32]) -> Vec<f32> {
        (0..TILE).map(|at| square[at % SIDE * SIDE + at / SIDE]).collect()
    }
}
