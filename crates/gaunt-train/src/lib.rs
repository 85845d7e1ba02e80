//! Train.
#![forbid(unsafe_code)]
mod error;
pub mod checkpoint;
pub mod loss;
pub mod optim;
mod ops;
mod plain;
pub mod schedule;
pub use error::TrainError;
