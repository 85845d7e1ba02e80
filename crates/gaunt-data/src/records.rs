//! Records of one label byte followed by the pixels of one image: the layout of CIFAR-10, and of the digits.

use std::path::Path;

use crate::{DataError, Dataset};

/// What records hold.
pub(crate) struct Layout {
    /// Channels, height, width.
    pub(crate) shape: [usize; 3],
    /// The names of the classes.
    pub(crate) classes: [&'static str; 10],
}

impl Layout {
    /// Bytes of a record.
    fn record(&self) -> usize {
        1 + self.shape.iter().product::<usize>()
    }

    /// Adds the records in `bytes`, which came from `path`, to `images` and `labels`.
    pub(crate) fn append(
        &self,
        path: &Path,
        bytes: &[u8],
        images: &mut Vec<u8>,
        labels: &mut Vec<usize>,
    ) -> Result<(), DataError> {
        let record = self.record();
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let problem = format!("{} bytes are not a whole number of records of {record} bytes", bytes.len());
            return Err(DataError::malformed(
                path,
                problem,
                "the file is truncated or of another format; get it again",
            ));
        }
        for (index, record) in bytes.chunks_exact(record).enumerate() {
            let label = usize::from(record[0]);
            if label >= self.classes.len() {
                let (place, classes) = (path.display().to_string(), self.classes.len());
                return Err(DataError::Label { place, index, label, classes });
            }
            labels.push(label);
            images.extend_from_slice(&record[1..]);
        }
        Ok(())
    }

    /// The data set of appended records.
    pub(crate) fn dataset(&self, images: Vec<u8>, labels: Vec<usize>) -> Result<Dataset, DataError> {
        Dataset::new(images, self.shape, labels, self.classes.map(str::to_owned))
    }
}
