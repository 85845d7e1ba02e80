//! Rewrites that leave the function of a network as it is, up to rounding.

mod batch_norm;
mod channels;
mod constants;
mod dead;
mod prune;
mod survivors;
mod uses;

pub use batch_norm::fold_batch_norm;
pub use constants::Mode;
pub use dead::{DeadChannels, drop_dead_channels};
pub use prune::prune_unused;
pub use survivors::{Selection, Survivors};
