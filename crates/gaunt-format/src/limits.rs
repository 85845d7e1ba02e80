//! What a reader is willing to take on.

use alloc::format;

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

/// What claims more elements for its bytes, beyond [`FREE_ELEMENTS`] for each tensor, is no file of ours: a decision costs
/// at least 1/11,356 of a bit, so that a byte holds 90,848 zeros at most.
const ELEMENTS_PER_BYTE: usize = 1 << 17;
/// Elements that a tensor may have for no bytes at all: an encoder leaves out zero bytes at the end of a stream.
const FREE_ELEMENTS: usize = 1 << 19;

impl Default for Limits {
    /// 1 GiB, 65,536 nodes, 65,536 tensors, rank 8, 268,435,456 elements, 4 MiB of description.
    fn default() -> Self {
        Self { bytes: 1 << 30, nodes: 1 << 16, tensors: 1 << 16, rank: 8, elements: 1 << 28, description: 4 << 20 }
    }
}

/// The number of elements of a shape that as many bytes can hold.
pub(crate) fn elements(shape: &[usize], bytes: usize) -> Result<usize, FormatError> {
    let limit = bytes.saturating_mul(ELEMENTS_PER_BYTE).saturating_add(FREE_ELEMENTS);
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    count
        .filter(|&count| count <= limit && shape.iter().all(|&size| size <= limit))
        .ok_or_else(|| FormatError::invalid("a tensor", format!("shape {shape:?} cannot come from {bytes} bytes")))
}

/// Refuses `found` beyond `limit`.
pub(crate) fn check(what: &'static str, found: usize, limit: usize) -> Result<(), FormatError> {
    if found > limit {
        return Err(FormatError::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}
