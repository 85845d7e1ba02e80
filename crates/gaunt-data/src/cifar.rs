//! The binary version of CIFAR-10.

use std::path::Path;

use crate::records::Layout;
use crate::{DataError, Dataset, Normalization, files};

const LAYOUT: Layout = Layout {
    shape: [3, 32, 32],
    classes: ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
};

const TRAIN: &[&str] =
    &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: &[&str] = &["test_batch.bin"];

const REMEDY: &str = "unpack the binary version of CIFAR-10, https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz, \
    and name its folder (the python version has other files)";

/// Statistics of the pixels of the training split.
pub(crate) fn normalization() -> Normalization {
    Normalization::of_constants([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
}

/// The training or the test images.
pub(crate) fn read(dir: &Path, test: bool) -> Result<Dataset, DataError> {
    let unpacked = dir.join("cifar-10-batches-bin");
    let dir = if unpacked.is_dir() { &unpacked } else { dir };
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for name in if test { TEST } else { TRAIN } {
        let path = dir.join(name);
        LAYOUT.append(&path, &files::read(&path, REMEDY)?, &mut images, &mut labels)?;
    }
    LAYOUT.dataset(images, labels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// Batches of two images: the first of class `batch`, the second of class 9, filled with 10 * batch + class.
    fn tree() -> TempDir {
        let dir = tempdir().unwrap();
        for (batch, name) in (0u8..).zip(TRAIN.iter().chain(TEST)) {
            let bytes: Vec<u8> = [batch, 9].iter().flat_map(|&class| record(class, 10 * batch + class)).collect();
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    fn record(class: u8, fill: u8) -> Vec<u8> {
        let mut record = vec![fill; 3073];
        record[0] = class;
        record
    }

    #[test]
    fn batches_are_read_in_order() {
        let dir = tree();
        let train = read(dir.path(), false).unwrap();
        assert_eq!(train.labels(), [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
        assert_eq!(train.image(4), [22; 3072]);
        assert_eq!(train.shape(), [3, 32, 32]);
        let test = read(dir.path(), true).unwrap();
        assert_eq!((test.labels(), test.image(1)[0]), (&[5, 9][..], 59));
        assert_eq!(test.classes()[5], "dog");
    }

    #[test]
    fn the_folder_of_the_archive_is_found() {
        let dir = tempdir().unwrap();
        fs::rename(tree().keep(), dir.path().join("cifar-10-batches-bin")).unwrap();
        assert_eq!(read(dir.path(), true).unwrap().len(), 2);
    }

    #[test]
    fn what_is_missing_is_named_with_the_remedy() {
        let dir = tree();
        fs::remove_file(dir.path().join("data_batch_3.bin")).unwrap();
        let message = read(dir.path(), false).unwrap_err().to_string();
        assert!(message.contains("data_batch_3.bin does not exist: unpack the binary version"), "{message}");
    }

    #[test]
    fn truncation_and_wrong_labels_are_found() {
        let dir = tree();
        let path = dir.path().join("data_batch_2.bin");
        for (bytes, expected) in [
            (record(3, 0)[..3000].to_vec(), "3000 bytes are not a whole number of records of 3073 bytes"),
            (Vec::new(), "0 bytes are not a whole number"),
            ([record(3, 0), record(10, 0)].concat(), "image 1 has label 10, but the 10 classes"),
        ] {
            fs::write(&path, bytes).unwrap();
            let message = read(dir.path(), false).unwrap_err().to_string();
            assert!(message.contains("data_batch_2.bin") && message.contains(expected), "{message}");
        }
    }
}
