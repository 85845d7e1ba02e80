//! Limits of what is read, and reading within them.

use std::fs;
use std::path::Path;

use crate::DataError;

/// Longest side of an image file, and of images after resizing, in pixels.
pub const MAX_IMAGE_SIDE: u32 = 16_384;

/// Memory that decoding one image file may take, in bytes.
pub const MAX_DECODE_BYTES: u64 = 512 << 20;

/// Size of the pixels of a split, as bytes in memory.
pub const MAX_DATASET_BYTES: u64 = 16 << 30;

/// Refuses `bytes` of pixels above [`MAX_DATASET_BYTES`], or above what the machine can address.
pub(crate) fn check_size(path: &Path, bytes: u128) -> Result<(), DataError> {
    let limit = MAX_DATASET_BYTES.min(isize::MAX as u64);
    if bytes <= u128::from(limit) {
        Ok(())
    } else {
        Err(DataError::TooLarge { path: path.to_path_buf(), bytes, limit })
    }
}

/// Length of a file in bytes.
pub(crate) fn length(path: &Path, remedy: &'static str) -> Result<u64, DataError> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(|source| DataError::io(path, source, remedy))
}

/// A whole file of at most [`MAX_DATASET_BYTES`].
pub(crate) fn read(path: &Path, remedy: &'static str) -> Result<Vec<u8>, DataError> {
    check_size(path, u128::from(length(path, remedy)?))?;
    fs::read(path).map_err(|source| DataError::io(path, source, remedy))
}
