//! What unit tests of runs have in common.

use std::sync::Arc;

use gaunt_data::{Augment, OpenOptions, Source, Split, open_split};
use gaunt_train::Precision;

use crate::{Budget, Effort, Method, Observer, Options, TrainingData};

/// Listens to nobody.
pub struct Deaf;

impl Observer for Deaf {}

/// The embedded digits.
pub fn digits() -> TrainingData {
    let split = |split| Arc::new(open_split(&Source::Digits, split, &OpenOptions::default()).unwrap());
    TrainingData { train: split(Split::Train), validation: split(Split::Val) }
}

/// An epoch of the digits to a twentieth.
pub fn options() -> Options {
    Options {
        budget: Budget { ratio: Some(20.0), ..Budget::default() },
        method: Method::Joint,
        overrides: Default::default(),
        epochs: 1,
        effort: Effort::default(),
        batch: 64,
        precision: Precision::Fp32,
        seed: 3,
        normalization: Source::Digits.default_normalization(1).unwrap(),
        augment: Augment::NONE,
        views: None,
        metadata: Default::default(),
    }
}
