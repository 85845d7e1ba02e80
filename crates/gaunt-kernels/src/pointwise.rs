//! Element by element: activation, sum, scale and shift of channels, with their gradients.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{
    buffer::Buffer,
    lanes::{Isa, LANES, Lanes, dispatch, numbers},
};

/// A function that other operators apply to their output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// The bounds that it clips to.
    pub(crate) fn bounds(self) -> Bounds {
        let (low, high) = match self {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Relu6 => (0.0, 6.0),
        };
        Bounds { low, high }
    }
}

/// What an activation clips to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    low: f32,
    high: f32,
}

impl Bounds {
    /// Clips; not a number stays that.
    ///
    /// # Safety
    /// As for the methods of [`Lanes`].
    #[inline(always)]
    pub unsafe fn clip<L: Lanes>(&self, x: L) -> L {
        // SAFETY: as promised by the caller.
        unsafe { L::splat(&self.high).min(L::splat(&self.low).max(x)) }
    }

    /// The gradient where the activation passes it on, which its output `y` tells: strictly inside the bounds.
    ///
    /// # Safety
    /// As for the methods of [`Lanes`].
    #[inline(always)]
    pub unsafe fn pass<L: Lanes>(&self, y: L, dy: L) -> L {
        // SAFETY: as promised by the caller.
        unsafe {
            let below = L::splat(&self.high).if_greater(y, dy, L::zero());
            y.if_greater(L::splat(&self.low), below, L::zero())
        }
    }
}

/// Elements of a task.
const CHUNK: usize = 1 << 14;

/// What is done to a pair of elements.
#[derive(Clone, Copy)]
enum Step {
    /// `clip(a)`
    Clip,
    /// `clip(a + b)`
    Add,
    /// `b` where `a` is inside the bounds, else 0.
    Pass,
}

/// `activation(x)`.
pub(crate) fn activate(isa: Isa, x: &[f32], activation: Activation) -> Buffer {
    map(isa, Step::Clip, activation.bounds(), x, x)
}

/// `activation(a + b)`.
pub(crate) fn add(isa: Isa, a: &[f32], b: &[f32], activation: Activation) -> Buffer {
    map(isa, Step::Add, activation.bounds(), a, b)
}

/// Gradient before an activation from its output and the gradient behind it.
pub(crate) fn activation_gradient(isa: Isa, y: &[f32], dy: &[f32], activation: Activation) -> Buffer {
    map(isa, Step::Pass, activation.bounds(), y, dy)
}

fn map(isa: Isa, step: Step, bounds: Bounds, a: &[f32], b: &[f32]) -> Buffer {
    assert!(a.len() == b.len() && a.len().is_multiple_of(LANES), "operands are blocked maps of one shape");
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let tasks = out.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
        tasks.for_each(|((out, a), b)| {
            dispatch!(isa, map_chunk(step: Step, bounds: Bounds, a: &[f32], b: &[f32], out: &mut [MaybeUninit<f32>]));
        });
    };
    // SAFETY: the chunks cover all, and each is written from its first to its last vector.
    unsafe { Buffer::written(a.len(), fill) }
}

/// # Safety
/// The slices are as long as each other, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn map_chunk<L: Lanes>(step: Step, bounds: Bounds, a: &[f32], b: &[f32], out: &mut [MaybeUninit<f32>]) {
    // SAFETY: as promised by the caller.
    unsafe {
        match step {
            Step::Clip => each_pair::<L>(a, b, out, |a, _| bounds.clip(a)),
            Step::Add => each_pair::<L>(a, b, out, |a, b| bounds.clip(a.add(b))),
            Step::Pass => each_pair::<L>(a, b, out, |y, dy| bounds.pass(y, dy)),
        }
    }
}

/// # Safety
/// As [`map_chunk`].
#[inline(always)]
unsafe fn each_pair<L: Lanes>(a: &[f32], b: &[f32], out: &mut [MaybeUninit<f32>], f: impl Fn(L, L) -> L) {
    for ((out, a), b) in out.chunks_exact_mut(LANES).zip(a.chunks_exact(LANES)).zip(b.chunks_exact(LANES)) {
        // SAFETY: each chunk is a vector.
        unsafe { f(L::load(a.as_ptr()), L::load(b.as_ptr())).store(out.as_mut_ptr().cast()) }
    }
}

