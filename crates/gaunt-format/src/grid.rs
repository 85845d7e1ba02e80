//! The grid of cells: which cells predict a code of some level and tendency, and what they start from.

use alloc::vec::Vec;

use crate::{
    logarithm::{ONE, exp2, log2},
    mix::Counter,
    range::SYMBOLS,
    symbols::Cells,
    taps::FACTOR_BITS,
};

/// Levels reach from -12 to 2 octaves; codes of higher levels lose their lowest bits to that end.
const LOWEST: i32 = -12 * ONE;
const HIGHEST: i32 = 2 * ONE;
/// Bits that are coded apart, at most.
const MAX_SHIFT: i32 = 24;
/// Cells of one grid of octaves, and of both; the second one lies half an octave lower.
const OCTAVES: usize = 14;
const GRIDS: usize = 2 * OCTAVES + 1;
/// Tendencies: 12 of half an octave, then 4 for codes in front of which the kernel is empty.
const TENDENCIES: usize = 16;
const FIRST: usize = 12;
/// What is known of an empty kernel: whether those to the left and above are empty.
const NEIGHBOURS: usize = 4;

/// The symbol of magnitudes from 8 on; below, `0, 1, -1, 2, -2, ...` are numbered.
pub(crate) const ESCAPE: usize = SYMBOLS - 1;
/// The least magnitude that escapes.
pub(crate) const ESCAPED: u64 = 8;

/// How many of a code's lowest bits are coded apart.
#[inline(always)]
pub(crate) fn shift(level: i32) -> u32 {
    ((level + ONE - HIGHEST).max(0) >> 8).min(MAX_SHIFT) as u32
}

/// The cells of codes of this level, less what [`shift`] takes from it, and tendency.
#[inline(always)]
pub(crate) fn cells(level: i32, tendency: usize) -> [usize; 2] {
    octaves(level).map(|octave| octave * TENDENCIES + tendency)
}

/// The counters of kernels whose sum is of this level.
pub(crate) fn kernel_counters(level: i32, left: bool, above: bool) -> [usize; 2] {
    octaves(level).map(|octave| octave * NEIGHBOURS + usize::from(left) * 2 + usize::from(above))
}

/// Whether codes of a tendency have no preferred sign.
#[inline(always)]
pub(crate) fn is_even(tendency: usize) -> bool {
    tendency == 0 || tendency >= FIRST
}

/// Half octaves by which a prediction of a tap exceeds the level, from two and a half octaves below on.
#[inline(always)]
pub(crate) fn tendency(prediction: i32, level: i32) -> usize {
    let size = log2(u64::from(prediction.unsigned_abs().max(1))) - FACTOR_BITS as i32 * ONE;
    (((size - level.max(-ONE / 3)) >> 7) + 5).clamp(0, FIRST as i32 - 1) as usize
}

/// With nothing but zeros before it in the kernel, how many codes are still to come counts: one of them is not zero.
pub(crate) fn first_tendency(taps: usize, tap: usize, sparse: bool) -> usize {
    match taps - 1 - tap {
        _ if !sparse => TENDENCIES - 1,
        0 => FIRST,
        1 => FIRST + 1,
        2 | 3 => FIRST + 2,
        _ => FIRST + 3,
    }
}

/// Places of a level on both grids.
#[inline(always)]
fn octaves(level: i32) -> [usize; 2] {
    let x = (level - LOWEST).clamp(0, OCTAVES as i32 * ONE - 1);
    [(x >> 8) as usize, OCTAVES + ((x + ONE / 2) >> 8) as usize]
}

/// The middle of a cell on one of the grids, as a logarithm of a mean.
fn middle(octave: usize) -> i32 {
    if octave < OCTAVES { LOWEST + octave as i32 * ONE + ONE / 2 } else { LOWEST + (octave - OCTAVES) as i32 * ONE }
}

/// Chances in 256ths that a sign is as its tendency says: `1 / (1 + exp(-0.3 tendency))`.
const AGREE: [u32; FIRST] = [128, 147, 165, 182, 197, 209, 220, 228, 235, 240, 244, 247];

/// Cells that have seen nothing: magnitudes fall geometrically.
pub(crate) fn first_cells(sparse: bool) -> Cells {
    let mut cells = Cells::new(GRIDS * TENDENCIES);
    for octave in 0..GRIDS {
        for tendency in 0..TENDENCIES {
            let agree = AGREE.get(tendency).copied().unwrap_or(128);
            let to_come = if sparse && tendency >= FIRST { [1, 2, 3, 6][tendency - FIRST] } else { u32::MAX };
            cells.set(octave * TENDENCIES + tendency, first_weights(middle(octave), agree, to_come), 2);
        }
    }
    cells
}

/// Weights of the symbols, 2^24 in all, where `level` is the logarithm of the mean `e`: a code is not zero with chance `e / (1 + e)` (but
/// at least `1 / to_come`), and any magnitude is exceeded with chance `e / (e + 0.7)`.
fn first_weights(level: i32, agree: u32, to_come: u32) -> [u32; SYMBOLS] {
    let mean = exp2(level + 16 * ONE);
    let nonzero = ((mean << 16) / (mean + 65_536)).max(65_536 / u64::from(to_come)).min(65_500);
    let exceed = ((mean << 16) / (mean + 45_875)).clamp(1311, 52_429);
    let mut weights = [0; SYMBOLS];
    weights[0] = ((65_536 - nonzero) << 8) as u32;
    let mut rest = nonzero << 8;
    for pair in weights[1..ESCAPE].chunks_exact_mut(2) {
        let beyond = (rest * exceed) >> 16;
        pair[0] = (((rest - beyond) * u64::from(agree)) >> 8) as u32;
        pair[1] = (rest - beyond) as u32 - pair[0];
        rest = beyond;
    }
    weights[ESCAPE] = rest as u32;
    weights
}

pub(crate) fn first_kernel_counters(sparse: bool) -> Vec<Counter> {
    let octaves = 0..if sparse { GRIDS } else { 0 };
    let chance = |octave| {
        let mean = exp2(middle(octave) + 16 * ONE);
        Counter::new(((mean << 32) / (mean + 65_536)) as u32, 2, 511)
    };
    octaves.flat_map(|octave| [chance(octave); NEIGHBOURS]).collect()
}
