//! Opening a source, and cutting its validation split.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rand::seq::SliceRandom;

use crate::folder::{self, Listing};
use crate::random::{Purpose, generator};
use crate::{DataError, Dataset, Source, cifar, digits, idx, picture};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What is trained on.
    Train,
    /// What choices are made on; cut from the training images of the source.
    Val,
    /// What results are reported on.
    Test,
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(split: &str) -> Result<Self, DataError> {
        let all = [Self::Train, Self::Val, Self::Test];
        let found = all.into_iter().find(|candidate| candidate.to_string() == split);
        found.ok_or_else(|| DataError::Split { split: split.to_owned() })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        })
    }
}

/// How much of the training images is kept for validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validation {
    /// So many images.
    Count(usize),
    /// This part of the images, from 0 to below 1, rounded to whole images.
    Fraction(f64),
}

impl Default for Validation {
    /// A tenth.
    fn default() -> Self {
        Self::Fraction(0.1)
    }
}

impl Validation {
    /// The number out of `images`.
    fn count(self, images: usize) -> Result<usize, DataError> {
        let (count, asked) = match self {
            Self::Count(count) => (count, count.to_string()),
            // An unusable fraction becomes more than all.
            Self::Fraction(part) if !(0.0..1.0).contains(&part) => (usize::MAX, part.to_string()),
            Self::Fraction(part) => ((images as f64 * part).round() as usize, part.to_string()),
        };
        if count == 0 || count < images { Ok(count) } else { Err(DataError::Validation { asked, images }) }
    }
}

/// How a source is opened.
///
/// The default leaves images as they are and keeps a tenth for validation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OpenOptions {
    /// Height and width that images are resized to; `None` leaves them as they are. A folder needs a size.
    pub size: Option<[usize; 2]>,
    /// Channels that images are converted to, 1 or 3; `None` leaves them as they are, and makes 3 of a folder's.
    pub channels: Option<usize>,
    /// How much of the training images is kept for validation, from every class alike. Of no effect on a folder
    /// with both `val/` and `test/`.
    pub validation: Validation,
}

/// The parts of a data set, of one image shape and with the same classes.
#[derive(Clone, Debug)]
pub struct Splits {
    /// What is trained on.
    pub train: Dataset,
    /// What choices are made on.
    pub val: Dataset,
    /// What results are reported on.
    pub test: Dataset,
}

/// Reads all splits of `source`.
///
/// # Errors
/// If data is missing, damaged, larger than the limits, or does not go with the options; the error names the file.
pub fn open(source: &Source, options: &OpenOptions) -> Result<Splits, DataError> {
    let read = |split| open_split(source, split, options);
    // The smallest first: what is wrong in it need not wait for the others.
    let splits = Splits { test: read(Split::Test)?, val: read(Split::Val)?, train: read(Split::Train)? };
    let (train, test) = (splits.train.shape(), splits.test.shape());
    if train == test { Ok(splits) } else { Err(DataError::Shapes { data: source.to_string(), train, test }) }
}

/// Reads one split of `source`, the same as [`open`] gives, and only the files that it needs.
///
/// # Errors
/// As [`open`].
pub fn open_split(source: &Source, split: Split, options: &OpenOptions) -> Result<Dataset, DataError> {
    let pool = Pool::read(source, split)?;
    let labels = pool.labels();
    let uncut = match source {
        Source::Folder(dir) => folder::has_own_validation(dir),
        Source::Cifar10(_) | Source::Idx(_) | Source::Digits => false,
    };
    let indices = match split {
        Split::Train if !uncut => cut(labels, options)?.train,
        Split::Val if !uncut => cut(labels, options)?.val,
        Split::Train | Split::Val | Split::Test => (0..labels.len()).collect(),
    };
    pool.take(source, &indices, options)
}

/// The images that a split is taken from.
enum Pool {
    Loaded(Dataset),
    Listed(Listing),
}

impl Pool {
    fn read(source: &Source, split: Split) -> Result<Self, DataError> {
        let test = split == Split::Test;
        match source {
            Source::Cifar10(dir) => cifar::read(dir, test).map(Self::Loaded),
            Source::Folder(dir) => Listing::find(dir, split).map(Self::Listed),
            Source::Idx(dir) => idx::read(dir, test).map(Self::Loaded),
            Source::Digits => digits::read(test).map(Self::Loaded),
        }
    }

    fn labels(&self) -> &[usize] {
        match self {
            Self::Loaded(dataset) => dataset.labels(),
            Self::Listed(listing) => listing.labels(),
        }
    }

    /// The images at `indices` in the shape that the options ask for.
    fn take(&self, source: &Source, indices: &[usize], options: &OpenOptions) -> Result<Dataset, DataError> {
        match self {
            Self::Loaded(dataset) => {
                let [channels, height, width] = dataset.shape();
                let [height, width] = options.size.unwrap_or([height, width]);
                let shape = [options.channels.unwrap_or(channels), height, width];
                picture::convert(Path::new(&source.to_string()), dataset.subset(indices), shape)
            }
            Self::Listed(listing) => {
                let [height, width] = options.size.ok_or_else(|| DataError::NoSize { data: source.to_string() })?;
                listing.decode(indices, [options.channels.unwrap_or(3), height, width])
            }
        }
    }
}

/// Ascending indices of what is trained on and of what is kept for validation.
struct Cut {
    train: Vec<usize>,
    val: Vec<usize>,
}

/// Decides which images are kept for validation. No option: what one run has held out must never be what another, with another
/// seed, has learnt, since networks are trained by one run and compressed and evaluated by others.
const SPLIT_SEED: u64 = 1;

/// Chooses the validation images at random, from each class in proportion to its size; the same for ever.
fn cut(labels: &[usize], options: &OpenOptions) -> Result<Cut, DataError> {
    let images = labels.len();
    let count = options.validation.count(images)?;
    // Equal steps through the images, random within a class and sorted by class, take the same part of each.
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut generator(SPLIT_SEED, Purpose::Validation));
    order.sort_by_key(|&index| labels[index]);
    let mut kept = vec![false; images];
    (0..count).for_each(|step| kept[order[(2 * step + 1) * images / (2 * count)]] = true);
    let (val, train) = (0..images).partition(|&index| kept[index]);
    Ok(Cut { train, val })
}