/// `activation(scale * x + shift)` for each channel of `[B, C, plane, 16]`.
pub(crate) fn affine(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    plane: usize,
    activation: Activation,
) -> Buffer {
    let (bounds, size) = (activation.bounds(), (plane * LANES).max(1));
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_mut(size).zip(x.par_chunks(size)).enumerate().for_each(|(index, (out, x))| {
            let (scale, shift) = (scale[index % scale.len()], shift[index % shift.len()]);
            dispatch!(isa, affine_plane(x: &[f32], out: &mut [MaybeUninit<f32>], scale: f32, shift: f32, bounds: Bounds));
        });
    };
    // SAFETY: the planes cover all, and each is written from its first to its last vector.
    unsafe { Buffer::written(x.len(), fill) }
}

/// `activation(scale * x + shift)`, the activation being what `bounds` clip to.
///
/// # Safety
/// The slices are as long as each other, and the instructions of `L` are enabled.
#[inline(always)]
pub(crate) unsafe fn affine_plane<L: Lanes>(
    x: &[f32],
    out: &mut [MaybeUninit<f32>],
    scale: f32,
    shift: f32,
    bounds: Bounds,
) {
    // SAFETY: as promised by the caller.
    unsafe {
        each_pair::<L>(x, x, out, |x, _| bounds.clip(L::splat(&shift).add_product(L::splat(&scale), x)));
    }
}

/// Gradients of [`affine`]: of `x`, of the scales, of the shifts.
pub(crate) fn affine_gradient(
    isa: Isa,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    scale: &[f32],
    plane: usize,
    activation: Activation,
) -> (Buffer, Vec<f32>, Vec<f32>) {
    let (bounds, channels, size) = (activation.bounds(), scale.len(), (plane * LANES).max(1));
    let mut sums = Vec::new();
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let tasks = out.par_chunks_mut(size).zip(x.par_chunks(size)).zip(y.par_chunks(size)).zip(dy.par_chunks(size));
        let planes = tasks.enumerate().map(|(index, (((out, x), y), dy))| {
            let scale = scale[index % channels];
            dispatch!(isa, affine_gradient_plane(
                x: &[f32], y: &[f32], dy: &[f32], out: &mut [MaybeUninit<f32>], scale: f32, bounds: Bounds,
            ) -> [f64; 2])
        });
        sums = planes.collect();
    };
    // SAFETY: the planes cover all, and each is written from its first to its last vector.
    let dx = unsafe { Buffer::written(x.len(), fill) };
    (dx, by_channel(&sums, 0, channels), by_channel(&sums, 1, channels))
}

/// Sums one of several numbers per plane over blocks of images, in order.
fn by_channel<const N: usize>(planes: &[[f64; N]], which: usize, channels: usize) -> Vec<f32> {
    let of_channel = |channel| planes.iter().skip(channel).step_by(channels).map(|numbers| numbers[which]);
    (0..channels).map(|channel| of_channel(channel).sum::<f64>() as f32).collect()
}

/// Writes the gradient of `x`; returns those of the scale and the shift.
///
/// # Safety
/// The slices are as long as each other, and the instructions of `L` are enabled.
#[inline(always)]
unsafe fn affine_gradient_plane<L: Lanes>(
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    out: &mut [MaybeUninit<f32>],
    scale: f32,
    bounds: Bounds,
) -> [f64; 2] {
    // SAFETY: each chunk is a vector.
    unsafe {
        let mut sums = [L::zero(); 2];
        let vectors = out.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES));
        for (((out, x), y), dy) in vectors.zip(y.chunks_exact(LANES)).zip(dy.chunks_exact(LANES)) {
            let dy = bounds.pass(L::load(y.as_ptr()), L::load(dy.as_ptr()));
            sums = [sums[0].add_product(L::load(x.as_ptr()), dy), sums[1].add(dy)];
            dy.mul(L::splat(&scale)).store(out.as_mut_ptr().cast());
        }
        sums.map(|sums| numbers(sums).iter().map(|&x| f64::from(x)).sum())
    }
}
