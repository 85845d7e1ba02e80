//! Optimisers: SGD with momentum and AdamW, as one fused pass over the parameters' slices.
//!
//! Weight decay is decoupled (Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR 2019): each step
//! takes `rate * decay * w` off a weight, beside what the gradient says. PyTorch's SGD feeds decay through the
//! momentum instead; a decay of `d` there is about `d / (1 - momentum)` here.

use rayon::prelude::*;

use crate::checkpoint::{Checkpoint, CheckpointError};

/// Elements per parallel task. Updates are element by element, so the split never changes a result.
const CHUNK: usize = 1 << 14;

/// How gradients become steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// `v = momentum * v + g`, then `w -= rate * v`, or with Nesterov `w -= rate * (g + momentum * v)`.
    Sgd {
        /// Share of the velocity that is kept, in `0..1`.
        momentum: f32,
        /// Look ahead along the velocity.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay.
    AdamW {
        /// Decay of the running mean of gradients.
        beta1: f32,
        /// Decay of the running mean of squared gradients.
        beta2: f32,
        /// Keeps the divisor away from zero.
        epsilon: f32,
    },
}

impl Algorithm {
    /// SGD with Nesterov momentum 0.9.
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: true };
    /// AdamW with the customary coefficients.
    pub const ADAM_W: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// An [`Algorithm`] and its state, one slot for each parameter.
///
/// ```
/// use gaunt_train::optim::{Algorithm, Optimizer};
///
/// let mut weights = vec![1.0, -2.0];
/// let mut optimizer = Optimizer::new(Algorithm::Sgd { momentum: 0.9, nesterov: false }, [weights.len()]);
/// optimizer.begin_step();
/// optimizer.update(0, &mut weights, &[0.5, 0.5], 0.1, 0.0);
/// assert_eq!(weights, [0.95, -2.05]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    algorithm: Algorithm,
    steps: u64,
    slots: Vec<Slot>,
}

/// Moments of one parameter; SGD leaves the second empty.
#[derive(Clone, Debug, Default, PartialEq)]
struct Slot {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Optimizer {
    /// State of zeros for parameters of these lengths.
    pub fn new(algorithm: Algorithm, lengths: impl IntoIterator<Item = usize>) -> Self {
        let slot = |len| Slot {
            first: vec![0.0; len],
            second: if matches!(algorithm, Algorithm::AdamW { .. }) { vec![0.0; len] } else { Vec::new() },
        };
        Self { algorithm, steps: 0, slots: lengths.into_iter().map(slot).collect() }
    }

    /// Counts a step; call it once before the [`update`](Self::update)s of all parameters.
    pub fn begin_step(&mut self) {
        self.steps += 1;
    }

