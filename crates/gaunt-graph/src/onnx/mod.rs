//! ONNX files in and out.
//!
//! [`read`] takes models of opset 9 to 21 and brings them into the [normal form](crate): weights keep their names,
//! shape arithmetic is evaluated, the first axis of every input with several axes becomes the batch, whether the file
//! leaves it open or not. [`write`](write()) makes a model that other runtimes load.
//!
//! A file may come from anywhere. Reading allocates in proportion to its size, never panics, and refuses
//! - messages nested deeper than 32 levels,
//! - tensors whose declared shape does not match their bytes,
//! - values with more than 16 axes,
//! - folded constants of more elements than the bytes of the file plus 2^20,
//! - weights stored outside of the folder of the model.
//!
//! ```
//! use gaunt_graph::{Dim, Graph, Op, Unary, onnx};
//!
//! let mut graph = Graph::new("tiny");
//! let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(4)]);
//! let y = graph.add_node("y", Op::Unary(Unary::Relu), &[x])?;
//! graph.outputs.push(y);
//!
//! let bytes = onnx::write(&graph)?;
//! assert_eq!(onnx::read(&bytes)?, graph);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;
mod constant;
mod error;
mod export;
mod external;
mod fold;
mod import;
mod nesting;
mod operators;
mod tensor;

use std::path::Path;

pub use error::OnnxError;
pub use export::write;

use crate::Graph;
use external::External;

/// Reads a model from memory.
///
/// # Errors
/// If the bytes are not a model, or it uses something that is not supported; also if weights are stored in other
/// files, which only [`read_file`] can find.
pub fn read(bytes: &[u8]) -> Result<Graph, OnnxError> {
    read_with(bytes, &External::None)
}

/// Reads a model from a file; weights may be stored in other files in its folder.
///
/// # Errors
/// If a file cannot be read, or as for [`read`].
pub fn read_file(path: impl AsRef<Path>) -> Result<Graph, OnnxError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| OnnxError::Io { path: path.to_path_buf(), source })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    read_with(&bytes, &External::Folder(folder.to_path_buf()))
}

/// The ONNX operators that [`read`] takes, in alphabetical order.
pub fn supported_operators() -> Vec<&'static str> {
    operators::names()
}

fn read_with(bytes: &[u8], external: &External) -> Result<Graph, OnnxError> {
    nesting::check(bytes)?;
    let model = onnx_rs::parse(bytes).map_err(|error| OnnxError::Malformed(error.to_string()))?;
    import::import(&model, bytes.len(), external)
}
