//! Adaptive joint compression: sparsity and bit-width trained together, per layer, against the bytes of the file.
//!
//! The way of a network through this crate:
//!
//! 1. Its sensitivities are measured: the Fisher information of each layer's weights gives the unit in which the layer is quantised.
//! 2. A joint quantiser rounds all layers with one global step, by plain rounding; what is pruned and
//!    how many bits a layer has follow from it.
//! 3. [`Run::train`] trains the latent weights against the dense network's predictions, pulled by the slope of
//!    a rate model, while a controller moves the global step so that the estimated file follows the budget. Channels
//!    that have died leave the network on the way, so that steps get cheaper.
//! 4. [`Run::finish`] measures batch norm again, chooses the final codes with the file's own coder, folds batch norm, drops dead channels
//!    and checks the written file against the [`Budget`].
//!
//! The method follows Yao et al. (*Adaptive joint compression method for deep neural networks*, 2023) in training
//! sparsity and bit-width jointly and per layer; rate in the loss after Oktay et al. (ICLR 2020), straight-through
//! rounding after Esser et al. (ICLR 2020), sensitivities as in Dong et al. (HAWQ-V2, 2020).

mod budget;
mod compact;
mod controller;
mod dense;
mod error;
mod evaluate;
mod feedback;
mod finish;
mod options;
mod outcome;
mod overrides;
mod pull;
mod quantizer;
mod rate;
mod refine;
mod run;
mod sensitivity;
mod size;
mod start;
mod teachers;
#[cfg(test)]
mod testing;

pub use budget::{Budget, ByteSize, ByteSizeError};
pub use dense::store;
pub use error::{CompressError, Observer, Snapshot};
pub use evaluate::{accuracy, predict};
pub use finish::{CodedWeight, finish};
pub use options::{Effort, Method, Options, UnknownMethod};
pub use outcome::Outcome;
pub use overrides::{LayerOverride, Overrides, OverridesError};
pub use quantizer::bit_width;
pub use run::{Metrics, Run, TrainingData};
