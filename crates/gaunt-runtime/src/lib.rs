//! Inference of networks that Gaunt made thin.
//!
//! A [`Session`] holds a network ready to run: made from the bytes of a `.gaunt` file ([`Session::from_bytes`]) or
//! from a [`Graph`](gaunt_graph::Graph) ([`Session::new`]), whose parameters may be floats or integer codes.
//! Pruned weights take neither memory nor time.
//!
//! ```
//! use gaunt_graph::{Dim, Graph, Op, Tensor, Unary};
//! use gaunt_runtime::Session;
//!
//! let mut graph = Graph::new("one layer");
//! let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(3)]);
//! let weight = graph.add_parameter("weight", Tensor::from_codes(vec![2, 3], vec![1, 0, -2, 0, 3, 0], vec![0.5])?);
//! let y = graph.add_node("layer", Op::Linear, &[x, weight])?;
//! let y = graph.add_node("relu", Op::Unary(Unary::Relu), &[y])?;
//! graph.outputs.push(y);
//!
//! let mut session = Session::new(&graph)?;
//! let outputs = session.run(&[&[4.0, 2.0, 1.0, -1.0, 0.0, 0.0]], 2)?;
//! let y = outputs.get(0).expect("the graph has an output");
//! assert_eq!(y.shape, [2, 2]);
//! assert_eq!(y.data, [1.0, 3.0, 0.0, 0.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The same bits everywhere
//!
//! This crate defines what a compressed file computes. Arithmetic is IEEE 754 `f32`; every sum has a fixed order, which
//! each operator's source states; products and sums are rounded apart, never contracted into a fused multiply-add; the
//! exponential, the error function and their like come from `libm`, not from the platform. Any machine whose `f32` is
//! IEEE 754 therefore computes the same bits, whatever its vector units and the batch size are. (NaNs are the exception:
//! they stay NaNs, but their payloads may differ.) Against onnxruntime, results differ by rounding only.
//!
//! # Memory
//!
//! Buffers are laid out when a batch size is first seen and used again once their value is dead; element-wise operators
//! work in place, reshapes cost nothing. [`Session::memory`] tells what that takes. A second run with the same batch
//! size allocates nothing.
//!
//! # Limits
//!
//! - A value has at most [`MAX_RANK`] axes and at least one element.
//! - Activations and work space take at most [`DEFAULT_MEMORY_LIMIT`], or what [`Session::with_memory_limit`] says. What
//!   would exceed it is refused before it is allocated.
//! - Weights of convolutions and linear layers are parameters, not computed.
//! - The height and width of images are fixed; only the batch is free.
//!
//! The crate is `no_std` and needs an allocator.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod kernel;
mod ops;
mod plan;
mod program;
mod session;
#[cfg(test)]
mod testing;
mod view;

pub use error::RuntimeError;
pub use session::{DEFAULT_MEMORY_LIMIT, Memory, Outputs, Session};
pub use view::{MAX_RANK, View};
