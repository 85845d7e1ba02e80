//! Convolution of one tap, which is a matrix product over channels for every pixel.
//!
//! A task takes a few neighbouring pixels of a block of images through all channels; they lie in a near cache meanwhile.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use crate::{
    buffer::{Buffer, Scratch, Shared},
    conv::Kernel,
    geometry::ConvGeometry,
    lanes::{Isa, LANES, Lanes, dispatch},
    product::{Operands, Product},
};

/// Pixels that are taken together.
const PIXELS: usize = 16;
/// Parts of the batch whose gradients of the weight are summed apart. Fixed, as all that decides about sums.
const PARTS: usize = 8;

/// Whether a convolution is of one tap at every pixel.
pub(crate) fn applies(g: &ConvGeometry, kernel: Kernel) -> bool {
    kernel.size == [1; 2] && g.stride == [1; 2] && g.pads == [0; 4] && g.groups == 1
}

/// Neighbouring pixels of a block of images.
#[derive(Clone)]
struct Place {
    block: usize,
    pixels: Range<usize>,
}

fn places(blocks: usize, plane: usize) -> Vec<Place> {
    let of_block = |block| {
        let firsts = (0..plane).step_by(PIXELS);
        firsts.map(move |first| Place { block, pixels: first..plane.min(first + PIXELS) })
    };
    (0..blocks).flat_map(of_block).collect()
}

/// `y = x * w`, in planes of `plane` pixels.
pub(crate) fn forward(isa: Isa, x: &[f32], w: &[f32], kernel: Kernel, plane: usize) -> Buffer {
    mix(isa, x, w, [kernel.outputs, kernel.inputs], plane)
}

/// Gradient of `x` from that of `y`.
pub(crate) fn input_gradient(isa: Isa, dy: &[f32], w: &[f32], kernel: Kernel, plane: usize) -> Buffer {
    let Kernel { outputs, inputs, .. } = kernel;
    let turned: Vec<f32> = (0..inputs).flat_map(|i| (0..outputs).map(move |o| w[o * inputs + i])).collect();
    mix(isa, dy, &turned, [inputs, outputs], plane)
}

/// Maps of `targets` channels from those of `sources`, by a matrix `[targets, sources]`.
fn mix(isa: Isa, x: &[f32], matrix: &[f32], [targets, sources]: [usize; 2], plane: usize) -> Buffer {
    let blocks = x.len() / (sources * plane * LANES);
    let fill = |y: &mut [MaybeUninit<f32>]| {
        let y = Shared(y.as_mut_ptr().cast::<f32>());
        places(blocks, plane).into_par_iter().for_each(|place| {
            let product = Product {
                rows: targets,
                columns: place.pixels.len(),
                depth: sources,
                row_pitch: sources,
                // A line more, so that pixels fall into different sets of the cache.
                column_pitch: (sources + 1) * LANES,
                to_row: (place.pixels.len() + 1) * LANES,
                to_column: LANES,
                add: false,
            };
            let columns = Scratch::new(product.columns * product.column_pitch);
            let sums = Scratch::new(product.rows * product.to_row);
            let (place, product, to) = (&place, &product, columns.as_mut_ptr());
            let from = &x[place.block * sources * plane * LANES..][..sources * plane * LANES];
            dispatch!(isa, pack(place: &Place, from: &[f32], plane: usize, product: &Product, to: *mut f32));
            // SAFETY: the scratch has room for the product's columns and sums, and no other task has this place.
            unsafe {
                let operands = Operands { rows: matrix.as_ptr(), columns: to, to: sums.as_mut_ptr() };
                product.run(isa, operands);
                for target in 0..targets {
                    let to = y.at(((place.block * targets + target) * plane + place.pixels.start) * LANES);
                    let from = sums.as_ptr().add(target * product.to_row);
                    to.copy_from_nonoverlapping(from, product.columns * LANES);
                }
            }
        });
    };
    // SAFETY: places cover the planes, and each task writes all channels of one.
    unsafe { Buffer::written(blocks * targets * plane * LANES, fill) }
}

