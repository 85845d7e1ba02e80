//! The Graph of Gaunt: operators, shapes, tensors, and the ways in and out of it.
//!
//! A [`Graph`] is a network as a list of [`Node`]s in execution order over [`Value`]s. Imported networks
//! ([`onnx`]), built ones ([`zoo`]) and decoded files are the same thing, and every part of Gaunt that executes,
//! trains, compresses or stores a network works on it.
//!
//! # Normal form
//!
//! The Graph is smaller than ONNX: whatever can be decided when a network is read is decided then.
//! - Every value that flows at run time is `f32`; shapes are known but for the batch dimension ([`Dim::Batch`]).
//! - Shape arithmetic is folded away; targets of reshapes, pads, slices are attributes of the [`Op`].
//! - `Flatten`, `Squeeze`, `Unsqueeze` are [`Op::Reshape`]; `Gemm` is [`Op::Linear`]; `GlobalAveragePool` is
//!   [`Op::Reduce`]; `Dropout` and `Identity` are gone.
//! - Parameters are values that carry a [`Tensor`], under the names that their authors gave them.
//!
//! A parameter may hold integer codes with scales instead of floats ([`Data::Codes`]): that is what compression
//! produces, what the `.gaunt` file stores and what the runtime executes.
//!
//! The crate is `no_std` (with `alloc`) when its features are off; the runtime on a microcontroller uses it so.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod graph;
#[cfg(any(feature = "onnx", feature = "weights"))]
mod half;
#[cfg(feature = "onnx")]
pub mod onnx;
mod op;
mod quantize;
pub mod rewrite;
mod shape;
mod tensor;
#[cfg(feature = "weights")]
pub mod weights;
pub mod zoo;

pub use graph::{Graph, GraphError, Node, Value, ValueId, WeightRef};
pub use op::{
    Binary, Conv, NearestRounding, Op, PadMode, Pool, Reduction, Resize, ResizeCoordinates, ResizeMode, SliceAxis,
    Unary,
};
pub use quantize::{log_scale, nearest_log_scale};
pub use shape::{Dim, Shape, ShapeError};
pub use tensor::{Data, Tensor, TensorError};
