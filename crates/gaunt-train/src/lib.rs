//! Runs, differentiates and trains a [`Graph`](gaunt_graph::Graph) on a burn [`Device`].
//!
//! # A network on a device
//!
//! [`Network`] compiles a graph once and then runs it: [`logits`](Network::logits) for a batch in inference mode,
//! [`gradients`](Network::gradients) for a step of training, [`run`](Network::run) for any network and all its outputs.
//! The host owns the truth. Parameters, gradients and running statistics are slices of `f32` that are named by
//! [`ValueId`](gaunt_graph::ValueId); the device gets copies. So an optimiser, a quantiser or a checkpoint is a pass
//! over slices, and needs to know nothing of devices.
//!
//! ```
//! use gaunt_data::{OpenOptions, Source, Split, open_split};
//! use gaunt_graph::{Dim, Graph, Op, Tensor};
//! use gaunt_train::{Device, Network, Target, evaluate, optim::{Algorithm, Optimizer}};
//!
//! // A linear classifier of the embedded digits.
//! let mut graph = Graph::new("linear");
//! let images = graph.add_input("images", vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)]);
//! let pixels = graph.add_node("pixels", Op::Reshape { shape: vec![Dim::Batch(1), Dim::Fixed(64)] }, &[images])?;
//! let weight = graph.add_parameter("weight", Tensor::full(vec![10, 64], 0.0));
//! let logits = graph.add_node("logits", Op::Linear, &[pixels, weight])?;
//! graph.outputs.push(logits);
//!
//! let mut network = Network::new(&graph, &Device::flex())?;
//! let mut optimizer = Optimizer::new(Algorithm::SGD, [640]);
//! let digits = open_split(&Source::Digits, Split::Train, &OpenOptions::default())?;
//! let normalization = Source::Digits.default_normalization(1).expect("the digits are known");
//! for batch in digits.batches(100, &normalization)? {
//!     network.gradients(&batch, &Target::labels(&batch.labels))?;
//!     optimizer.begin_step();
//!     network.update(|index, _, weights, gradient| optimizer.update(index, weights, gradient, 0.01, 0.0));
//! }
//! assert!(evaluate(&mut network, &digits, &normalization)?.top1 > 80.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A whole run
//!
//! [`train`] does this for many epochs, with a [`schedule`], augmentation, label smoothing, a teacher, checkpoints,
//! exact resume, and a way back when the loss explodes. Whoever wants another loop builds it of the same parts:
//! [`Step`], [`loss`], [`optim`], [`schedule`], [`checkpoint`]. [`profile`] says where a step's time goes.
//!
//! # Same bytes
//!
//! Loss, statistics and optimiser are computed on the host in a fixed order, the operators on the CPU device split
//! their work in the same way for any number of threads. A run gives the same bytes with 1 thread and with 8, and
//! resumed or not. On GPU devices that is up to their kernels.
//!
//! # Limits
//!
//! - Trained are weights, scales and biases of convolutions, linear layers, normalisations and PReLU. Other
//!   constants, such as a position embedding that is added, stay as they are ([`Network::parameters`]).
//! - Batch norms move their running statistics by a share of 0.1 for each batch, PyTorch's default.
//! - `Truncate` and `NotZero` have no gradient.
//! - Numbers are `f32`; operands of convolutions and linear layers may be rounded to bfloat16 ([`Precision`]).
#![forbid(unsafe_code)]

pub mod checkpoint;
mod error;
mod evaluate;
mod execute;
mod flow;
mod growth;

pub mod loss;
mod network;
mod ops;
pub mod optim;
mod parameters;
mod plain;
mod plan;
pub mod schedule;
mod step;
mod trainer;

pub use burn::tensor::Device;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use gaunt_kernels::{Isa, Precision, profile};
pub use growth::Growth;
pub use loss::{Loss, Target, Teacher, argmax};
pub use network::{Network, StepOutcome};
pub use parameters::{Parameter, Role};
pub use step::Step;
pub use trainer::{Checkpoints, Distillation, EpochMetrics, Progress, TrainOptions, TrainOutcome, train};
