//! Between plain maps `[N, C, H, W]` and blocked ones `[B, C, H, W, 16]`.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{buffer::Buffer, lanes::LANES};

/// Pixels that are turned together: the images' rows and the vectors' lines both stay in the nearest cache.
const TILE: usize = 64;

/// Puts images side by side; lanes without an image are zero. `size` is the number of elements of an image.
pub(crate) fn block(plain: &[f32], size: usize) -> Buffer {
    let images = plain.len() / size.max(1);
    let block = (size * LANES).max(1);
    let fill = |blocked: &mut [MaybeUninit<f32>]| {
        blocked.par_chunks_mut(block).zip(plain.par_chunks(block)).for_each(|(blocked, plain)| {
            if plain.len() < block {
                blocked.fill(MaybeUninit::new(0.0));
            }
            for (tile, pixels) in blocked.chunks_mut(TILE * LANES).enumerate() {
                for (lane, image) in plain.chunks_exact(size).enumerate() {
                    let image = &image[tile * TILE..][..pixels.len() / LANES];
                    pixels.iter_mut().skip(lane).step_by(LANES).zip(image).for_each(|(to, &from)| {
                        to.write(from);
                    });
                }
            }
        });
    };
    // SAFETY: every lane of a full block is written, and the others are cleared first.
    unsafe { Buffer::written(images.div_ceil(LANES) * size * LANES, fill) }
}

/// Takes images apart again; there are `images` of them, of `size` elements each.
pub(crate) fn unblock(blocked: &[f32], images: usize, size: usize) -> Vec<f32> {
    let mut plain = vec![0.0; images * size];
    let tasks = plain.par_chunks_mut((size * LANES).max(1)).zip(blocked.par_chunks((size * LANES).max(1)));
    tasks.for_each(|(plain, blocked)| {
        for (tile, pixels) in blocked.chunks(TILE * LANES).enumerate() {
            for (lane, image) in plain.chunks_exact_mut(size).enumerate() {
                let image = &mut image[tile * TILE..][..pixels.len() / LANES];
                image.iter_mut().zip(pixels.iter().skip(lane).step_by(LANES)).for_each(|(to, from)| *to = *from);
            }
        }
    });
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_back_and_empty_lanes_are_zero() {
        for (images, size) in [(1, 1), (15, 70), (16, 64), (17, 3), (33, 129)] {
            let plain: Vec<f32> = (1..=images * size).map(|i| i as f32).collect();
            let blocked = block(&plain, size);
            assert_eq!(unblock(&blocked, images, size), plain);
            assert_eq!(blocked[0..2.min(images)], [plain[0], plain.get(size).copied().unwrap_or(0.0)][..2.min(images)]);
            let sum: f64 = blocked.iter().map(|&x| f64::from(x)).sum();
            assert_eq!(sum, plain.iter().map(|&x| f64::from(x)).sum::<f64>());
        }
    }
}
