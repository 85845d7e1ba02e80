//! Kernels to points, and gradients of points to gradients of kernels.

use rayon::prelude::*;

use super::{
    Choice, Tiling,
    scheme::{MOST, Pair, Quad, Scheme, Tile, both_axes},
};
use crate::{
    buffer::{Scratch, Shared},
    lanes::{Isa, LANES, Lanes, dispatch, numbers},
};

/// Taps of a kernel.
pub(super) const TAPS: usize = 9;

/// Sixteen kernels, `[tap][lane]`.
pub(super) type Taps = [[f32; LANES]; TAPS];

/// Which kernels make the rows of the products.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub rows: usize,
    /// Terms of each row.
    pub depth: usize,
    /// Kernels from a row to the next.
    pub row_step: usize,
    /// Kernels from a term to the next.
    pub term_step: usize,
    /// Whether kernels are turned by half a circle.
    pub turned: bool,
}

impl Rows {
    /// Numbers of a row of a point.
    pub fn pitch(&self) -> usize {
        self.depth.next_multiple_of(LANES)
    }

    /// All kernels `w` as points, `[point][row][term]`.
    pub fn transform(self, isa: Isa, tiling: &Tiling, w: &[f32]) -> Scratch {
        let plane = self.rows * self.pitch();
        let scratch = Scratch::new(tiling.points() * plane);
        let to = Shared(scratch.as_mut_ptr());
        (0..self.rows).into_par_iter().for_each(|row| {
            for first in (0..self.depth).step_by(LANES) {
                let taps = self.taps(w, row, first);
                let (to, taps, choice) = (to.at(row * self.pitch() + first), &taps, tiling.choice);
                dispatch!(isa, transform_taps(choice: Choice, taps: &Taps, to: *mut f32, plane: usize));
            }
        });
        scratch
    }

    fn taps(&self, w: &[f32], row: usize, first: usize) -> Taps {
        let mut taps = [[0.0; LANES]; TAPS];
        let kernel = |lane: usize| (row * self.row_step + (first + lane) * self.term_step) * TAPS;
        for (tap, weights) in taps.iter_mut().enumerate() {
            let tap = if self.turned { TAPS - 1 - tap } else { tap };
            let present = weights.iter_mut().enumerate().take(self.depth - first);
            present.for_each(|(lane, weight)| *weight = w[kernel(lane) + tap]);
        }
        taps
    }
}

/// # Safety
/// `to` has room for a vector at each multiple of `plane`, one for each point; the instructions of `L` are enabled.
#[inline(always)]
unsafe fn transform_taps<L: Lanes>(choice: Choice, taps: &Taps, to: *mut f32, plane: usize) {
    // SAFETY: as promised by the caller.
    unsafe {
        match choice {
            Choice::Quad => transform_with::<L, Quad>(taps, to, plane),
            Choice::Pair => transform_with::<L, Pair>(taps, to, plane),
        }
    }
}

/// # Safety
/// As [`transform_taps`].
#[inline(always)]
unsafe fn transform_with<L: Lanes, S: Scheme>(taps: &Taps, to: *mut f32, plane: usize) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut tile: Tile<L> = [[L::zero(); MOST]; MOST];
        (0..TAPS).for_each(|tap| tile[tap / 3][tap % 3] = L::load(taps[tap].as_ptr()));
        let points = both_axes::<L, S::Kernel>(&tile);
        for (row, points) in points.iter().enumerate().take(S::POINTS) {
            for (column, &point) in points.iter().enumerate().take(S::POINTS) {
                point.store(to.add((row * S::POINTS + column) * plane));
            }
        }
    }
}

/// Gradients of sixteen kernels from the sums of their points' gradients over `parts`, the vectors of which are `plane` apart.
///
/// # Safety
/// There is a vector at each multiple of `plane`, one for each point; the instructions of `L` are enabled.
#[inline(always)]
pub(super) unsafe fn gather_taps<L: Lanes>(choice: Choice, parts: &[*const f32], plane: usize) -> Taps {
    // SAFETY: as promised by the caller.
    unsafe {
        match choice {
            Choice::Quad => gather_with::<L, Quad>(parts, plane),
            Choice::Pair => gather_with::<L, Pair>(parts, plane),
        }
    }
}

/// # Safety
/// As [`gather_taps`].
#[inline(always)]
unsafe fn gather_with<L: Lanes, S: Scheme>(parts: &[*const f32], plane: usize) -> Taps {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut points: Tile<L> = [[L::zero(); MOST]; MOST];
        for part in parts {
            for (row, points) in points.iter_mut().enumerate().take(S::POINTS) {
                for (column, point) in points.iter_mut().enumerate().take(S::POINTS) {
                    *point = point.add(L::load(part.add((row * S::POINTS + column) * plane)));
                }
            }
        }
        let taps = both_axes::<L, S::KernelAdjoint>(&points);
        std::array::from_fn(|tap| numbers(taps[tap / 3][tap % 3]))
    }
}
