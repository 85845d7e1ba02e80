//! The idx files of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! An idx file is two zero bytes, the type (8: bytes), the rank, the extents as big-endian 32-bit numbers, the data.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use crate::{DataError, Dataset, files};

/// Classes of the sets that have these file names.
const CLASSES: usize = 10;

/// More than deflate can shrink anything.
const MAX_GZIP_RATIO: u64 = 1032;

const MISSING: &str = "put the four idx files of MNIST or Fashion-MNIST there, as they are or gunzipped";
const BROKEN: &str = "the file is damaged or of another format; get it again";

/// The training or the test images.
pub(crate) fn read(dir: &Path, test: bool) -> Result<Dataset, DataError> {
    let part = if test { "t10k" } else { "train" };
    let images_path = find(dir, part, "images", 3)?;
    let labels_path = find(dir, part, "labels", 1)?;
    let ([count, height, width], images) = read_idx(&images_path)?;
    let ([label_count], labels) = read_idx(&labels_path)?;
    if count != label_count {
        let problem = format!("{label_count} labels for the {count} images of {}", images_path.display());
        return Err(DataError::malformed(&labels_path, problem, "get both files from the same place"));
    }
    let labels: Vec<usize> = labels.into_iter().map(usize::from).collect();
    if let Some(index) = labels.iter().position(|&label| label >= CLASSES) {
        let place = labels_path.display().to_string();
        return Err(DataError::Label { place, index, label: labels[index], classes: CLASSES });
    }
    let classes: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    Dataset::new(images, [1, height, width], labels, classes)
}

/// The first existing file of the names in use.
fn find(dir: &Path, part: &str, what: &str, rank: usize) -> Result<PathBuf, DataError> {
    let name = |separator, suffix| dir.join(format!("{part}-{what}{separator}idx{rank}-ubyte{suffix}"));
    let names = [name("-", ""), name(".", ""), name("-", ".gz"), name(".", ".gz")];
    let missing = DataError::Missing { path: name("-", ""), remedy: MISSING };
    names.into_iter().find(|path| path.is_file()).ok_or(missing)
}

/// Extents and data of an idx file of bytes with `RANK` axes.
fn read_idx<const RANK: usize>(path: &Path) -> Result<([usize; RANK], Vec<u8>), DataError> {
    let broken = |problem: String| DataError::malformed(path, problem, BROKEN);
    let unreadable = |error: io::Error| broken(format!("the data ends early or cannot be unpacked ({error})"));
    let file = BufReader::new(File::open(path).map_err(|source| DataError::io(path, source, MISSING))?);
    let length = files::length(path, MISSING)?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let (mut reader, most): (Box<dyn Read>, u64) = if gzipped {
        (Box::new(GzDecoder::new(file)), length.saturating_mul(MAX_GZIP_RATIO))
    } else {
        (Box::new(file), length)
    };

    let mut word = || {
        let mut word = [0; 4];
        reader.read_exact(&mut word).map(|()| word).map_err(unreadable)
    };
    let magic = word()?;
    if magic != [0, 0, 8, RANK as u8] {
        return Err(broken(format!("the file begins with {magic:?}, not with {:?}", [0, 0, 8, RANK])));
    }
    let mut extents = [0; RANK];
    for extent in &mut extents {
        *extent = u32::from_be_bytes(word()?) as usize;
    }

    let expected = extents.iter().fold(1u128, |product, &extent| product.saturating_mul(extent as u128));
    files::check_size(path, expected)?;
    if expected == 0 || expected > u128::from(most) {
        return Err(broken(format!("a file of {length} bytes cannot hold data of shape {extents:?}")));
    }
    let mut data = Vec::with_capacity(expected as usize);
    // One byte more shows whether the data goes on.
    reader.take(expected as u64 + 1).read_to_end(&mut data).map_err(unreadable)?;
    if data.len() as u128 != expected {
        let found = data.len();
        let found = if found as u128 > expected { "more".to_owned() } else { found.to_string() };
        return Err(broken(format!("data of shape {extents:?} has {expected} bytes, but the file has {found}")));
    }
    Ok((extents, data))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tempfile::{TempDir, tempdir};

    use super::*;

    fn idx(extents: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Two images of 2 x 3 with labels 7 and 0, under names with `suffix`.
    fn tree(suffix: &str, pack: fn(&[u8]) -> Vec<u8>) -> TempDir {
        let dir = tempdir().unwrap();
        let pixels: Vec<u8> = (0..12).collect();
        for part in ["train", "t10k"] {
            let path = |what: &str| dir.path().join(format!("{part}-{what}-ubyte{suffix}"));
            fs::write(path("images-idx3"), pack(&idx(&[2, 2, 3], &pixels))).unwrap();
            fs::write(path("labels-idx1"), pack(&idx(&[2], &[7, 0]))).unwrap();
        }
        dir
    }

    #[test]
    fn plain_and_gzipped_files_are_the_same_data() {
        let plain = read(tree("", <[u8]>::to_vec).path(), false).unwrap();
        assert_eq!((plain.shape(), plain.labels()), ([1, 2, 3], &[7, 0][..]));
        assert_eq!(plain.image(1), [6, 7, 8, 9, 10, 11]);
        assert_eq!(read(tree(".gz", gzip).path(), true).unwrap(), plain);
    }

    #[test]
    fn damage_is_named() {
        let twelve = [0; 12];
        for (name, bytes, expected) in [
            ("empty", vec![], "the data ends early"),
            ("magic", idx(&[2, 6], &twelve), "not with [0, 0, 8, 3]"),
            ("truncated", idx(&[2, 2, 3], &twelve[1..]), "has 12 bytes, but the file has 11"),
            ("trailing", idx(&[2, 2, 3], &[0; 13]), "has 12 bytes, but the file has more"),
            ("no pixels", idx(&[2, 0, 3], &[]), "cannot hold data of shape [2, 0, 3]"),
            ("overstated", idx(&[2, 2000, 3000], &twelve), "a file of 28 bytes cannot hold"),
            ("gigantic", idx(&[u32::MAX; 3], &twelve), "exceed the limit of"),
            ("one label too few", idx(&[1, 2, 3], &twelve[6..]), "2 labels for the 1 images"),
        ] {
            let dir = tree("", <[u8]>::to_vec);
            fs::write(dir.path().join("train-images-idx3-ubyte"), bytes).unwrap();
            let message = read(dir.path(), false).unwrap_err().to_string();
            assert!(message.contains("train-images-idx3-ubyte") && message.contains(expected), "{name}: {message}");
        }
    }

    #[test]
    fn a_cut_gzip_stream_is_damage() {
        let dir = tree(".gz", gzip);
        let path = dir.path().join("train-labels-idx1-ubyte.gz");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert!(matches!(read(dir.path(), false), Err(DataError::Malformed { .. })));
    }

    #[test]
    fn labels_end_at_nine() {
        let dir = tree("", <[u8]>::to_vec);
        fs::write(dir.path().join("t10k-labels-idx1-ubyte"), idx(&[2], &[0, 10])).unwrap();
        assert!(matches!(read(dir.path(), true), Err(DataError::Label { index: 1, label: 10, classes: 10, .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = read(tempdir().unwrap().path(), true).unwrap_err().to_string();
        assert!(message.contains("t10k-images-idx3-ubyte does not exist: put the four"), "{message}");
    }
}
