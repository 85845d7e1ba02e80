//! Images for training and testing, the same in every run.
//!
//! A [`Source`] says where images are; [`open`] reads them into [`Dataset`]s of bytes; a [`Loader`] makes the
//! shuffled, augmented, normalised [`Batch`]es of an epoch, and [`Dataset::batches`] those of an evaluation:
//!
//! ```
//! use std::sync::Arc;
//! use gaunt_data::{Loader, LoaderOptions, Normalization, OpenOptions, Source, open};
//!
//! let source: Source = "digits".parse()?;
//! let splits = open(&source, &OpenOptions::default())?;
//! let [channels, height, width] = splits.train.shape();
//! let normalization =
//!     source.default_normalization(channels).unwrap_or_else(|| Normalization::measure(&splits.train));
//!
//! let options = LoaderOptions {
//!     batch_size: 64,
//!     seed: 7,
//!     normalization: normalization.clone(),
//!     augment: source.default_augment(height.min(width)),
//!     views: None,
//!     drop_last: true,
//! };
//! let loader = Loader::new(&Arc::new(splits.train), options)?;
//! for batch in loader.epoch(0, 0) {
//!     assert_eq!(batch.shape, [64, 1, 8, 8]);
//! }
//! let tested: usize = splits.test.batches(100, &normalization)?.map(|batch| batch.len()).sum();
//! assert_eq!(tested, 360);
//! # Ok::<(), gaunt_data::DataError>(())
//! ```
//!
//! # Determinism
//!
//! The validation split is a function of the data and the seed. A batch is a function of the data, the options,
//! the epoch and the step. The number of threads, the batches asked for before and the machine do not count, so
//! that a run resumed at any step goes on with the same numbers. Numbers come from ChaCha8, one stream for each
//! purpose and epoch, and tests hold golden values of them.
//!
//! # Limits
//!
//! A split is kept in memory as bytes. Readers check lengths before they reserve memory, and refuse what exceeds
//! - [`MAX_IMAGE_SIDE`]: pixels of the side of an image file, and of images after resizing;
//! - [`MAX_DECODE_BYTES`]: memory for decoding one image file;
//! - [`MAX_DATASET_BYTES`]: bytes of a split, and of any other file that is read.
//!
//! Image files are JPEG or PNG. Their orientation tags are ignored, as most training programs do.
//!
//! # One input
//!
//! [`read_image`] and [`npy::read`] read a single input for a network.
#![forbid(unsafe_code)]

mod augment;
mod cifar;
mod dataset;
mod digits;
mod error;
mod files;
mod folder;
mod idx;
mod loader;
mod normalization;
pub mod npy;
mod picture;
mod random;
mod records;
mod source;
mod split;

pub use augment::Augment;
pub use dataset::Dataset;
pub use error::DataError;
pub use files::{MAX_DATASET_BYTES, MAX_DECODE_BYTES, MAX_IMAGE_SIDE};
pub use loader::{Batch, Epoch, Loader, LoaderOptions};
pub use normalization::Normalization;
pub use picture::read_image;
pub use source::Source;
pub use split::{OpenOptions, Split, Splits, Validation, open, open_split};
