//! The `.gaunt` file: a network as small as it gets, that still runs.
//!
//! ```
//! use gaunt_format::{Metadata, Model};
//! use gaunt_graph::{Dim, Graph, Op, Tensor};
//!
//! let mut graph = Graph::new("tiny");
//! let x = graph.add_input("image", vec![Dim::Batch(1), Dim::Fixed(3)]);
//! let weight = graph.add_parameter("fc.weight", Tensor::from_codes(vec![2, 3], vec![1, 0, -2, 0, 0, 1], vec![0.5])?);
//! let y = graph.add_node("fc", Op::Linear, &[x, weight])?;
//! graph.outputs.push(y);
//!
//! let bytes = Model { graph, metadata: Metadata::default() }.to_bytes()?;
//! let model = Model::from_bytes(&bytes)?;
//! assert_eq!(model.graph.weights().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A file holds the graph, every parameter as floats or as entropy-coded integer codes with scales, and metadata:
//! normalisation of the input, class names, provenance, and a golden input with its output. `docs/format.md` of the
//! project describes every byte.
//!
//! Weight codes go through an entropy coder (asymmetric numeral systems) with adaptive distributions, chosen by the magnitude and the sign to
//! expect from the layer, the row, the column and the kernel so far; a pruned weight is a zero code and costs a fraction of a bit. All
//! of it is integer arithmetic, so that every machine reads the same numbers.
//!
//! [`Model`] reads and writes a whole file. [`File`] reads tensors one by one, and those row by row, in some 50 KiB however large they are.
//!
//! With the feature `parallel`, which needs the standard library, the tensors of a file are coded side by side.
//!
//! # Safety
//!
//! A file may come from anywhere. The reader checks lengths before it reserves memory, has published [`Limits`], refuses unknown versions and
//! operators, verifies checksums, and validates the graph before anyone runs it. It is `no_std` and has no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "parallel"))]
extern crate std;

mod ans;
mod code_model;
mod codes;
mod container;
mod context;
mod cost;
mod description;
mod error;
mod fullness;
mod grid;
mod half;
mod limits;
mod logarithm;
mod logistic;
mod metadata;
mod mix;
mod operators;
mod plan;
mod range;
mod rests;
mod side_by_side;
mod symbols;
mod taps;
mod tensor;
mod text;
mod wire;

pub use codes::{decode_all_codes, decode_codes, encode_codes};
pub use container::{File, Layout, Model, VERSION};
pub use cost::CostModel;
pub use error::FormatError;
pub use limits::Limits;
pub use metadata::{Golden, Metadata, Provenance};
pub use tensor::{Row, Rows};
