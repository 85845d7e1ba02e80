//! The embedded handwritten digits.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::records::Layout;
use crate::{DataError, Dataset, Normalization};

/// Gzipped records, made by `scripts/pack_digits.py`.
const PACKED: &[u8] = include_bytes!("../data/digits.bin");

const LAYOUT: Layout = Layout { shape: [1, 8, 8], classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] };

/// The largest value of a pixel in the file.
const WHITE: u16 = 16;

/// Images at the end of the collection that are the test split.
const TEST: usize = 360;

/// Statistics of the pixels of the training images.
pub(crate) fn normalization() -> Normalization {
    Normalization::of_constants([0.3054], [0.3753])
}

/// The training or the test images.
pub(crate) fn read(test: bool) -> Result<Dataset, DataError> {
    let path = Path::new("embedded digits");
    let mut bytes = Vec::new();
    GzDecoder::new(PACKED)
        .read_to_end(&mut bytes)
        .map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    LAYOUT.append(path, &bytes, &mut images, &mut labels)?;
    for pixel in &mut images {
        *pixel = ((u16::from(*pixel) * 255 + WHITE / 2) / WHITE).min(255) as u8;
    }
    let all = LAYOUT.dataset(images, labels)?;
    let first = all.len().saturating_sub(TEST);
    let part: Vec<usize> = if test { first..all.len() } else { 0..first }.collect();
    Ok(all.subset(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_class(data: &Dataset) -> [usize; 10] {
        std::array::from_fn(|class| data.labels().iter().filter(|&&label| label == class).count())
    }

    #[test]
    fn all_images_are_there() {
        assert!(PACKED.len() < 116_000);
        let (train, test) = (read(false).unwrap(), read(true).unwrap());
        assert_eq!(per_class(&train), [143, 146, 142, 146, 144, 145, 144, 143, 141, 143]);
        assert_eq!(per_class(&test), [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]);
        assert_eq!(train.images().iter().max(), Some(&255));
    }

    #[test]
    fn the_first_image_is_the_known_zero() {
        let train = read(false).unwrap();
        let expected = [0, 0, 5, 13, 9, 1, 0, 0].map(|value: u16| ((value * 255 + 8) / 16) as u8);
        assert_eq!((train.labels()[0], &train.image(0)[..8]), (0, &expected[..]));
    }

    #[test]
    fn the_constants_are_the_measured_ones() {
        let measured = Normalization::measure(&read(false).unwrap());
        assert!((measured.mean()[0] - normalization().mean()[0]).abs() < 5e-5);
        assert!((measured.std()[0] - normalization().std()[0]).abs() < 5e-5);
    }
}
