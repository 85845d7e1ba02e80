//! Errors of import and export.

use std::path::PathBuf;

use super::nesting::MAX_NESTING;
use crate::{GraphError, ShapeError, TensorError};

/// Why a network could not be read from ONNX or written to it.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not the protobuf encoding of a model.
    #[error("not a valid onnx file: {0}")]
    Malformed(String),
    /// Subgraphs or types within each other, deeper than any network needs.
    #[error("not a valid onnx file: messages are nested deeper than {MAX_NESTING} levels")]
    Nesting,
    /// An operator set that is too old or too new.
    #[error("the model uses opset {0}, but opsets 9 to 21 are supported; export it again with opset 17")]
    Opset(i64),
    /// An operator that has no counterpart here.
    #[error("node `{node}`: operator `{op}` is not supported; supported are {supported}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// The operator, with its domain unless that is the default.
        op: String,
        /// All supported operators.
        supported: String,
    },
    /// A node whose inputs or attributes cannot be taken.
    #[error("node `{node}` ({op}): {reason}")]
    Node {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// What is wrong.
        reason: String,
    },
    /// A graph input that cannot be taken.
    #[error("input `{name}`: {reason}")]
    Input {
        /// Name of the input.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A graph output that nothing makes.
    #[error("output `{0}` is not made by any node")]
    Output(String),
    /// A weight that cannot be decoded.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// What is wrong, before the place is known.
#[derive(Debug)]
pub(super) struct Reason(pub(super) String);

/// The result of translating something; [`Reason`] gets its place further out.
pub(super) type Outcome<T> = Result<T, Reason>;

impl From<ShapeError> for Reason {
    fn from(error: ShapeError) -> Self {
        Self(error.0)
    }
}

impl From<TensorError> for Reason {
    fn from(error: TensorError) -> Self {
        Self(error.to_string())
    }
}

impl From<GraphError> for Reason {
    fn from(error: GraphError) -> Self {
        Self(error.to_string())
    }
}

/// `fail!("format", ..)` is an [`Outcome`] that failed for this reason.
macro_rules! fail {
    ($($arg:tt)*) => { Err(crate::onnx::error::Reason(format!($($arg)*))) };
}
pub(super) use fail;
