//! Element by element: activation, sum, scale and shift of channels, with their gradients.

use rayon::prelude::*;

use crate::lanes::LANES;

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
    pub(crate) fn bounds(self) -> (f32, f32) {
        match self {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Relu6 => (0.0, 6.0),
        }
    }
}

/// Elements of a task.
const CHUNK: usize = 1 << 15;

/// Clips; not a number stays that.
#[inline(always)]
pub(crate) fn clip(x: f32, (low, high): (f32, f32)) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// 1 where the activation passes gradients: strictly inside its bounds, judged by its output.
#[inline(always)]
pub(crate) fn passes(y: f32, (low, high): (f32, f32)) -> bool {
    y > low && y < high
}

/// `activation(x)`.
pub(crate) fn activate(x: &[f32], activation: Activation) -> Vec<f32> {
    let bounds = activation.bounds();
    map(x, x, |x, _| clip(x, bounds))
}

/// `activation(a + b)`.
pub(crate) fn add(a: &[f32], b: &[f32], activation: Activation) -> Vec<f32> {
    let bounds = activation.bounds();
    map(a, b, |a, b| clip(a + b, bounds))
}

/// Gradient before an activation from its output and the gradient behind it.
pub(crate) fn activation_gradient(y: &[f32], dy: &[f32], activation: Activation) -> Vec<f32> {
    let bounds = activation.bounds();
    map(y, dy, |y, dy| if passes(y, bounds) { dy } else { 0.0 })
}

fn map(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    let mut out = vec![0.0; a.len()];
    let tasks = out.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
    tasks.for_each(|((out, a), b)| out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out = f(a, b)));
    out
}

/// `activation(scale * x + shift)` for each channel of `[B, C, plane, 16]`.
pub(crate) fn affine(x: &[f32], scale: &[f32], shift: &[f32], plane: usize, activation: Activation) -> Vec<f32> {
    let bounds = activation.bounds();
    let mut out = vec![0.0; x.len()];
    let tasks = out.par_chunks_mut((plane * LANES).max(1)).zip(x.par_chunks((plane * LANES).max(1))).enumerate();
    tasks.for_each(|(index, (out, x))| {
        let (scale, shift) = (scale[index % scale.len()], shift[index % shift.len()]);
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = clip(scale * x + shift, bounds));
    });
    out
}

/// Gradients of [`affine`]: of `x`, of the scales, of the shifts.
pub(crate) fn affine_gradient(
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    scale: &[f32],
    plane: usize,
    activation: Activation,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let bounds = activation.bounds();
    let channels = scale.len();
    let size = (plane * LANES).max(1);
    let mut dx = vec![0.0; x.len()];
    let tasks = dx.par_chunks_mut(size).zip(x.par_chunks(size)).zip(y.par_chunks(size)).zip(dy.par_chunks(size));
    let sums = tasks.enumerate().map(|(index, (((dx, x), y), dy))| {
        let scale = scale[index % channels];
        let mut sums = [[0.0f32; LANES]; 2];
        let vectors = dx.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES));
        let vectors = vectors.zip(y.chunks_exact(LANES)).zip(dy.chunks_exact(LANES));
        for (((dx, x), y), dy) in vectors {
            for lane in 0..LANES {
                let dy = if passes(y[lane], bounds) { dy[lane] } else { 0.0 };
                dx[lane] = scale * dy;
                sums[0][lane] += x[lane] * dy;
                sums[1][lane] += dy;
            }
        }
        sums.map(|lanes| lanes.iter().map(|&x| f64::from(x)).sum::<f64>())
    });
    let sums: Vec<[f64; 2]> = sums.collect();
    let total = |which: usize| -> Vec<f32> {
        let mut total = vec![0.0; channels];
        sums.iter().enumerate().for_each(|(index, sums)| total[index % channels] += sums[which]);
        total.into_iter().map(|x| x as f32).collect()
    };
    let (scales, shifts) = (total(0), total(1));
    (dx, scales, shifts)
}
