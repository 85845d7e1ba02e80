//! Shuffled, augmented, normalised batches, prepared beside the training.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use rand::Rng;
use rand::seq::SliceRandom;

use crate::normalization::Table;
use crate::random::{Purpose, generator};
use crate::{Augment, DataError, Dataset, Normalization};

/// Batches that wait ready while the network is busy.
const DEPTH: usize = 2;

/// Some images of a data set, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised pixels, N x C x H x W.
    pub images: Vec<f32>,
    /// N, C, H, W.
    pub shape: [usize; 4],
    /// The class of each image.
    pub labels: Vec<usize>,
    /// The place of each image in the data set.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The images at `indices`, each written by `prepare(index, bytes, out)`.
    pub(crate) fn gather(
        dataset: &Dataset,
        indices: Vec<usize>,
        mut prepare: impl FnMut(usize, &[u8], &mut [f32]),
    ) -> Self {
        let [channels, height, width] = dataset.shape();
        let pixels = channels * height * width;
        let mut images = vec![0.0; indices.len() * pixels];
        for (out, &index) in images.chunks_exact_mut(pixels).zip(&indices) {
            prepare(index, dataset.image(index), out);
        }
        let labels = indices.iter().map(|&index| dataset.labels()[index]).collect();
        Self { images, shape: [indices.len(), channels, height, width], labels, indices }
    }
}

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Decides, with the epoch, order and augmentation.
    pub seed: u64,
    /// Means and deviations of the images' channels.
    pub normalization: Normalization,
    /// How images are varied.
    pub augment: Augment,
    /// How many views there are of each image: those of the first epochs come back in the later ones, in another order, so
    /// that what is costly to know of them need be found once. None draws new ones in each epoch.
    pub views: Option<NonZeroUsize>,
    /// Leave out what remains when the images do not fill the last batch.
    pub drop_last: bool,
}

/// Makes the training batches of a data set.
///
/// A batch is a function of data, options, epoch and step. Nothing else counts: neither the batches that were
/// asked for before, so that a resumed run sees what an undisturbed one would have seen, nor the number of threads.
#[derive(Clone)]
pub struct Loader {
    dataset: Arc<Dataset>,
    options: LoaderOptions,
    table: Arc<Table>,
}

impl Loader {
    /// A loader of the images of `dataset`.
    ///
    /// # Errors
    /// [`DataError::BatchSize`], [`DataError::Channels`] or [`DataError::PadCrop`] if an option does not fit the
    /// images. So is a batch size that would leave an epoch without a batch.
    pub fn new(dataset: &Arc<Dataset>, options: LoaderOptions) -> Result<Self, DataError> {
        let (batch_size, images) = (options.batch_size, dataset.len());
        if batch_size == 0 || (options.drop_last && batch_size > images) {
            return Err(DataError::BatchSize { batch_size, images });
        }
        options.augment.check(dataset.shape())?;
        let table = Arc::new(options.normalization.table(dataset.shape())?);
        Ok(Self { dataset: dataset.clone(), options, table })
    }

    /// Batches in an epoch.
    pub fn steps(&self) -> usize {
        let (images, batch) = (self.dataset.len(), self.options.batch_size);
        if self.options.drop_last { images / batch } else { images.div_ceil(batch) }
    }

    /// The batches of `epoch` from `first_step` (both counted from 0) to the end, prepared on a thread of their own.
    pub fn epoch(&self, epoch: usize, first_step: usize) -> Epoch {
        self.prepare(epoch, first_step..self.steps(), Self::order)
    }

    /// All images in the order of the data set, as `epoch` shows them if [views](LoaderOptions::views) come back. The last batch may be
    /// partial.
    pub fn in_order(&self, epoch: usize) -> Epoch {
        let steps = self.dataset.len().div_ceil(self.options.batch_size);
        self.prepare(epoch, 0..steps, |loader, _| (0..loader.dataset.len()).collect())
    }

    /// The view that `epoch` shows of each image, if views come back.
    pub fn view(&self, epoch: usize) -> Option<usize> {
        self.options.views.map(|views| epoch % views)
    }

    fn prepare(&self, epoch: usize, steps: Range<usize>, order: fn(&Self, usize) -> Vec<usize>) -> Epoch {
        let remaining = steps.len();
        let (sender, batches) = sync_channel(DEPTH);
        let loader = self.clone();
        let worker = thread::spawn(move || {
            let order = order(&loader, epoch);
            for step in steps {
                // The receiver is gone when the epoch was dropped before its end.
                if sender.send(loader.batch(&order, epoch, step)).is_err() {
                    break;
                }
            }
        });
        Epoch { batches: Some(batches), worker: Some(worker), remaining }
    }

    /// The images in the order of `epoch`.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        order.shuffle(&mut generator(self.options.seed, Purpose::Shuffle { epoch }));
        order
    }

    fn batch(&self, order: &[usize], epoch: usize, step: usize) -> Batch {
        let shape = self.dataset.shape();
        let LoaderOptions { batch_size, seed, augment, .. } = self.options;
        let first = step * batch_size;
        let indices = order[first..order.len().min(first + batch_size)].to_vec();
        let view = self.view(epoch);
        let draws = view.unwrap_or(epoch);
        let mut crops = generator(seed, Purpose::Crop { epoch: draws });
        let mut holes = generator(seed, Purpose::Cutout { epoch: draws });
        let mut mirrors = generator(seed, Purpose::Mirror);
        let mut turns = first..;
        Batch::gather(&self.dataset, indices, |index, image, out| {
            let turn = turns.next().unwrap_or_default();
            // Each image takes 64 bits, two words of the generator: those of its turn, or its own if they are to come back.
            let place = if view.is_some() { index } else { turn };
            crops.set_word_pos(2 * place as u128);
            mirrors.set_word_pos(index as u128);
            let mirrored = (mirrors.next_u32() as usize ^ draws) & 1 == 1;
            augment.view(crops.next_u64(), mirrored).apply(image, shape, &self.table, out);
            if augment.cutout > 0 {
                holes.set_word_pos(2 * place as u128);
                augment.hole(holes.next_u64(), [shape[1], shape[2]]).apply(shape, out);
            }
        })
    }
}

/// The batches of one epoch, in order. Made by [`Loader::epoch`].
pub struct Epoch {
    /// Present until the drop.
    batches: Option<Receiver<Batch>>,
    /// Present until it has been joined.
    worker: Option<JoinHandle<()>>,
    remaining: usize,
}

impl Iterator for Epoch {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        match self.batches.as_ref()?.recv() {
            Ok(batch) => {
                self.remaining -= 1;
                Some(batch)
            }
            Err(_) => {
                // The worker has ended. If by a panic, training must not go on as if the epoch were over.
                if let Some(Err(panic)) = self.worker.take().map(JoinHandle::join) {
                    panic::resume_unwind(panic);
                }
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Epoch {}

impl Drop for Epoch {
    fn drop(&mut self) {
        // Without a receiver the worker stops after the batch at hand.
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            // A panic of the worker was printed by its thread; a drop must not panic again.
            let _ = worker.join();
        }
    }
}
