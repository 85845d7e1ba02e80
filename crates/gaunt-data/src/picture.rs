//! Image files, and images of another size or with other channels than wanted.

use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageReader, Limits, Luma, Rgb, RgbImage};
use rayon::prelude::*;

use crate::dataset::bytes_of;
use crate::files::{MAX_DECODE_BYTES, MAX_IMAGE_SIDE, check_size};
use crate::{DataError, Dataset, Normalization};

/// Reads one JPEG or PNG file as the input of a network: resized to `shape` (channels, height, width), normalised.
///
/// Conversion is as for [`Source::Folder`](crate::Source::Folder), so that the network sees what it was trained on.
///
/// # Errors
/// If the file is missing or cannot be decoded, the shape has neither 1 nor 3 channels or an extent beyond the
/// limits, or `normalization` is for another number of channels.
pub fn read_image(
    path: impl AsRef<Path>,
    shape: [usize; 3],
    normalization: &Normalization,
) -> Result<Vec<f32>, DataError> {
    check_target(shape)?;
    let table = normalization.table(shape)?;
    let mut bytes = vec![0; shape.iter().product()];
    write_planar(&decode(path.as_ref())?, shape, &mut bytes);
    let mut values = vec![0.0; bytes.len()];
    table.apply(&bytes, &mut values);
    Ok(values)
}

/// Refuses shapes that images cannot be converted to.
pub(crate) fn check_target(shape: [usize; 3]) -> Result<(), DataError> {
    let [channels, height, width] = shape;
    let side = 1..=MAX_IMAGE_SIDE as usize;
    if matches!(channels, 1 | 3) && side.contains(&height) && side.contains(&width) {
        Ok(())
    } else {
        Err(DataError::Target { channels, size: [height, width], limit: MAX_IMAGE_SIDE })
    }
}

/// Decodes an image file within the limits.
pub(crate) fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    const REMEDY: &str = "name a jpeg or png file";
    let open = || ImageReader::open(path)?.with_guessed_format();
    let mut reader = open().map_err(|source| DataError::io(path, source, REMEDY))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_IMAGE_SIDE);
    limits.max_image_height = Some(MAX_IMAGE_SIDE);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    reader.limits(limits);
    reader.decode().map_err(|source| DataError::Decode { path: path.to_path_buf(), source })
}

/// Writes `image` as C x H x W bytes of `shape`, which has 1 channel (luminance) or 3 (red, green, blue).
///
/// Both sides are resized on their own, with a triangle filter as wide as the scale asks (what PyTorch calls
/// bilinear with antialiasing). Transparency is dropped.
pub(crate) fn write_planar(image: &DynamicImage, [channels, height, width]: [usize; 3], out: &mut [u8]) {
    let resized;
    let image = if (image.width() as usize, image.height() as usize) == (width, height) {
        image
    } else {
        resized = image.resize_exact(width as u32, height as u32, FilterType::Triangle);
        &resized
    };
    if channels == 1 {
        out.copy_from_slice(image.to_luma8().as_raw());
    } else {
        let pixels = image.to_rgb8();
        for (channel, out) in out.chunks_exact_mut(height * width).enumerate() {
            out.iter_mut().zip(pixels.pixels()).for_each(|(out, pixel)| *out = pixel[channel]);
        }
    }
}

/// The inverse of [`write_planar`].
fn from_planar(bytes: &[u8], [channels, height, width]: [usize; 3]) -> DynamicImage {
    let at = |channel, x, y| bytes[(channel * height + y as usize) * width + x as usize];
    let (columns, rows) = (width as u32, height as u32);
    if channels == 1 {
        GrayImage::from_fn(columns, rows, |x, y| Luma([at(0, x, y)])).into()
    } else {
        RgbImage::from_fn(columns, rows, |x, y| Rgb([at(0, x, y), at(1, x, y), at(2, x, y)])).into()
    }
}

/// The images of `dataset`, which came from `place` and have 1 or 3 channels, at `shape`.
pub(crate) fn convert(place: &Path, dataset: Dataset, shape: [usize; 3]) -> Result<Dataset, DataError> {
    if shape == dataset.shape() {
        return Ok(dataset);
    }
    let images = fill(place, dataset.len(), shape, |index, out| {
        write_planar(&from_planar(dataset.image(index), dataset.shape()), shape, out);
        Ok(())
    })?;
    Dataset::new(images, shape, dataset.labels().to_vec(), dataset.classes())
}

