//! Maps as bfloat16 in pairs: a word of 32 bits, in the place of a number, has two terms of a sum.
//!
//! Sums over channels take channels in pairs. Sums over images take blocks of images in pairs, which is also how inputs wait for
//! the backward pass, in half the memory.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{
    buffer::{Buffer, Scratch},
    lanes::{Isa, LANES, Lanes, dispatch},
    precision::round,
};

/// A pair of numbers, rounded to bfloat16.
pub(crate) fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(round(low).to_bits() >> 16 | round(high).to_bits())
}

/// Maps with channels in pairs, `[B, pairs, plane + 1, 16]`; what has no partner is paired with zeros.
pub(crate) struct ChannelPairs {
    room: Scratch,
    pub pairs: usize,
    pub plane: usize,
    blocks: usize,
}

impl ChannelPairs {
    /// Of maps `[B, C, plane, 16]`.
    pub fn of(isa: Isa, x: &[f32], channels: usize, plane: usize) -> Self {
        let pairs = channels.div_ceil(2);
        let blocks = x.len() / (channels * plane * LANES);
        let mut maps = Self { room: Scratch::new(blocks * pairs * (plane + 1) * LANES), pairs, plane, blocks };
        let (pitch, plane) = (maps.pitch(), plane * LANES);
        let room = &mut maps.room.uninit()[..blocks * pairs * pitch];
        room.par_chunks_exact_mut(pitch).enumerate().for_each(|(index, to)| {
            let (block, first) = (index / pairs, index % pairs * 2);
            let channel =
                |channel: usize| (channel < channels).then(|| &x[(block * channels + channel) * plane..][..plane]);
            pair_numbers(isa, channel(first), channel(first + 1), &mut to[..plane]);
            to[plane..].fill(MaybeUninit::new(0.0));
        });
        maps
    }

    /// Numbers from a pair of channels to the next.
    pub fn pitch(&self) -> usize {
        pitch(self.plane)
    }

    pub fn words(&self) -> &[f32] {
        // SAFETY: that many words were written when this was made.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr(), self.blocks * self.pairs * self.pitch()) }
    }
}

/// Numbers from a channel of paired maps to the next: a line more than it has, so that channels fall into different sets of the
/// cache.
pub(crate) fn pitch(plane: usize) -> usize {
    (plane + 1) * LANES
}

/// Maps `[B, C, plane, 16]` with blocks in pairs, `[ceil(B / 2), C, plane + 1, 16]`; zero where there is no such block.
pub(crate) fn pair_blocks(isa: Isa, x: &[f32], channels: usize, plane: usize) -> Buffer {
    let (pitch, plane) = (pitch(plane), plane * LANES);
    let blocks = x.len() / (channels * plane);
    let fill = |to: &mut [MaybeUninit<f32>]| {
        to.par_chunks_exact_mut(pitch).enumerate().for_each(|(index, to)| {
            let (block, channel) = (index / channels * 2, index % channels);
            let of = |block: usize| (block < blocks).then(|| &x[(block * channels + channel) * plane..][..plane]);
            pair_numbers(isa, of(block), of(block + 1), &mut to[..plane]);
            to[plane..].fill(MaybeUninit::new(0.0));
        });
    };
    // SAFETY: every channel of every pair of blocks is written from its first to its last number.
    unsafe { Buffer::written(blocks.div_ceil(2) * channels * pitch, fill) }
}

/// The first `blocks` of the maps that were [paired](pair_blocks), rounded as they are.
pub(crate) fn unpair_blocks(isa: Isa, words: &[f32], channels: usize, plane: usize, blocks: usize) -> Buffer {
    let (pitch, plane) = (pitch(plane), plane * LANES);
    let fill = |to: &mut [MaybeUninit<f32>]| {
        to.par_chunks_exact_mut(plane).enumerate().for_each(|(index, to)| {
            let (block, channel) = (index / channels, index % channels);
            let words = &words[(block / 2 * channels + channel) * pitch..][..plane];
            let high = block % 2 == 1;
            dispatch!(isa, half(words: &[f32], high: bool, to: &mut [MaybeUninit<f32>]));
        });
    };
    // SAFETY: every channel of every block is written from its first to its last number.
    unsafe { Buffer::written(blocks * channels * plane, fill) }
}

