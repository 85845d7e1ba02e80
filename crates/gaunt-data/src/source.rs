//! Where images come from, as text and as a value.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Augment, DataError, Normalization, cifar, digits};

/// A data set that [`open`](crate::open) can read.
///
/// Its text form, parsed by [`FromStr`] and written by [`Display`](fmt::Display), is what the command line calls SPEC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `cifar10:DIR`: the binary version of CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny
    /// images", 2009), `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, in DIR or in its subfolder
    /// `cifar-10-batches-bin`. 3 x 32 x 32, 10 classes.
    Cifar10(PathBuf),
    /// `folder:DIR`: JPEG and PNG files in one folder per class under `train/`, and under `test/` or `val/`.
    ///
    /// - Classes are the subfolders of `train/` in the order of their names; files are found at any depth below
    ///   them, and hidden files are skipped.
    /// - If there is no `test/`, `val/` is the test split. If there are both, `val/` is the validation split and
    ///   none is cut from `train/`.
    Folder(PathBuf),
    /// `idx:DIR`: MNIST, Fashion-MNIST, or another set of 10 classes under their file names, plain or with `.gz`.
    /// 1 x 28 x 28 in these two.
    Idx(PathBuf),
    /// `digits`: 1,797 handwritten digits of 1 x 8 x 8, embedded in the program (E. Alpaydin and C. Kaynak, UCI
    /// Machine Learning Repository, 1998; the test part of the collection, as scikit-learn has it).
    ///
    /// The last 360 images in the order of the collection are the test split. They are harder than a random draw
    /// would be: a support vector machine classifies 94 % of them, and 98 % of a random 360.
    Digits,
}

impl FromStr for Source {
    type Err = DataError;

    fn from_str(spec: &str) -> Result<Self, DataError> {
        match spec.split_once(':') {
            Some(("cifar10", dir)) if !dir.is_empty() => Ok(Self::Cifar10(dir.into())),
            Some(("folder", dir)) if !dir.is_empty() => Ok(Self::Folder(dir.into())),
            Some(("idx", dir)) if !dir.is_empty() => Ok(Self::Idx(dir.into())),
            None if spec == "digits" => Ok(Self::Digits),
            _ => Err(DataError::Spec { spec: spec.to_owned() }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cifar10(dir) => write!(f, "cifar10:{}", dir.display()),
            Self::Folder(dir) => write!(f, "folder:{}", dir.display()),
            Self::Idx(dir) => write!(f, "idx:{}", dir.display()),
            Self::Digits => f.write_str("digits"),
        }
    }
}

impl Source {
    /// The customary normalisation for images of `channels` channels.
    ///
    /// CIFAR-10 has the statistics of its training split, folders have ImageNet's (what pretrained networks expect),
    /// the digits those of their training split. `None`, for idx files and for channels that the set does not have
    /// by itself, asks for [`Normalization::measure`] on the training split.
    pub fn default_normalization(&self, channels: usize) -> Option<Normalization> {
        match (self, channels) {
            (Self::Cifar10(_), 3) => Some(cifar::normalization()),
            (Self::Folder(_), 3) => Some(Normalization::imagenet()),
            (Self::Digits, 1) => Some(digits::normalization()),
            _ => None,
        }
    }

    /// The customary augmentation for images of `side` pixels (the shorter side).
    ///
    /// Natural images are mirrored and moved by an eighth of their side; digits and clothes are moved only.
    pub fn default_augment(&self, side: usize) -> Augment {
        match self {
            Self::Cifar10(_) | Self::Folder(_) => Augment { pad_crop: side / 8, flip: true, ..Augment::NONE },
            Self::Idx(_) => Augment { pad_crop: side / 14, ..Augment::NONE },
            Self::Digits => Augment { pad_crop: side / 8, ..Augment::NONE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_round_trip() {
        for spec in ["cifar10:/data/cifar", "folder:C:\\images", "idx:.", "digits"] {
            assert_eq!(spec.parse::<Source>().unwrap().to_string(), spec);
        }
    }

    #[test]
    fn an_unknown_spec_lists_the_forms() {
        for spec in ["", "digits:", "digits:x", "cifar10", "cifar10:", "cifar100:/data", "/data"] {
            let message = spec.parse::<Source>().unwrap_err().to_string();
            assert!(message.contains("`cifar10:DIR`, `folder:DIR`, `idx:DIR` or `digits`"), "{message}");
        }
    }

    #[test]
    fn defaults_are_the_customary_ones() {
        let dir = PathBuf::from("x");
        let of = |source: Source, side| source.default_augment(side);
        assert_eq!(of(Source::Cifar10(dir.clone()), 32), Augment { pad_crop: 4, flip: true, ..Augment::NONE });
        assert_eq!(of(Source::Folder(dir.clone()), 64), Augment { pad_crop: 8, flip: true, ..Augment::NONE });
        assert_eq!(of(Source::Idx(dir.clone()), 28), Augment { pad_crop: 2, ..Augment::NONE });
        assert_eq!(of(Source::Digits, 8), Augment { pad_crop: 1, ..Augment::NONE });
        assert!(Source::Idx(dir.clone()).default_normalization(1).is_none());
        assert!(Source::Cifar10(dir).default_normalization(1).is_none());
    }
}
