//! What can go wrong when a network is planned or run.

use alloc::string::String;

/// A network that cannot be executed, or inputs that do not fit it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] gaunt_format::FormatError),
    /// The graph contradicts itself: an id out of range, a value used before it is made, a wrong shape.
    #[error(transparent)]
    Graph(#[from] gaunt_graph::GraphError),
    /// A value outside of the runtime's limits.
    #[error("value `{value}` {reason}")]
    Value {
        /// Name of the value.
        value: String,
        /// What it has, and what is allowed.
        reason: String,
    },
    /// An operator in a form that the runtime does not execute.
    #[error("node `{node}` ({op}): {reason}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// What is not supported, and what would be.
        reason: String,
    },
    /// A batch without images.
    #[error("the batch has no image, but at least 1 is needed")]
    EmptyBatch,
    /// More or fewer inputs than the network has.
    #[error("the network has {expected} inputs, but {found} were given")]
    InputCount {
        /// Inputs of the network.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of the wrong size.
    #[error("input `{name}` has {found} numbers, but {expected} are needed for a batch of {batch}")]
    InputSize {
        /// Name of the input.
        name: String,
        /// Numbers that the batch needs.
        expected: usize,
        /// Numbers given.
        found: usize,
        /// Images in the batch.
        batch: usize,
    },
    /// Activations and work space would exceed the session's memory limit.
    #[error(
        "a batch of {batch} needs more memory than the limit of {limit} bytes; run fewer images or raise the limit"
    )]
    MemoryLimit {
        /// Images in the batch.
        batch: usize,
        /// The limit.
        limit: usize,
    },
    /// The system has no memory left.
    #[error("{bytes} bytes could not be allocated; run fewer images at a time")]
    OutOfMemory {
        /// Size of the buffer that could not be had.
        bytes: usize,
    },
}