/// Gathers each pixel's channels as a column of the product.
///
/// # Safety
/// `to` has room for the columns, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn pack<L: Lanes>(place: &Place, from: &[f32], plane: usize, product: &Product, to: *mut f32) {
    for (channel, from) in from.chunks_exact(plane * LANES).enumerate() {
        let pixels = from[place.pixels.start * LANES..place.pixels.end * LANES].chunks_exact(LANES);
        for (pixel, from) in pixels.enumerate() {
            // SAFETY: as promised by the caller; each chunk is a vector.
            unsafe { L::load(from.as_ptr()).store(to.add(pixel * product.column_pitch + channel * LANES)) }
        }
    }
}

/// Gradient of the weight, `[O, I]`.
pub(crate) fn weight_gradient(isa: Isa, x: &[f32], dy: &[f32], kernel: Kernel, plane: usize) -> Buffer {
    let Kernel { outputs, inputs, .. } = kernel;
    let places = places(x.len() / (inputs * plane * LANES), plane);
    let mut gradient = Buffer::zeros(outputs * inputs);
    if places.is_empty() {
        return gradient;
    }
    let parts: Vec<&[Place]> = places.chunks(places.len().div_ceil(PARTS)).collect();
    let maps = Maps { x, dy, kernel, plane };
    let sums: Vec<Scratch> = parts
        .into_par_iter()
        .map(|places| {
            let maps = &maps;
            dispatch!(isa, sum_places(isa: Isa, maps: &Maps, places: &[Place]) -> Scratch)
        })
        .collect();
    let pitch = inputs.next_multiple_of(LANES);
    for sums in &sums {
        // SAFETY: the sums of a part are a row of `pitch` for each output.
        let sums = unsafe { std::slice::from_raw_parts(sums.as_ptr(), outputs * pitch) };
        for (to, sums) in gradient.chunks_exact_mut(inputs).zip(sums.chunks_exact(pitch)) {
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        }
    }
    gradient
}

/// Inputs of a convolution and gradients of its outputs.
struct Maps<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    kernel: Kernel,
    plane: usize,
}

/// Sums over some places, rows of whole vectors for each output. Inputs are turned so that channels lie on the lanes and images
/// are terms of the sums.
///
/// # Safety
/// The instructions of `L` are enabled; there is a place, and all lie in the maps.
#[inline(always)]
unsafe fn sum_places<L: Lanes>(isa: Isa, maps: &Maps, places: &[Place]) -> Scratch {
    let Maps { x, dy, kernel: Kernel { outputs, inputs, .. }, plane } = *maps;
    let columns = inputs.div_ceil(LANES);
    let sums = Scratch::new(outputs * columns * LANES);
    let turned = Scratch::new(columns * PIXELS * LANES * LANES);
    for (index, place) in places.iter().enumerate() {
        let depth = place.pixels.len() * LANES;
        let product = Product {
            rows: outputs,
            columns,
            depth,
            row_pitch: plane * LANES,
            column_pitch: depth * LANES,
            to_row: columns * LANES,
            to_column: LANES,
            add: index > 0,
        };
        let at = |channels: usize| (place.block * channels * plane + place.pixels.start) * LANES;
        // SAFETY: as promised by the caller; the scratch has room for the columns and the sums.
        unsafe {
            for column in 0..columns {
                let from = &x[at(inputs) + column * LANES * plane * LANES..];
                let channels = LANES.min(inputs - column * LANES);
                turn::<L>(from, channels, plane, place.pixels.len(), turned.as_mut_ptr().add(column * depth * LANES));
            }
            let operands =
                Operands { rows: dy[at(outputs)..].as_ptr(), columns: turned.as_ptr(), to: sums.as_mut_ptr() };
            product.run(isa, operands);
        }
    }
    sums
}

/// Some pixels of up to sixteen channels, `[channel][pixel][image]`, as `[pixel][image][channel]`; zero for channels that there
/// are not.
///
/// # Safety
/// `from` has the pixels, `to` has room, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn turn<L: Lanes>(from: &[f32], channels: usize, plane: usize, pixels: usize, to: *mut f32) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut square = [0.0; LANES * LANES];
        for pixel in 0..pixels {
            let to = to.add(pixel * LANES * LANES);
            if channels == LANES {
                L::transpose(from.as_ptr().add(pixel * LANES), plane * LANES, to);
            } else {
                for (channel, line) in square.chunks_exact_mut(LANES).enumerate().take(channels) {
                    line.copy_from_slice(&from[(channel * plane + pixel) * LANES..][..LANES]);
                }
                L::transpose(square.as_ptr(), LANES, to);
            }
        }
    }
}
