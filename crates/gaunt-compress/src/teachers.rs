//! What the network is to predict: the mean of its teachers' logits, computed batch by batch, or once for each view of an image.
//!
//! A compressed network soon takes a small part of the multiplications of its teacher, which then is most of a step. Where views come
//! back, what was said of them is looked up (Shen and Xing, *A fast knowledge distillation framework for visual recognition*, 2022).

use gaunt_data::{Batch, Loader};
use gaunt_train::{Checkpoint, CheckpointError, Network, TrainError};

use crate::{CompressError, Observer, Snapshot};

/// Most memory for predictions of views, in bytes.
const MAX_PREDICTIONS: usize = 1 << 30;

/// Networks to learn from.
pub(crate) struct Teachers {
    /// The dense network, which loses nothing.
    pub dense: Network,
    second: Option<Network>,
    /// Training images.
    images: usize,
    /// For each view the logits of all images, `[images, classes]`, once they are known.
    views: Vec<Option<Vec<f32>>>,
}

impl Teachers {
    pub fn new(dense: Network, views: usize, images: usize) -> Self {
        Self { dense, second: None, images, views: vec![None; views] }
    }

    /// Another network whose predictions are learnt too.
    pub fn join(&mut self, second: Network) {
        self.second = Some(second);
    }

    /// Logits for a batch, `[B, classes]`.
    pub fn predict(&mut self, batch: &Batch) -> Result<Vec<f32>, CompressError> {
        let mut logits = self.dense.logits(&batch.images, batch.len())?;
        if let Some(second) = &mut self.second {
            let others = second.logits(&batch.images, batch.len())?;
            if others.len() != logits.len() {
                let reason =
                    format!("the second teacher gave {} logits, but the dense network {}", others.len(), logits.len());
                return Err(TrainError::Target(reason).into());
            }
            logits.iter_mut().zip(others).for_each(|(logit, other)| *logit = (*logit + other) / 2.0);
        }
        Ok(logits)
    }

    /// Logits for a batch of which the view is given if views come back, `[B, classes]`.
    pub fn wanted(&mut self, batch: &Batch, view: Option<usize>) -> Result<Vec<f32>, CompressError> {
        match view.and_then(|view| self.views[view].as_ref()) {
            Some(logits) => {
                let classes = logits.len() / self.images;
                Ok(batch.indices.iter().flat_map(|index| &logits[index * classes..][..classes]).copied().collect())
            }
            None => self.predict(batch),
        }
    }

    /// Predicts the view that an epoch shows of all images, if it comes back and is not known yet; false if interrupted. That is a
    /// function of the view alone, so that a resumed run learns from the same numbers.
    pub fn look_ahead(
        &mut self,
        loader: &Loader,
        epoch: usize,
        observer: &mut dyn Observer,
    ) -> Result<bool, CompressError> {
        let Some(view) = loader.view(epoch).filter(|&view| self.views[view].is_none()) else { return Ok(true) };
        observer.phase(&format!("asking the teacher about view {} of {}", view + 1, self.views.len()));
        let (mut logits, mut done) = (Vec::new(), 0);
        for batch in loader.in_order(view) {
            if observer.interrupted() {
                return Ok(false);
            }
            let predicted = self.predict(&batch)?;
            self.check_memory(predicted.len() / batch.len())?;
            logits.extend(predicted);
            done += batch.len();
            observer.progressed(done as u64, self.images as u64);
        }
        self.views[view] = Some(logits);
        observer.save(Snapshot::Predictions, &self.snapshot())?;
        Ok(true)
    }

    /// What is known of the views.
    fn snapshot(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for (view, logits) in self.views.iter().enumerate() {
            if let Some(logits) = logits {
                checkpoint.insert(entry(view), logits.clone());
            }
        }
        checkpoint
    }

