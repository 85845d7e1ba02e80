//! What a compression can be told, and the constants that won the experiments in `docs/experiments.md`.

use std::{fmt, num::NonZeroUsize, str::FromStr};

use gaunt_data::{Augment, DataError, Loader, LoaderOptions, Normalization};
use gaunt_format::Metadata;
use gaunt_train::Precision;

use crate::{Budget, Overrides, TrainingData};

/// Settings of one compression.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the file may cost.
    pub budget: Budget,
    /// How layers share it.
    pub method: Method,
    /// Wishes for single layers.
    pub overrides: Overrides,
    /// Passes over the training split; 0 quantises without training.
    pub epochs: u32,
    /// Ways in which the final codes are chosen.
    pub effort: Effort,
    /// Images per step.
    pub batch: usize,
    /// Of operands while training; what is measured at the end is in single precision.
    pub precision: Precision,
    /// Seed of batches, augmentation and sensitivity.
    pub seed: u64,
    /// Normalisation of the images.
    pub normalization: Normalization,
    /// Augmentation of training images.
    pub augment: Augment,
    /// Views of each training image, which come back after as many epochs; the teachers predict each once. None shows new ones in each
    /// epoch, which the teachers predict step by step.
    pub views: Option<NonZeroUsize>,
    /// What the file will say beside the graph; its bytes count.
    pub metadata: Metadata,
}

impl Options {
    /// Training batches.
    pub(crate) fn loader(&self, data: &TrainingData) -> Result<Loader, DataError> {
        let options = LoaderOptions {
            batch_size: self.batch,
            seed: self.seed,
            normalization: self.normalization.clone(),
            augment: self.augment,
            views: self.views,
            drop_last: true,
        };
        Loader::new(&data.train, options)
    }
}

/// How much time the choice of the final codes may take. Each way of choosing costs a fit to the size, and an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The codes as they were trained.
    Low,
    /// One refinement, and the codes as they were trained.
    #[default]
    Normal,
    /// Several refinements.
    High,
}

impl Effort {
    /// Strengths of the rate-distortion choice of codes, 1 being the price that the step size implies, 0 no choice; at least
    /// one, the strongest first. Where errors are made good by other weights ([`feedback`](crate::feedback)), weak ones are best.
    pub(crate) fn refinements(self, feedback: bool) -> &'static [f32] {
        match self {
            Self::Low => &[0.0],
            Self::Normal if feedback => &[0.01],
            Self::Normal => &[0.25, 0.0],
            Self::High if feedback => &[0.25, 0.12, 0.05, 0.02, 0.01, 0.005, 0.0],
            Self::High => &[1.0, 0.7, 0.5, 0.35, 0.25, 0.12, 0.0],
        }
    }
}

/// How the layers share the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// One price of a bit for the whole network: every layer finds its own sparsity and bit-width.
    #[default]
    Joint,
    /// Control: every layer gets the same bits per weight.
    Uniform,
}

impl Method {
    /// All methods with the names they have on the command line.
    pub const ALL: [(&'static str, Method); 2] = [("joint", Method::Joint), ("uniform", Method::Uniform)];
}

/// A method that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no method `{0}`; methods are joint, uniform")]
pub struct UnknownMethod(String);

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, method)| *method).ok_or_else(|| UnknownMethod(text.to_string()))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Self::ALL.iter().find(|(_, method)| method == self).unwrap_or(&Self::ALL[0]);
        f.write_str(name)
    }
}

/// Share of distillation in the loss; the rest is the labels'.
pub(crate) const DISTILLATION: f32 = 1.0;
/// Peak rate of the latent weights, in steps of their layer's quantiser.
pub(crate) const LATENT_RATE: f32 = 0.005;
/// The same while a price of bits pulls at them: they have far to go.
pub(crate) const PULLED_RATE: f32 = 0.01;
/// Peak rate of batch norm, biases and whatever else is not quantised during training.
pub(crate) const OTHER_RATE: f32 = 5e-4;
/// Moments of Adam.
pub(crate) const BETAS: (f32, f32) = (0.9, 0.99);
/// Steps over which the rates rise.
pub(crate) const WARM_UP: u64 = 50;
/// Steps between two looks at the size.
pub(crate) const RESIZE_STEPS: u64 = 10;
/// Rounds in which one such look moves the quantiser's steps, and the largest error in bits that a round reacts to.
pub(crate) const RESIZE_ROUNDS: usize = 4;
pub(crate) const MAX_RESIZE: f64 = 1.2;
/// Steps between two snapshots; a multiple of [`RESIZE_STEPS`].
pub(crate) const SNAPSHOT_STEPS: u64 = 100;
/// Rounds in which the starting steps are found, and rounds between measurements of the coder among them.
pub(crate) const SOLVE_ROUNDS: usize = 30;
pub(crate) const CALIBRATE_ROUNDS: usize = 10;
/// Batches for the Fisher information.
pub(crate) const FISHER_BATCHES: usize = 60;
/// Batches on which the inputs of layers are sampled.
pub(crate) const FEEDBACK_BATCHES: usize = 8;
/// Batches over which batch-norm statistics are measured again at the end.
pub(crate) const STATISTICS_BATCHES: usize = 40;
/// Least share of a step's multiplications for which dead channels are taken out: below that it is not worth a notice.
pub(crate) const COMPACTION: f64 = 0.05;
/// Evaluations per epoch, so that accuracy can steer.
pub(crate) const EVALUATIONS_PER_EPOCH: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_name_and_the_error_lists_them() {
        for (name, method) in Method::ALL {
            assert_eq!(name.parse(), Ok(method));
            assert_eq!(method.to_string(), name);
            assert!("x".parse::<Method>().unwrap_err().to_string().contains(name));
        }
    }
}
