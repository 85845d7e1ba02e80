//! What a reader is willing to take on.

use crate::FormatError;

/// Limits of a reader; what exceeds them is refused before memory is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// Parameters of the graph.
    pub tensors: usize,
    /// Axes of a shape.
    pub rank: usize,
    /// Elements of all parameters.
    pub elements: usize,
    /// Bytes of the description and of the metadata, each, once expanded.
    pub description: usize,
}

/// A coded element costs at least this part of a byte, beyond [`FREE_ELEMENTS`] for each tensor: what claims more elements for
/// its bytes is no file of ours. An adaptive decision costs at least 1/11,000 of a bit; real tensors stay far above.
pub(crate) const ELEMENTS_PER_BYTE: usize = 32_768;
/// Elements that a tensor may have for no bytes at all.
pub(crate) const FREE_ELEMENTS: usize = 65_536;

impl Default for Limits {
    /// 1 GiB, 65,536 nodes, 65,536 tensors, rank 8, 268,435,456 elements, 4 MiB of description.
    fn default() -> Self {
        Self { bytes: 1 << 30, nodes: 1 << 16, tensors: 1 << 16, rank: 8, elements: 1 << 28, description: 4 << 20 }
    }
}

/// Refuses `found` beyond `limit`.
pub(crate) fn check(what: &'static str, found: usize, limit: usize) -> Result<(), FormatError> {
    if found > limit {
        return Err(FormatError::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}
