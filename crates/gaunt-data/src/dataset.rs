//! Labelled images in memory.

use std::{path::Path, sync::Arc};

use crate::{Batch, DataError, Normalization, picture};

/// Labelled images of one shape, as bytes.
///
/// Class names are shared by the splits of a source, so that a label means the same in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    images: Vec<u8>,
    shape: [usize; 3],
    labels: Vec<usize>,
    classes: Arc<[String]>,
}

impl Dataset {
    /// A data set of `labels.len()` images of `shape` (channels, height, width), row-major one after the other.
    ///
    /// # Errors
    /// [`DataError::Pixels`] if the lengths do not fit, [`DataError::Label`] if a label is not below the number of
    /// classes.
    pub fn new(
        images: Vec<u8>,
        shape: [usize; 3],
        labels: Vec<usize>,
        classes: impl Into<Arc<[String]>>,
    ) -> Result<Self, DataError> {
        let classes = classes.into();
        let expected = bytes_of(labels.len(), shape);
        if expected != images.len() as u128 || shape.contains(&0) {
            return Err(DataError::Pixels { labels: labels.len(), shape, expected, found: images.len() });
        }
        if let Some(index) = labels.iter().position(|&label| label >= classes.len()) {
            let place = "the data set".to_owned();
            return Err(DataError::Label { place, index, label: labels[index], classes: classes.len() });
        }
        Ok(Self { images, shape, labels, classes })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All pixels, N x C x H x W.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The pixels of one image, C x H x W.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        let bytes = self.shape.iter().product::<usize>();
        &self.images[index * bytes..][..bytes]
    }

    /// The class of every image, an index into [`classes`](Self::classes).
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The images at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut images = Vec::with_capacity(bytes_of(indices.len(), self.shape) as usize);
        indices.iter().for_each(|&index| images.extend_from_slice(self.image(index)));
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Self { images, shape: self.shape, labels, classes: self.classes.clone() }
    }

    /// The images at another height and width, by a triangle filter as wide as the scale asks.
    ///
    /// # Errors
    /// [`DataError::Target`] if there are neither 1 nor 3 channels or a side is beyond the limits.
    pub fn resized(&self, [height, width]: [usize; 2]) -> Result<Self, DataError> {
        picture::convert(Path::new("the data set"), self.clone(), [self.shape[0], height, width])
    }

    /// The whole data set in order and without augmentation, for evaluation; the last batch may be smaller.
    ///
    /// # Errors
    /// [`DataError::BatchSize`] if `batch_size` is zero, [`DataError::Channels`] if `normalization` is for another
    /// number of channels.
    pub fn batches<'a>(
        &'a self,
        batch_size: usize,
        normalization: &Normalization,
    ) -> Result<impl ExactSizeIterator<Item = Batch> + use<'a>, DataError> {
        if batch_size == 0 {
            return Err(DataError::BatchSize { batch_size, images: self.len() });
        }
        let table = normalization.table(self.shape)?;
        Ok((0..self.len().div_ceil(batch_size)).map(move |step| {
            let indices = step * batch_size..self.len().min((step + 1) * batch_size);
            Batch::gather(self, indices.collect(), |_, image, out| table.apply(image, out))
        }))
    }
}

/// Bytes of `count` images of `shape`; cannot overflow for shapes of images that exist.
pub(crate) fn bytes_of(count: usize, shape: [usize; 3]) -> u128 {
    shape.iter().fold(count as u128, |product, &extent| product.saturating_mul(extent as u128))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<String> {
        vec!["a".into(), "b".into()]
    }

    fn four() -> Dataset {
        Dataset::new((0..8).collect(), [1, 1, 2], vec![0, 1, 0, 1], classes()).unwrap()
    }

    #[test]
    fn lengths_and_labels_are_checked() {
        let new = |bytes, shape, labels| Dataset::new(vec![0; bytes], shape, labels, classes()).map(|_| ());
        assert!(matches!(new(7, [1, 1, 2], vec![0; 4]), Err(DataError::Pixels { expected: 8, found: 7, .. })));
        assert!(matches!(new(0, [1, 0, 2], vec![0; 4]), Err(DataError::Pixels { .. })));
        assert!(matches!(new(0, [usize::MAX; 3], vec![0; 4]), Err(DataError::Pixels { .. })));
        assert!(matches!(new(4, [1, 1, 2], vec![0, 2]), Err(DataError::Label { index: 1, label: 2, classes: 2, .. })));
        assert!(new(0, [1, 1, 2], vec![]).is_ok());
    }

    #[test]
    fn a_subset_keeps_the_asked_order() {
        let subset = four().subset(&[3, 0]);
        assert_eq!((subset.images(), subset.labels()), (&[6, 7, 0, 1][..], &[1, 0][..]));
    }

    #[test]
    fn evaluation_batches_cover_everything_in_order() {
        let data = four();
        let unit = Normalization::new(vec![0.0], vec![1.0 / 255.0]).unwrap();
        let batches: Vec<_> = data.batches(3, &unit).unwrap().collect();
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(batches[1].indices, [3]);
        assert_eq!(batches[1].labels, [1]);
        let images: Vec<f32> = batches.into_iter().flat_map(|batch| batch.images).collect();
        assert!(images.iter().zip(0..8).all(|(&found, expected)| (found - expected as f32).abs() < 1e-5));
    }

    #[test]
    fn evaluation_refuses_bad_settings() {
        let data = four();
        let three = Normalization::imagenet();
        assert!(matches!(data.batches(2, &three).map(|_| ()), Err(DataError::Channels { found: 3, expected: 1 })));
        assert!(matches!(data.batches(0, &three).map(|_| ()), Err(DataError::BatchSize { images: 4, .. })));
    }
}
