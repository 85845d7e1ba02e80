//! What can go wrong, and who is told how it goes.

use gaunt_data::DataError;
use gaunt_format::FormatError;
use gaunt_graph::TensorError;
use gaunt_runtime::RuntimeError;
use gaunt_train::{Checkpoint, CheckpointError, TrainError};

use crate::{Metrics, OverridesError};

/// Why a compression stopped.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// No convolution or linear layer with constant weights.
    #[error("the network has no convolution or linear layer with constant weights, so there is nothing to compress")]
    NothingToCompress,
    /// The user asked to stop.
    #[error("interrupted; the state is saved")]
    Interrupted,
    /// The loss left all bounds again and again.
    #[error(
        "the loss diverged {rollbacks} times, the last time at step {step}, although the learning rate was halved each time"
    )]
    Diverged {
        /// Step of the last time.
        step: u64,
        /// How often.
        rollbacks: u32,
    },
    /// Predictions for more views than memory should hold.
    #[error(
        "a teacher's predictions for {views} views of each image take {bytes} bytes, more than {limit}; ask for fewer views, or for new ones in each epoch"
    )]
    Views {
        /// Views of each image.
        views: usize,
        /// Bytes for all predictions.
        bytes: usize,
        /// Most that are kept.
        limit: usize,
    },
    /// A checkpoint of something else.
    #[error("the checkpoint does not belong to this run: {0}; start again without --resume")]
    Mismatch(String),
    /// A checkpoint that cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Layer overrides that cannot be obeyed.
    #[error(transparent)]
    Overrides(#[from] OverridesError),
    /// Images that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A network that cannot be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A network that the runtime cannot execute.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A graph that cannot be written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Codes that do not fit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Which state is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// The newest, to go on from.
    Latest,
    /// The smallest so far whose accuracy was in budget.
    Best,
    /// What the teachers predicted so far, for [views](crate::Options::views) that come back. It saves time, and changes nothing.
    Predictions,
}

/// Who is told how a compression goes, keeps its snapshots and may stop it. What is not implemented is ignored.
pub trait Observer {
    /// A phase without steps begins.
    fn phase(&mut self, name: &str) {
        let _ = name;
    }
    /// So many of the images of the phase are done.
    fn progressed(&mut self, done: u64, total: u64) {
        let _ = (done, total);
    }
    /// A step of training is done.
    fn stepped(&mut self, done: u64, total: u64, loss: f64) {
        let _ = (done, total, loss);
    }
    /// An evaluation is done.
    fn evaluated(&mut self, metrics: &Metrics) {
        let _ = metrics;
    }
    /// Something happened that the user should know.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }
    /// Keeps a snapshot.
    ///
    /// # Errors
    /// If it cannot be kept.
    fn save(&mut self, which: Snapshot, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let _ = (which, checkpoint);
        Ok(())
    }
    /// Whether the run should save its state and stop.
    fn interrupted(&self) -> bool {
        false
    }
}