    /// Steps begun so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves `weights`, parameter number `index`, against `gradient`; `decay` is the weight decay, 0 for none.
    ///
    /// # Panics
    /// If there is no such parameter or the lengths differ from the one given to [`new`](Self::new).
    pub fn update(&mut self, index: usize, weights: &mut [f32], gradient: &[f32], rate: f32, decay: f32) {
        let slot = &mut self.slots[index];
        assert_eq!((slot.first.len(), slot.first.len()), (weights.len(), gradient.len()), "parameter {index}");
        let keep = 1.0 - rate * decay;
        match self.algorithm {
            Algorithm::Sgd { momentum, nesterov } => {
                let tasks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
                tasks.zip(slot.first.par_chunks_mut(CHUNK)).for_each(|((weights, gradient), velocity)| {
                    for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(velocity) {
                        *v = momentum * *v + g;
                        let direction = if nesterov { g + momentum * *v } else { *v };
                        *w = *w * keep - rate * direction;
                    }
                });
            }
            Algorithm::AdamW { beta1, beta2, epsilon } => {
                let correct = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(self.steps.max(1) as f64)) as f32;
                let (correct1, correct2) = (correct(beta1), correct(beta2));
                let moments = slot.first.par_chunks_mut(CHUNK).zip(slot.second.par_chunks_mut(CHUNK));
                let tasks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(moments);
                tasks.for_each(|((weights, gradient), (first, second))| {
                    for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *v = beta2 * *v + (1.0 - beta2) * g * g;
                        *w = *w * keep - rate * (*m * correct1) / ((*v * correct2).sqrt() + epsilon);
                    }
                });
            }
        }
    }

    /// Forgets parameter `index`'s moments outside `kept`, which lists the surviving elements in order: for
    /// parameters that shrink while they are trained.
    ///
    /// # Panics
    /// If there is no such parameter or element.
    pub fn keep_elements(&mut self, index: usize, kept: &[usize]) {
        let slot = &mut self.slots[index];
        for moments in [&mut slot.first, &mut slot.second] {
            if !moments.is_empty() {
                *moments = kept.iter().map(|&i| moments[i]).collect();
            }
        }
    }

    /// Writes the state into a checkpoint, under names that start with `optimizer.`.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.insert("optimizer.steps", vec![self.steps]);
        for (i, slot) in self.slots.iter().enumerate() {
            checkpoint.insert(format!("optimizer.{i}.first"), slot.first.clone());
            checkpoint.insert(format!("optimizer.{i}.second"), slot.second.clone());
        }
    }

    /// Reads the state back.
    ///
    /// # Errors
    /// If an entry is missing or has another length: the checkpoint is of another network or algorithm.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        self.steps = checkpoint.scalar("optimizer.steps")?;
        for (i, slot) in self.slots.iter_mut().enumerate() {
            checkpoint.read_into(&format!("optimizer.{i}.first"), &mut slot.first)?;
            checkpoint.read_into(&format!("optimizer.{i}.second"), &mut slot.second)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(algorithm: Algorithm, decay: f32, gradients: &[[f32; 2]]) -> Vec<f32> {
        let mut weights = vec![1.0, -2.0];
        let mut optimizer = Optimizer::new(algorithm, [2]);
        for gradient in gradients {
            optimizer.begin_step();
            optimizer.update(0, &mut weights, gradient, 0.1, decay);
        }
        weights
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-6, "{found:?} instead of {expected:?}");
        }
    }

    /// By hand: v = 0.5, then 0.45 - 1 = -0.55; steps 0.5 and -0.55.
    #[test]
    fn momentum_accumulates() {
        let plain = Algorithm::Sgd { momentum: 0.9, nesterov: false };
        assert_close(&run(plain, 0.0, &[[0.5, 0.0], [-1.0, 0.0]]), &[1.0 - 0.05 + 0.055, -2.0]);
    }

    /// By hand: first step 0.5 + 0.9 * 0.5 = 0.95, second -1 + 0.9 * -0.55 = -1.495.
    #[test]
    fn nesterov_looks_ahead() {
        assert_close(&run(Algorithm::SGD, 0.0, &[[0.5, 0.0], [-1.0, 0.0]]), &[1.0 - 0.095 + 0.1495, -2.0]);
    }

    /// The first bias-corrected step has the size of the rate, whatever the gradient; the second, after gradients
    /// 0.5 and -1: m = -0.055 / 0.19, v = (0.00024975 + 0.001) / 0.001999.
    #[test]
    fn adam_corrects_its_bias() {
        assert_close(&run(Algorithm::ADAM_W, 0.0, &[[0.5, -3.0]]), &[0.9, -1.9]);
        let second = 0.1 * (-0.055 / 0.19) / (0.00124975_f32 / 0.001999).sqrt();
        assert_close(&run(Algorithm::ADAM_W, 0.0, &[[0.5, 0.0], [-1.0, 0.0]]), &[0.9 - second, -2.0]);
    }

    #[test]
    fn decay_is_decoupled_from_the_gradient() {
        assert_close(&run(Algorithm::ADAM_W, 0.5, &[[0.0, 0.0]]), &[0.95, -1.9]);
        assert_close(&run(Algorithm::SGD, 0.5, &[[0.0, 0.0]]), &[0.95, -1.9]);
    }

    #[test]
    fn state_survives_a_checkpoint() {
        let mut optimizer = Optimizer::new(Algorithm::ADAM_W, [3]);
        let mut weights = vec![1.0, 2.0, 3.0];
        optimizer.begin_step();
        optimizer.update(0, &mut weights, &[0.1, -0.2, 0.3], 0.01, 0.1);
        let mut checkpoint = Checkpoint::new();
        optimizer.save(&mut checkpoint);
        let mut restored = Optimizer::new(Algorithm::ADAM_W, [3]);
        restored.restore(&checkpoint).unwrap();
        assert_eq!(restored, optimizer);
        assert!(Optimizer::new(Algorithm::SGD, [3]).restore(&checkpoint).is_err());
    }

    #[test]
    fn moments_follow_surviving_elements() {
        let mut optimizer = Optimizer::new(Algorithm::SGD, [3]);
        optimizer.update(0, &mut [0.0; 3], &[1.0, 2.0, 3.0], 0.1, 0.0);
        optimizer.keep_elements(0, &[0, 2]);
        assert_eq!(optimizer.slots[0].first, [1.0, 3.0]);
    }
}
