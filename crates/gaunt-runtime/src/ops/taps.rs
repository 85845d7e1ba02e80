//! Weighted sums over runs of neighbouring elements: the work of convolutions, linear layers and matrix products.
//!
//! A sum starts at its bias and adds `weight * x` term by term, multiplication and addition rounded apart. A run of
//! outputs is computed together, each output in a lane of its own, so that vector units are used and yet every output
//! has the same order of operations as a plain loop.

use alloc::vec::Vec;

/// One nonzero weight and where the inputs that it multiplies begin.
#[derive(Clone, Copy)]
pub(crate) struct Tap {
    pub offset: u32,
    pub weight: f32,
}

/// The nonzero weights of each output channel, in the order in which they are summed.
pub(crate) struct Taps {
    /// Where each channel's taps begin, and where the last one's end.
    bounds: Vec<usize>,
    taps: Vec<Tap>,
}

impl Taps {
    /// Taps of a row-major weight matrix with rows of `row_len`, for which `offset` tells where the inputs of a row's
    /// `i`th weight begin.
    pub fn new(weights: &[f32], row_len: usize, offset: impl Fn(usize) -> u32) -> Self {
        let mut bounds = Vec::with_capacity(weights.len() / row_len + 1);
        let mut taps = Vec::with_capacity(weights.iter().filter(|&&weight| weight != 0.0).count());
        bounds.push(0);
        for row in weights.chunks_exact(row_len) {
            let nonzero = row.iter().enumerate().filter(|&(_, &weight)| weight != 0.0);
            taps.extend(nonzero.map(|(i, &weight)| Tap { offset: offset(i), weight }));
            bounds.push(taps.len());
        }
        Self { bounds, taps }
    }

    /// Taps of each output channel.
    pub fn channels(&self) -> impl Iterator<Item = &[Tap]> {
        self.bounds.windows(2).map(|bound| &self.taps[bound[0]..bound[1]])
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.taps[..]) + size_of_val(&self.bounds[..])
    }
}

/// Widest run that is computed at once.
pub(crate) const RUN: usize = 32;

/// `out[i] = bias + sum of weight * x[offset + i]` over `terms`, which yields `(offset, weight)`.
pub(crate) fn weighted_sum<T>(bias: f32, terms: T, x: &[f32], out: &mut [f32])
where
    T: Iterator<Item = (usize, f32)> + Clone,
{
    let mut done = runs::<RUN, T>(bias, &terms, x, out, 0);
    done = runs::<16, T>(bias, &terms, x, out, done);
    done = runs::<8, T>(bias, &terms, x, out, done);
    runs::<1, T>(bias, &terms, x, out, done);
}

/// As many whole runs of `B` as there are from `done` on; returns where they end.
fn runs<const B: usize, T>(bias: f32, terms: &T, x: &[f32], out: &mut [f32], mut done: usize) -> usize
where
    T: Iterator<Item = (usize, f32)> + Clone,
{
    for run in out[done..].as_chunks_mut::<B>().0 {
        *run = weighted_run(bias, terms.clone(), &x[done..]);
        done += B;
    }
    done
}

/// `B` neighbouring outputs of [`weighted_sum`].
#[inline(always)]
pub(crate) fn weighted_run<const B: usize>(
    bias: f32,
    terms: impl Iterator<Item = (usize, f32)>,
    x: &[f32],
) -> [f32; B] {
    let mut sums = [bias; B];
    for (offset, weight) in terms {
        for (sum, &x) in sums.iter_mut().zip(&x[offset..offset + B]) {
            *sum += weight * x;
        }
    }
    sums
}
