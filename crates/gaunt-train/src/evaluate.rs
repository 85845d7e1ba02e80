//! Accuracy on a data set.

use gaunt_data::{Dataset, Normalization};

use crate::{Network, TrainError, loss::argmax};

/// Images that are run at once.
const BATCH: usize = 200;

/// What a network makes of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Share of the images whose largest logit is that of their class, in per cent.
    pub top1: f64,
    /// Number of images.
    pub images: usize,
    /// The class that was given to each.
    pub predictions: Vec<usize>,
}

/// Classifies every image of `dataset`, in inference mode.
///
/// # Errors
/// If images or normalisation do not fit the network, or the device fails.
pub fn evaluate(
    network: &mut Network,
    dataset: &Dataset,
    normalization: &Normalization,
) -> Result<Evaluation, TrainError> {
    let images = dataset.len();
    let mut predictions = Vec::with_capacity(images);
    for batch in dataset.batches(BATCH.min(images.max(1)), normalization)? {
        let logits = network.logits(&batch.images, batch.len())?;
        let classes = (logits.len() / batch.len().max(1)).max(1);
        predictions.extend(logits.chunks_exact(classes).map(argmax));
    }
    let right = predictions.iter().zip(dataset.labels()).filter(|(found, label)| found == label).count();
    Ok(Evaluation { top1: 100.0 * right as f64 / images.max(1) as f64, images, predictions })
}
