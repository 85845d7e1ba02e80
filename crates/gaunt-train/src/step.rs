//! One step of training.

use gaunt_data::Batch;

use crate::{Distillation, Network, StepOutcome, Target, Teacher, TrainError, optim::Optimizer};

/// What a step goes by besides network, optimiser and batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Learning rate.
    pub rate: f32,
    /// Decoupled weight decay, on weights only; see [`optim`](crate::optim).
    pub weight_decay: f32,
    /// Label smoothing, in `0..1`.
    pub smoothing: f32,
    /// How much a teacher counts, if there is one.
    pub distillation: Distillation,
}

impl Step {
    /// Computes the gradients of the batch, and moves the parameters unless the loss is not a finite number. A teacher comes with
    /// the images that it sees: those of the batch, perhaps at another size.
    ///
    /// # Errors
    /// If the images do not fit the network or the teacher, or the device fails.
    pub fn take(
        &self,
        network: &mut Network,
        teacher: Option<(&mut Network, &Batch)>,
        optimizer: &mut Optimizer,
        batch: &Batch,
    ) -> Result<StepOutcome, TrainError> {
        let Distillation { temperature, weight } = self.distillation;
        let teacher_logits = match teacher {
            Some((teacher, view)) => Some(teacher.logits(&view.images, view.len())?),
            None => None,
        };
        let teacher = teacher_logits.as_ref().map(|logits| Teacher { logits, temperature, weight });
        let target = Target { labels: &batch.labels, smoothing: self.smoothing, teacher };
        let outcome = network.gradients(batch, &target)?;
        if outcome.loss.is_finite() {
            optimizer.begin_step();
            network.update(|index, parameter, floats, gradient| {
                let decay = if parameter.role.decays() { self.weight_decay } else { 0.0 };
                optimizer.update(index, floats, gradient, self.rate, decay);
            });
        }
        Ok(outcome)
    }
}
