//! How exactly the operands of products are taken.
//!
//! In bfloat16 (eight bits of mantissa, the exponent of `f32`) a product of two operands is exact in `f32`, in which products are
//! summed. Processors with instructions for it multiply more of them than `f32` in the same time, as [pairs](crate::pairs) or
//! [`tiles`](crate::tiles). Elsewhere operands are rounded before the kernels of `f32`, which gives the same numbers up to the order of
//! sums. They stay whole where rounding gains nothing: in sums over one channel, and on processors with pairs but without tiles
//! where transforms of `f32` are faster still. Only operands of convolutions and linear layers are rounded: parameters, statistics, sums,
//! losses and what lies between layers stay `f32` (Kalamkar et al., *A Study of BFLOAT16 for Deep Learning Training*, 2019).

use std::{mem::MaybeUninit, ops::Deref};

use rayon::prelude::*;

use crate::{
    buffer::Scratch,
    lanes::{Isa, LANES, Lanes, dispatch},
};

/// The operands of convolutions and linear layers, in all three passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    #[default]
    Fp32,
    /// Rounded to bfloat16 where that can make them faster.
    Bf16,
}

impl Precision {
    /// What is fastest here without harm: bfloat16 where the processor has instructions for it.
    pub fn auto() -> Self {
        if Isa::detect().multiplies_bf16() { Self::Bf16 } else { Self::Fp32 }
    }

    /// That of convolutions whose sums run over so many channels. Those over one wait for memory, not for products, and rounding
    /// would be one more pass: they take operands as they are.
    pub(crate) fn of_sums(self, channels: usize) -> Self {
        if channels > 1 { self } else { Self::Fp32 }
    }

    /// Numbers as operands of this precision.
    pub(crate) fn operand(self, isa: Isa, numbers: &[f32]) -> Operand<'_> {
        match self {
            Self::Fp32 => Operand::Whole(numbers),
            Self::Bf16 => Operand::Rounded(Rounded::of(isa, numbers)),
        }
    }
}

/// Operands of a product.
pub(crate) enum Operand<'a> {
    Whole(&'a [f32]),
    Rounded(Rounded),
}

impl Deref for Operand<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Whole(numbers) => numbers,
            Self::Rounded(rounded) => rounded,
        }
    }
}

/// Numbers of a task of their own; each is rounded alone, so the cut changes nothing.
const CHUNK: usize = 1 << 14;

/// Rounded numbers.
pub(crate) struct Rounded {
    room: Scratch,
    len: usize,
}

impl Rounded {
    fn of(isa: Isa, numbers: &[f32]) -> Self {
        let mut room = Scratch::new(numbers.len());
        let to = &mut room.uninit()[..numbers.len()];
        to.par_chunks_mut(CHUNK).zip(numbers.par_chunks(CHUNK)).for_each(|(to, numbers)| {
            dispatch!(isa, round_all(numbers: &[f32], to: &mut [MaybeUninit<f32>]));
        });
        Self { room, len: numbers.len() }
    }
}

impl Deref for Rounded {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: that many numbers were written when this was made.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr(), self.len) }
    }
}

/// # Safety
/// The slices are as long as each other, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn round_all<L: Lanes>(numbers: &[f32], to: &mut [MaybeUninit<f32>]) {
    let (numbers, rest) = numbers.as_chunks::<LANES>();
    let (to, to_rest) = to.as_chunks_mut::<LANES>();
    for (numbers, to) in numbers.iter().zip(to) {
        // SAFETY: as promised by the caller; each chunk is a vector.
        unsafe { L::load(numbers.as_ptr()).round().store(to.as_mut_ptr().cast()) }
    }
    rest.iter().zip(to_rest).for_each(|(&x, to)| {
        to.write(round(x));
    });
}

/// The nearest bfloat16, of two as near the even one; beyond the largest comes infinity, and a NaN stays one.
pub(crate) fn round(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000;
    let quiet = (bits | 0x0040_0000) & 0xFFFF_0000;
    f32::from_bits(if x.is_nan() { quiet } else { rounded })
}

#[cfg(test)]
mod tests {
    use burn_std::bf16;

    use super::*;

    #[test]
    fn rounding_is_that_of_bfloat16() {
        let awkward = [0.0, -0.0, 1.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        let halves = (0..2000u32).map(|i| f32::from_bits(0x3F80_0000 + i * 0x4000));
        let others = (0..5000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761)));
        for x in awkward.into_iter().chain(halves).chain(others).filter(|x| !x.is_nan()) {
            assert_eq!(round(x).to_bits(), bf16::from_f32(x).to_f32().to_bits(), "{x:e}");
        }
        for bits in [0x7F80_0001, 0x7FFF_FFFF, 0xFF80_0001, 0xFFC0_0000] {
            assert!(round(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn operands_are_as_they_are_or_rounded() {
        let numbers: Vec<f32> = (0..40_001).map(|i| (i as f32).sin()).collect();
        let rounded: Vec<f32> = numbers.iter().map(|&x| round(x)).collect();
        for isa in Isa::available() {
            assert_eq!(&*Precision::Fp32.operand(isa, &numbers), numbers);
            assert_eq!(&*Precision::Bf16.operand(isa, &numbers), rounded);
            assert!(Precision::Bf16.operand(isa, &[]).is_empty());
        }
    }
}
