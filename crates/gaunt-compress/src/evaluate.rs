//! Accuracy by the runtime's arithmetic: what a `.gaunt` file does on every machine.

use std::sync::atomic::{AtomicUsize, Ordering};

use gaunt_data::{Dataset, Normalization};
use gaunt_graph::Graph;
use gaunt_runtime::Session;
use gaunt_train::argmax;
use rayon::prelude::*;

use crate::CompressError;

/// Images per task: enough to hide the overhead, few enough to share out evenly.
const TASK: usize = 25;

/// The class that `graph` gives to each image of `dataset`, computed by [`gaunt_runtime`] one image at a time.
///
/// `progress` is called with the number of images done, from any thread.
///
/// # Errors
/// If the runtime cannot execute the graph on such images.
pub fn predict(
    graph: &Graph,
    dataset: &Dataset,
    normalization: &Normalization,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<usize>, CompressError> {
    let done = AtomicUsize::new(0);
    let starts: Vec<usize> = (0..dataset.len()).step_by(TASK).collect();
    let tasks = starts.par_iter().map_init(
        || Session::new(graph),
        |session, &start| {
            let session = session.as_mut().map_err(|error| error.clone())?;
            let indices: Vec<usize> = (start..dataset.len().min(start + TASK)).collect();
            let classes = predict_task(session, &dataset.subset(&indices), normalization)?;
            progress(done.fetch_add(indices.len(), Ordering::Relaxed) + indices.len());
            Ok(classes)
        },
    );
    let classes: Result<Vec<Vec<usize>>, CompressError> = tasks.collect();
    Ok(classes?.concat())
}

fn predict_task(
    session: &mut Session,
    images: &Dataset,
    normalization: &Normalization,
) -> Result<Vec<usize>, CompressError> {
    let batches = images.batches(1, normalization)?;
    batches
        .map(|image| {
            let inputs = [image.images.as_slice()];
            let outputs = session.run(&inputs, 1)?;
            Ok(outputs.iter().next().map_or(0, |logits| argmax(logits.data)))
        })
        .collect()
}

/// Share of right answers, in per cent.
pub fn accuracy(predictions: &[usize], dataset: &Dataset) -> f64 {
    let right = predictions.iter().zip(dataset.labels()).filter(|(found, label)| found == label).count();
    100.0 * right as f64 / predictions.len().max(1) as f64
}
