//! Rewrites that leave the function of a network as it is, up to rounding.

mod batch_norm;
mod dead;
mod prune;
mod uses;

pub use batch_norm::fold_batch_norm;
pub use dead::drop_dead_channels;
pub use prune::prune_unused;
