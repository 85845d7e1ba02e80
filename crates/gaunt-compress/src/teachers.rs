//! What the network is to predict: the mean of its teachers' logits, computed batch by batch, or once for each view of an image.
//!
//! A compressed network soon takes a small part of the multiplications of its teacher, which then is most of a step. Where views come
//! back, what was said of them is looked up (Shen and Xing, *A fast knowledge distillation framework for visual recognition*, 2022).

use gaunt_data::{Batch, Loader};
use gaunt_train::{Network, TrainError};

use crate::{CompressError, Observer};

/// Most memory for predictions of views, in bytes.
const MAX_PREDICTIONS: usize = 1 << 30;

/// Networks to learn from.
pub(crate) struct Teachers {
    /// The dense network, which loses nothing.
    pub dense: Network,
    second: Option<Network>,
    /// For each view, what is known of it.
    views: Vec<Option<Predictions>>,
}

/// Logits of all training images, `[images, classes]`.
struct Predictions {
    logits: Vec<f32>,
    classes: usize,
}

impl Teachers {
    pub fn new(dense: Network, views: usize) -> Self {
        Self { dense, second: None, views: (0..views).map(|_| None).collect() }
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
            Some(Predictions { logits, classes }) => {
                Ok(batch.indices.iter().flat_map(|index| &logits[index * classes..][..*classes]).copied().collect())
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
        let (mut logits, mut images) = (Vec::new(), 0);
        for batch in loader.in_order(view) {
            if observer.interrupted() {
                return Ok(false);
            }
            logits.append(&mut self.predict(&batch)?);
            images += batch.len();
            self.check_memory(logits.len() / images * loader.images())?;
        }
        self.views[view] = Some(Predictions { classes: logits.len() / images.max(1), logits });
        Ok(true)
    }

    /// Fails if so many logits for each view would take too much memory.
    fn check_memory(&self, logits: usize) -> Result<(), CompressError> {
        let bytes = (logits * size_of::<f32>()).saturating_mul(self.views.len());
        if bytes > MAX_PREDICTIONS {
            return Err(CompressError::Views { views: self.views.len(), bytes, limit: MAX_PREDICTIONS });
        }
        Ok(())
    }
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
            let mut teachers = Teachers::new(network(10, 0), 0);
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
        let loader = options.loader(&digits()).unwrap();
        let mut teachers = Teachers::new(network(10, 0), 2);
        for epoch in [0, 1, 4, 5] {
            assert!(teachers.look_ahead(&loader, epoch, &mut Deaf).unwrap());
            let batch = loader.epoch(epoch, 3).next().unwrap();
            let (computed, known) =
                (teachers.predict(&batch).unwrap(), teachers.wanted(&batch, loader.view(epoch)).unwrap());
            assert!(computed.iter().zip(&known).all(|(a, b)| (a - b).abs() < 1e-5), "{computed:?} {known:?}");
        }
        // Another network would be heard, were it asked.
        teachers.join(network(10, 1));
        let batch = loader.epoch(6, 0).next().unwrap();
        assert!(teachers.look_ahead(&loader, 6, &mut Deaf).unwrap());
        assert_ne!(teachers.wanted(&batch, Some(0)).unwrap(), teachers.predict(&batch).unwrap());
    }

    #[test]
    fn predictions_beyond_the_limit_are_refused() {
        let teachers = Teachers::new(network(10, 0), 8);
        assert!(teachers.check_memory(45_000 * 10).is_ok());
        let error = teachers.check_memory(1_281_167 * 1000).unwrap_err();
        assert!(error.to_string().contains("8 views"), "{error}");
    }
}