/// Pairs two lists of numbers, of which any may be missing.
fn pair_numbers(isa: Isa, low: Option<&[f32]>, high: Option<&[f32]>, to: &mut [MaybeUninit<f32>]) {
    let lengths = [low, high].into_iter().flatten().map(<[f32]>::len);
    assert!(to.len().is_multiple_of(LANES) && lengths.into_iter().all(|len| len == to.len()), "pairs are of equals");
    dispatch!(isa, pair_all(low: Option<&[f32]>, high: Option<&[f32]>, to: &mut [MaybeUninit<f32>]));
}

/// # Safety
/// The slices are of one length, a number of whole vectors; the instructions of `L` are enabled.
#[inline(always)]
unsafe fn pair_all<L: Lanes>(low: Option<&[f32]>, high: Option<&[f32]>, to: &mut [MaybeUninit<f32>]) {
    for (at, to) in to.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: as promised by the caller; each chunk is a vector.
        unsafe {
            let mut vectors = [L::zero(); 2];
            for (vector, numbers) in vectors.iter_mut().zip([low, high]) {
                if let Some(numbers) = numbers {
                    *vector = L::load(numbers.as_ptr().add(at * LANES)).round();
                }
            }
            vectors[0].pair(vectors[1]).store(to.as_mut_ptr().cast());
        }
    }
}

/// # Safety
/// The slices are of one length, a number of whole vectors; the instructions of `L` are enabled.
#[inline(always)]
unsafe fn half<L: Lanes>(words: &[f32], high: bool, to: &mut [MaybeUninit<f32>]) {
    for (words, to) in words.chunks_exact(LANES).zip(to.chunks_exact_mut(LANES)) {
        // SAFETY: as promised by the caller; each chunk is a vector.
        unsafe {
            let words = L::load(words.as_ptr());
            let half = if high { words.high() } else { words.low() };
            half.store(to.as_mut_ptr().cast());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::noise;

    #[test]
    fn blocks_come_back_rounded() {
        for isa in Isa::available() {
            for (blocks, channels, plane) in [(0, 2, 1), (1, 1, 1), (2, 3, 3), (5, 2, 515)] {
                let x = noise(1, blocks * channels * plane * LANES);
                let words = pair_blocks(isa, &x, channels, plane);
                assert_eq!(words.len(), blocks.div_ceil(2) * channels * pitch(plane));
                let rounded: Vec<f32> = x.iter().map(|&x| round(x)).collect();
                assert_eq!(*unpair_blocks(isa, &words, channels, plane, blocks), *rounded, "{isa:?} {blocks} {plane}");
            }
        }
    }

    #[test]
    fn channels_without_a_partner_are_paired_with_zeros() {
        let (channels, plane) = (3, 5);
        let x = noise(2, 2 * channels * plane * LANES);
        for isa in Isa::available() {
            let maps = ChannelPairs::of(isa, &x, channels, plane);
            assert_eq!(maps.pairs, 2);
            for (index, words) in maps.words().chunks_exact(maps.pitch()).enumerate() {
                for (at, word) in words.iter().enumerate() {
                    let number = |channel: usize| {
                        let inside = channel < channels && at < plane * LANES;
                        if inside { x[(index / 2 * channels + channel) * plane * LANES + at] } else { 0.0 }
                    };
                    let expected = pair(number(index % 2 * 2), number(index % 2 * 2 + 1));
                    assert_eq!(word.to_bits(), expected.to_bits(), "{isa:?}");
                }
            }
        }
    }

    #[test]
    fn instruction_sets_round_alike() {
        let awkward = [0.0, -0.0, 1.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let halves = (0..2000u32).map(|i| f32::from_bits(0x3F80_0000 + i * 0x4000));
        let others = (0..4000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761)));
        let mut numbers: Vec<f32> = awkward.into_iter().chain(halves).chain(others).collect();
        numbers.truncate(numbers.len() / LANES * LANES);
        for isa in Isa::available() {
            let words = pair_blocks(isa, &numbers, 1, numbers.len() / LANES);
            for (&word, &number) in words.iter().zip(&numbers) {
                assert_eq!(word.to_bits(), pair(number, 0.0).to_bits(), "{number:e} {isa:?}");
            }
        }
    }
}
