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
    /// Bytes of the description and of the metadata, each, once expanded; also of all names of nodes and of what they make.
    pub description: usize,
}

/// A file has at most this many elements for each of its bytes, beyond [`FREE_ELEMENTS`]: four thousand times smaller than
/// its network is beyond any use, and a small file must not make a reader reserve much memory.
const ELEMENTS_PER_BYTE: usize = 1 << 10;
/// Elements that any file may have.
const FREE_ELEMENTS: usize = 1 << 19;

/// Description and metadata have at most this many bytes for each of their packed ones, beyond [`FREE_TEXT`]: names of layers
/// shrink to a twentieth.
const TEXT_PER_BYTE: usize = 64;
/// Bytes that any description and any metadata may have.
const FREE_TEXT: usize = 1 << 16;

impl Default for Limits {
    /// 1 GiB, 65,536 nodes, 65,536 tensors, rank 8, 268,435,456 elements, 4 MiB of description.
    fn default() -> Self {
        Self { bytes: 1 << 30, nodes: 1 << 16, tensors: 1 << 16, rank: 8, elements: 1 << 28, description: 4 << 20 }
    }
}

/// The number of elements of a shape.
pub(crate) fn elements(shape: &[usize]) -> Result<usize, FormatError> {
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    count.ok_or_else(|| FormatError::invalid("a tensor", format!("shape {shape:?} has too many elements")))
}

/// The numbers that a tensor of a shape may hold: its elements, or its scales if there are more of them.
pub(crate) fn numbers(shape: &[usize]) -> Result<usize, FormatError> {
    Ok(elements(shape)?.max(shape.first().copied().unwrap_or(1)))
}

/// Most bytes that so many packed ones may expand to.
pub(crate) fn text_of(packed: usize) -> usize {
    packed.saturating_mul(TEXT_PER_BYTE).saturating_add(FREE_TEXT)
}

/// Most elements that a file of so many bytes may have.
pub(crate) fn elements_of(bytes: usize) -> usize {
    bytes.saturating_mul(ELEMENTS_PER_BYTE).saturating_add(FREE_ELEMENTS)
}

/// Refuses `found` beyond `limit`.
pub(crate) fn check(what: &'static str, found: usize, limit: usize) -> Result<(), FormatError> {
    if found > limit {
        return Err(FormatError::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}
