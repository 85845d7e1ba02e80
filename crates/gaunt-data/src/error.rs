//! What can be wrong with data, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why data could not be read, split or batched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The text is no data specification.
    #[error("unknown data `{spec}`: give `cifar10:DIR`, `folder:DIR`, `idx:DIR` or `digits`")]
    Spec {
        /// The text.
        spec: String,
    },
    /// The text names no split.
    #[error("unknown split `{split}`: give `train`, `val` or `test`")]
    Split {
        /// The text.
        split: String,
    },
    /// A file or folder does not exist.
    #[error("{} does not exist: {remedy}", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// How to get it.
        remedy: &'static str,
    },
    /// The operating system could not read a file or folder.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The contents of a file or folder break the rules of its format.
    #[error("{}: {problem}: {remedy}", path.display())]
    Malformed {
        /// The file or folder.
        path: PathBuf,
        /// What was found and what is allowed.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An image file could not be decoded, or exceeds [`MAX_IMAGE_SIDE`](crate::MAX_IMAGE_SIDE) or
    /// [`MAX_DECODE_BYTES`](crate::MAX_DECODE_BYTES).
    #[error("cannot decode {}: {source}: replace the image or remove it", path.display())]
    Decode {
        /// The image file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// A label names no class.
    #[error(
        "{place}: image {index} has label {label}, but the {classes} classes are numbered from 0: correct the label"
    )]
    Label {
        /// The file, or "the data set".
        place: String,
        /// Position of the image in that place.
        index: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The pixels do not fit the shape and the number of labels.
    #[error("{labels} labels of images of shape {shape:?} need {expected} bytes of pixels, but {found} were given")]
    Pixels {
        /// Number of labels.
        labels: usize,
        /// Channels, height, width.
        shape: [usize; 3],
        /// Product of the two.
        expected: u128,
        /// Bytes given.
        found: usize,
    },
    /// The data exceeds [`MAX_DATASET_BYTES`](crate::MAX_DATASET_BYTES).
    #[error("{}: {bytes} bytes of pixels exceed the limit of {limit}: choose a smaller image size or fewer images",
        path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Bytes that were asked for.
        bytes: u128,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// The training and the test images of one source differ in shape.
    #[error("{data} has training images of shape {train:?} and test images of shape {test:?}: choose a size for all")]
    Shapes {
        /// The data specification.
        data: String,
        /// Channels, height, width of the training images.
        train: [usize; 3],
        /// Channels, height, width of the test images.
        test: [usize; 3],
    },
    /// A folder of images was opened without a size.
    #[error("the images of {data} have no size of their own: choose the height and width that they are resized to")]
    NoSize {
        /// The data specification.
        data: String,
    },
    /// Images cannot be converted to the size or channels that were asked for.
    #[error(
        "images of {channels} channels and {size:?} pixels cannot be made: \
        the channels are 1 or 3, a side is 1 to {limit}"
    )]
    Target {
        /// Channels asked for.
        channels: usize,
        /// Height and width asked for.
        size: [usize; 2],
        /// Longest side.
        limit: u32,
    },
    /// The validation split would leave no training image, or is no fraction.
    #[error(
        "a validation split of {asked} of {images} training images: \
        ask for less than all, as a count or as a fraction from 0 to 1"
    )]
    Validation {
        /// What was asked for.
        asked: String,
        /// Images to cut from.
        images: usize,
    },
    /// Means and deviations that cannot normalise.
    #[error("mean {mean:?} and deviation {std:?}: give one finite mean and one positive deviation for each channel")]
    Normalization {
        /// The means.
        mean: Vec<f32>,
        /// The deviations.
        std: Vec<f32>,
    },
    /// Means and deviations for another number of channels than the images have.
    #[error(
        "the normalisation is for {found} channels, but the images have {expected}: \
        give {expected} means and {expected} deviations"
    )]
    Channels {
        /// Channels of the normalisation.
        found: usize,
        /// Channels of the images.
        expected: usize,
    },
    /// Batches without images, or not one full batch where only full ones are wanted.
    #[error("a batch size of {batch_size} for {images} images: choose 1 to {images}")]
    BatchSize {
        /// What was asked for.
        batch_size: usize,
        /// Images in the data set.
        images: usize,
    },
    /// Quarter turns of oblong images.
    #[error("turned by a right angle images of {height} x {width} have another shape: give square ones, or turn none")]
    Turn {
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },
    /// The crop could miss the image.
    #[error(
        "a crop that moves by up to {pad} pixels in images of {height} x {width}: choose less than the shorter side"
    )]
    PadCrop {
        /// Pixels of padding.
        pad: usize,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },
}

impl DataError {
    /// [`DataError::Missing`] or [`DataError::Read`], by the kind of `source`.
    pub(crate) fn io(path: &Path, source: io::Error, remedy: &'static str) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path, remedy },
            _ => Self::Read { path, source },
        }
    }

    /// [`DataError::Malformed`].
    pub(crate) fn malformed(path: &Path, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self::Malformed { path: path.to_path_buf(), problem: problem.into(), remedy }
    }
}