/// Pixels of `count` images of `shape` from `place`, written by `write(index, out)` in any order.
pub(crate) fn fill(
    place: &Path,
    count: usize,
    shape: [usize; 3],
    write: impl Fn(usize, &mut [u8]) -> Result<(), DataError> + Sync,
) -> Result<Vec<u8>, DataError> {
    check_target(shape)?;
    let bytes = bytes_of(count, shape);
    check_size(place, bytes)?;
    let mut images = vec![0; bytes as usize];
    let each = images.par_chunks_exact_mut(shape.iter().product());
    each.enumerate().try_for_each(|(index, out)| write(index, out))?;
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    /// 2 x 2: black, red / green, white.
    fn colours() -> RgbImage {
        RgbImage::from_raw(2, 2, vec![0, 0, 0, 255, 0, 0, 0, 255, 0, 255, 255, 255]).unwrap()
    }

    #[test]
    fn planes_are_red_green_blue() {
        let mut out = [9; 12];
        write_planar(&colours().into(), [3, 2, 2], &mut out);
        assert_eq!(out, [0, 255, 0, 255, 0, 0, 255, 255, 0, 0, 0, 255]);
        assert_eq!(from_planar(&out, [3, 2, 2]), colours().into());
    }

    #[test]
    fn grey_and_colour_convert() {
        let grey = Dataset::new(vec![1, 2, 3, 4], [1, 2, 2], vec![0], ["x".to_owned()]).unwrap();
        let colour = convert(Path::new("x"), grey.clone(), [3, 2, 2]).unwrap();
        assert_eq!(colour.images(), [1, 2, 3, 4].repeat(3));
        assert_eq!(convert(Path::new("x"), colour, [1, 2, 2]).unwrap(), grey);
    }

    #[test]
    fn resizing_averages() {
        let data = Dataset::new(vec![100; 64], [1, 8, 8], vec![0], ["x".to_owned()]).unwrap();
        let small = convert(Path::new("x"), data, [1, 3, 5]).unwrap();
        assert_eq!((small.shape(), small.images()), ([1, 3, 5], &[100; 15][..]));
    }

    #[test]
    fn an_image_file_becomes_an_input() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("colours.png");
        colours().save(&path).unwrap();
        let halves = Normalization::new(vec![0.5; 3], vec![0.5; 3]).unwrap();
        let found = read_image(&path, [3, 2, 2], &halves).unwrap();
        assert_eq!(found, [-1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0]);
        assert_eq!(read_image(&path, [3, 4, 4], &halves).unwrap().len(), 48);

        let error = |shape| read_image(&path, shape, &halves).unwrap_err();
        assert!(matches!(error([1, 2, 2]), DataError::Channels { found: 3, expected: 1 }));
        assert!(matches!(error([2, 2, 2]), DataError::Target { channels: 2, .. }));
        assert!(matches!(error([3, 0, 2]), DataError::Target { size: [0, 2], .. }));
        assert!(matches!(error([3, 2, 1 << 20]), DataError::Target { .. }));
    }

    #[test]
    fn unreadable_images_are_named() {
        let dir = tempdir().unwrap();
        let whole = dir.path().join("whole.png");
        colours().save(&whole).unwrap();
        let path = dir.path().join("broken.png");
        let bytes = fs::read(&whole).unwrap();
        for contents in [&bytes[..bytes.len() - 20], b"no image", b""] {
            fs::write(&path, contents).unwrap();
            let error = decode(&path).unwrap_err();
            assert!(matches!(error, DataError::Decode { .. }) && error.to_string().contains("broken.png"), "{error}");
        }
        assert!(matches!(decode(&dir.path().join("none.png")), Err(DataError::Missing { .. })));
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("wide.png");
        GrayImage::new(MAX_IMAGE_SIDE + 1, 1).save(&path).unwrap();
        let error = decode(&path).unwrap_err();
        assert!(matches!(error, DataError::Decode { source: image::ImageError::Limits(_), .. }), "{error}");
    }
}