    /// Takes up what was known of the views.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), CompressError> {
        for (view, logits) in self.views.iter_mut().enumerate() {
            *logits = match checkpoint.floats(&entry(view)) {
                Err(CheckpointError::Missing(_)) => None,
                found => Some(found?.to_vec()),
            };
            if logits.as_ref().is_some_and(|logits| logits.is_empty() || !logits.len().is_multiple_of(self.images)) {
                return Err(CompressError::Mismatch(format!("`{}` has another length", entry(view))));
            }
        }
        Ok(())
    }

    /// Fails if logits of so many classes for all images and views take too much memory.
    fn check_memory(&self, classes: usize) -> Result<(), CompressError> {
        let numbers = classes.saturating_mul(self.images).saturating_mul(self.views.len());
        let bytes = numbers.saturating_mul(size_of::<f32>());
        if bytes > MAX_PREDICTIONS {
            return Err(CompressError::Views { views: self.views.len(), bytes, limit: MAX_PREDICTIONS });
        }
        Ok(())
    }
}

/// Name of the logits of a view in a snapshot.
fn entry(view: usize) -> String {
    format!("view.{view}")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use gaunt_data::Augment;
    use gaunt_graph::zoo::{Arch, build};
    use gaunt_train::Device;

    use super::*;
    use crate::testing::{Deaf, digits, options};

    fn network(classes: usize, seed: u64) -> Network {
        Network::new(&build(Arch::Lenet5, classes, [1, 8, 8], seed).unwrap(), &Device::flex()).unwrap()
    }

    #[test]
    fn the_mean_of_both_is_wanted() {
        let batch = digits().validation.batches(32, &options().normalization).unwrap().next().unwrap();
        let predict = |second: Option<Network>| {
            let mut teachers = Teachers::new(network(10, 0), 0, 0);
            second.into_iter().for_each(|second| teachers.join(second));
            teachers.predict(&batch)
        };
        let (alone, other) = (predict(None).unwrap(), network(10, 1).logits(&batch.images, 32).unwrap());
        assert_eq!(predict(Some(network(10, 0))).unwrap(), alone);
        let mean: Vec<f32> = alone.iter().zip(&other).map(|(a, b)| (a + b) / 2.0).collect();
        assert_eq!(predict(Some(network(10, 1))).unwrap(), mean);
        assert_ne!(mean, alone);
        let error = predict(Some(network(7, 0))).unwrap_err();
        assert!(error.to_string().contains("224 logits"), "{error}");
    }

    #[test]
    fn a_view_that_comes_back_is_predicted_once() {
        let mut options = options();
        (options.views, options.augment) = (NonZeroUsize::new(2), Augment { pad_crop: 1, flip: true, ..Augment::NONE });
        let data = digits();
        let (loader, images) = (options.loader(&data).unwrap(), data.train.len());
        let mut teachers = Teachers::new(network(10, 0), 2, images);
        for epoch in [0, 1, 4, 5] {
            assert!(teachers.look_ahead(&loader, epoch, &mut Deaf).unwrap());
            let batch = loader.epoch(epoch, 3).next().unwrap();
            let (computed, known) =
                (teachers.predict(&batch).unwrap(), teachers.wanted(&batch, loader.view(epoch)).unwrap());
            assert!(computed.iter().zip(&known).all(|(a, b)| (a - b).abs() < 1e-5), "{computed:?} {known:?}");
        }
        // Another network would be heard, were it asked.
        let mut resumed = Teachers::new(network(10, 1), 2, images);
        resumed.restore(&teachers.snapshot()).unwrap();
        let batch = loader.epoch(6, 0).next().unwrap();
        assert!(resumed.look_ahead(&loader, 6, &mut Deaf).unwrap());
        assert_eq!(resumed.wanted(&batch, Some(0)).unwrap(), teachers.wanted(&batch, Some(0)).unwrap());
        let mut other = Teachers::new(network(10, 0), 2, images + 1);
        assert!(matches!(other.restore(&teachers.snapshot()), Err(CompressError::Mismatch(_))));
    }

    #[test]
    fn predictions_beyond_the_limit_are_refused() {
        let teachers = Teachers::new(network(10, 0), 8, 1_281_167);
        assert!(teachers.check_memory(10).is_ok());
        let error = teachers.check_memory(1000).unwrap_err();
        assert!(error.to_string().contains("8 views"), "{error}");
    }
}
