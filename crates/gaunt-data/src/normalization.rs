//! From bytes to the numbers that a network sees.

use crate::{DataError, Dataset};

/// Mean and standard deviation of each channel, on values scaled to 0..1.
///
/// A byte `v` of channel `c` becomes `(v / 255 - mean[c]) / std[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalization {
    /// A normalisation by one mean and one deviation per channel.
    ///
    /// # Errors
    /// [`DataError::Normalization`] if the counts differ or are zero, a number is not finite, or a deviation is not
    /// positive.
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Result<Self, DataError> {
        let usable = mean.len() == std.len()
            && !mean.is_empty()
            && mean.iter().all(|mean| mean.is_finite())
            && std.iter().all(|std| std.is_finite() && *std > 0.0);
        if usable { Ok(Self { mean, std }) } else { Err(DataError::Normalization { mean, std }) }
    }

    /// A normalisation by constants of this crate, which are known to be usable.
    pub(crate) fn of_constants<const C: usize>(mean: [f32; C], std: [f32; C]) -> Self {
        Self { mean: mean.to_vec(), std: std.to_vec() }
    }

    /// ImageNet's, which most pretrained networks expect.
    pub fn imagenet() -> Self {
        Self::of_constants([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    }

    /// The statistics of `dataset`, which should be the training split.
    ///
    /// Exact counts are summed, so the result does not depend on the order of the images. A channel that does not
    /// vary gets a deviation of one byte step.
    pub fn measure(dataset: &Dataset) -> Self {
        let [channels, height, width] = dataset.shape();
        let mut counts = vec![[0u64; 256]; channels];
        for (plane, pixels) in dataset.images().chunks_exact(height * width).enumerate() {
            let counts = &mut counts[plane % channels];
            pixels.iter().for_each(|&pixel| counts[usize::from(pixel)] += 1);
        }
        let (mean, std) = counts.iter().map(mean_and_deviation).unzip();
        Self { mean, std }
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Standard deviation of each channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// The lookup table for images of `shape`.
    pub(crate) fn table(&self, shape: [usize; 3]) -> Result<Table, DataError> {
        let [channels, height, width] = shape;
        if self.mean.len() != channels {
            return Err(DataError::Channels { found: self.mean.len(), expected: channels });
        }
        let entries = |(mean, std): (&f32, &f32)| {
            std::array::from_fn(|value| ((value as f64 / 255.0 - f64::from(*mean)) / f64::from(*std)) as f32)
        };
        Ok(Table { values: self.mean.iter().zip(&self.std).map(entries).collect(), plane: height * width })
    }
}

/// Mean and deviation of the values 0..256 with these counts, scaled to 0..1.
fn mean_and_deviation(counts: &[u64; 256]) -> (f32, f32) {
    let moment = |power: u32| counts.iter().zip(0u64..).map(|(&count, value)| count * value.pow(power)).sum::<u64>();
    let total = moment(0).max(1) as f64;
    let mean = moment(1) as f64 / total;
    let variance = moment(2) as f64 / total - mean * mean;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    ((mean / 255.0) as f32, (deviation / 255.0) as f32)
}

/// What each byte of each channel becomes.
pub(crate) struct Table {
    values: Vec<[f32; 256]>,
    /// Pixels in a channel.
    plane: usize,
}

impl Table {
    /// Normalises one image, C x H x W.
    pub(crate) fn apply(&self, image: &[u8], out: &mut [f32]) {
        let planes = image.chunks_exact(self.plane).zip(out.chunks_exact_mut(self.plane));
        for ((image, out), values) in planes.zip(&self.values) {
            look_up(values, image, out);
        }
    }

    /// The values of each channel.
    pub(crate) fn channels(&self) -> &[[f32; 256]] {
        &self.values
    }
}

/// Normalises pixels of one channel.
pub(crate) fn look_up(values: &[f32; 256], pixels: &[u8], out: &mut [f32]) {
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = values[usize::from(pixel)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_numbers_are_refused() {
        for (mean, std) in [
            (vec![], vec![]),
            (vec![0.5], vec![0.5, 0.5]),
            (vec![f32::NAN], vec![1.0]),
            (vec![0.5], vec![0.0]),
            (vec![0.5], vec![-1.0]),
            (vec![0.5], vec![f32::INFINITY]),
        ] {
            assert!(matches!(Normalization::new(mean, std), Err(DataError::Normalization { .. })));
        }
    }

    #[test]
    fn statistics_are_those_of_each_channel() {
        // Two images of two channels: 0, 255 | 51, 51 and 255, 0 | 51, 51.
        let pixels = vec![0, 255, 51, 51, 255, 0, 51, 51];
        let data = Dataset::new(pixels, [2, 1, 2], vec![0, 0], ["one".to_owned()]).unwrap();
        let found = Normalization::measure(&data);
        assert_eq!(found.mean(), [0.5, 0.2]);
        assert_eq!(found.std(), [0.5, 1.0 / 255.0]);
    }

    #[test]
    fn the_table_normalises_by_channel() {
        let table = Normalization::new(vec![0.0, 0.5], vec![1.0, 0.25]).unwrap().table([2, 1, 2]).unwrap();
        let mut out = [0.0; 4];
        table.apply(&[0, 255, 0, 255], &mut out);
        assert_eq!(out, [0.0, 1.0, -2.0, 2.0]);
    }
}
