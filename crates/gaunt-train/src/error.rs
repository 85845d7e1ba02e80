//! What can go wrong.

use gaunt_graph::{GraphError, TensorError};

use crate::checkpoint::CheckpointError;

/// Why a network could not be run or trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A graph that this crate cannot run or train.
    #[error("{0}")]
    Network(String),
    /// An input of another size than the network takes.
    #[error("input `{name}` takes {expected} numbers for a batch of {batch}, but {found} were given")]
    Input {
        /// The input's name.
        name: String,
        /// Images in the batch.
        batch: usize,
        /// Numbers needed.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// Labels or a teacher that do not fit the logits.
    #[error("{0}")]
    Target(String),
    /// Options that cannot be.
    #[error("{0}")]
    Options(String),
    /// Training diverged again and again, however small the rate.
    #[error(
        "the loss stopped being a number {attempts} times, the last time at step {step}, although the learning rate was halved each time; start with a smaller rate"
    )]
    Diverged {
        /// How often.
        attempts: u64,
        /// The step of the last time.
        step: u64,
    },
    /// The device failed.
    #[error("the device failed to compute `{0}`")]
    Device(String),
    /// A checkpoint could not be written, read or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The data does not fit.
    #[error(transparent)]
    Data(#[from] gaunt_data::DataError),
    /// A graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor is not valid.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
