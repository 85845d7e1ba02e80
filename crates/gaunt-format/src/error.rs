//! What can be wrong with a file, or with a model that should become one.

use alloc::string::String;

use gaunt_graph::{GraphError, TensorError};

/// Why a file could not be read or a model not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Other bytes than a `.gaunt` file starts with.
    #[error("not a .gaunt file: it does not start with `GAUNT`")]
    Magic,
    /// A version that this reader does not know.
    #[error("format version {found} is not known, only {known}; read it with a newer version of gaunt")]
    Version {
        /// In the file.
        found: u8,
        /// What is known.
        known: u8,
    },
    /// The file ends before it should.
    #[error("the file is truncated in {place}")]
    Truncated {
        /// Where.
        place: &'static str,
    },
    /// Bytes after the end.
    #[error("the file has {count} bytes after its end")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A checksum that does not hold.
    #[error("{place} is damaged: its checksum is {found:08x}, but should be {expected:08x}")]
    Checksum {
        /// Where.
        place: &'static str,
        /// Of the bytes.
        found: u32,
        /// In the file.
        expected: u32,
    },
    /// Values that cannot be.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where.
        place: &'static str,
        /// What.
        reason: String,
    },
    /// More than the reader's limits allow.
    #[error("the file has {found} {what}, but at most {limit} are read")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// In the file.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A graph that does not hold together.
    #[error("the graph in the file is not valid: {0}")]
    Graph(#[from] GraphError),
    /// A tensor that does not hold together.
    #[error("a tensor in the file is not valid: {0}")]
    Tensor(#[from] TensorError),
}

impl FormatError {
    pub(crate) fn invalid(place: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { place, reason: reason.into() }
    }
}
