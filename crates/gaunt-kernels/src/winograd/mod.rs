//! Convolution of three by three taps with fewer products: transformed tiles and kernels are multiplied point by point.
//!
//! Each tile of a map and each kernel becomes a number for each of a [`Scheme`]'s points (36 for tiles of 4 by 4 outputs); for
//! each point, the sum over channels is a [matrix product](crate::product). Images lie on the lanes, so transforms are
//! vertical. A task takes a few tiles from transform to transform, while they are in a near cache.
//!
//! The gradient of the input is the same with the kernel turned. The gradient of the weight multiplies transformed
//! gradients with transformed inputs, summed over tiles and images (the adjoint of the forward pass).

mod forward;
mod kernel;
mod scheme;
mod weight_gradient;

use crate::{
    conv::Kernel,
    geometry::{ConvGeometry, forward_runs},
    lanes::{LANES, Lanes},
};

pub(crate) use forward::{forward, input_gradient};
pub(crate) use weight_gradient::weight_gradient;

use scheme::{MOST, Pair, Quad, Scheme, Tile};

/// Channels below which direct convolution is taken: transforms would outweigh the products.
const CHANNELS: usize = 8;
/// Tiles that a task transforms together, for each kernel that it reads from a far cache.
const TILES: usize = 8;

/// The transforms that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Quad,
    Pair,
}

/// How the outputs of a convolution are cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    choice: Choice,
    input: [usize; 2],
    output: [usize; 2],
    /// Padding above and to the left.
    pads: [usize; 2],
    /// Tiles, down and across.
    tiles: [usize; 2],
}

/// A tile of a block of images.
#[derive(Clone, Copy, Debug)]
struct Place {
    block: usize,
    /// Row and column of the tile.
    tile: [usize; 2],
}

impl Tiling {
    /// For a convolution of maps of `input` pixels, if it can be cut and that pays.
    pub fn new(g: &ConvGeometry, kernel: Kernel, input: [usize; 2]) -> Option<Self> {
        let plain = g.stride == [1; 2] && g.dilation == [1; 2] && g.groups == 1 && kernel.size == [3; 2];
        let wide = kernel.inputs >= CHANNELS && kernel.outputs >= CHANNELS;
        if !plain || !wide || g.pads.iter().any(|&pad| pad > 2) {
            return None;
        }
        let output = g.output_size(input, kernel.size);
        let pads = [g.pads[0], g.pads[1]];
        if input == [2; 2] && g.pads == [1; 4] {
            return Some(Self { choice: Choice::Pair, input, output, pads, tiles: [1; 2] });
        }
        let tiles = output.map(|size| size.div_ceil(Quad::OUTPUTS));
        let products = tiles[0] * tiles[1] * Quad::POINTS * Quad::POINTS;
        let direct: usize = forward_runs(g, input, kernel.size).iter().map(|run| run.count * run.taps.len()).sum();
        // Transforms cost about as much as the products of sixteen channels.
        let transforms = products * 16 * (kernel.inputs + kernel.outputs) / (kernel.inputs * kernel.outputs);
        (products + transforms < direct).then_some(Self { choice: Choice::Quad, input, output, pads, tiles })
    }

    /// Of the convolution that gives the gradient of this one's input.
    fn turned(&self) -> Self {
        let tiles = match self.choice {
            Choice::Pair => self.tiles,
            Choice::Quad => self.input.map(|size| size.div_ceil(Quad::OUTPUTS)),
        };
        Self { input: self.output, output: self.input, pads: self.pads.map(|pad| 2 - pad), tiles, ..*self }
    }

    /// Products of a tile.
    fn points(&self) -> usize {
        match self.choice {
            Choice::Quad => Quad::POINTS * Quad::POINTS,
            Choice::Pair => Pair::POINTS * Pair::POINTS,
        }
    }

    fn places(&self, blocks: usize) -> Vec<Place> {
        let tiles = move |block| {
            let columns = self.tiles[1];
            (0..self.tiles[0]).flat_map(move |row| (0..columns).map(move |column| Place { block, tile: [row, column] }))
        };
        (0..blocks).flat_map(tiles).collect()
    }
}

/// Loads `count` by `count` pixels of a plane of `size` from `first` on; zero outside.
///
/// # Safety
/// The plane is readable, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn load_tile<L: Lanes>(plane: *const f32, size: [usize; 2], first: [isize; 2], count: usize) -> Tile<L> {
    let corner = plane.wrapping_offset((first[0] * size[1] as isize + first[1]) * LANES as isize);
    let inside = |axis: usize| first[axis] >= 0 && first[axis] + count as isize <= size[axis] as isize;
    let whole = inside(0) && inside(1);
    // SAFETY: as promised by the caller; only pixels of the plane are read.
    unsafe {
        let mut tile = [[L::zero(); MOST]; MOST];
        for (row, pixels) in tile.iter_mut().enumerate().take(count) {
            for (column, pixel) in pixels.iter_mut().enumerate().take(count) {
                let [y, x] = [first[0] + row as isize, first[1] + column as isize];
                if whole || (0..size[0] as isize).contains(&y) && (0..size[1] as isize).contains(&x) {
                    *pixel = L::load(corner.wrapping_add((row * size[1] + column) * LANES));
                }
            }
        }
        tile
    }
}
