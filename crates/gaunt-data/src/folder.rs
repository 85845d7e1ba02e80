//! Folders of image files, one per class.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use crate::{DataError, Dataset, Split, picture};

/// Extensions that are read, in lower case.
const IMAGES: [&str; 3] = ["jpg", "jpeg", "png"];

/// Extensions of images that are not read. Skipping such a file in silence would train on less than was meant.
const UNSUPPORTED: [&str; 10] = ["avif", "bmp", "gif", "heic", "jp2", "pgm", "ppm", "tif", "tiff", "webp"];

const MISSING: &str = "make the folders `train` and `test` (or `val`), each with one folder of images per class";

/// Whether there is a folder for validation besides the one for tests.
pub(crate) fn has_own_validation(dir: &Path) -> bool {
    dir.join("val").is_dir() && dir.join("test").is_dir()
}

/// The image files of a part of the data and their classes, in the order of their paths.
pub(crate) struct Listing {
    root: PathBuf,
    files: Vec<PathBuf>,
    labels: Vec<usize>,
    classes: Vec<String>,
}

impl Listing {
    /// Finds the files that `split` is taken from: all of it, or for validation without a folder of its own, all
    /// that it is cut from.
    pub(crate) fn find(dir: &Path, split: Split) -> Result<Self, DataError> {
        let train = dir.join("train");
        let root = match split {
            Split::Val if has_own_validation(dir) => dir.join("val"),
            Split::Train | Split::Val => train.clone(),
            Split::Test if !dir.join("test").is_dir() && dir.join("val").is_dir() => dir.join("val"),
            Split::Test => dir.join("test"),
        };
        // A label means the class of `train`, though a test may lack some classes.
        let classes = class_names(if train.is_dir() { &train } else { &root })?;
        let mut listing = Self { root, files: Vec::new(), labels: Vec::new(), classes };
        for class in class_names(&listing.root)? {
            listing.add_class(&class)?;
        }
        Ok(listing)
    }

    /// Adds the files of one class.
    fn add_class(&mut self, class: &str) -> Result<(), DataError> {
        let folder = self.root.join(class);
        let Ok(label) = self.classes.binary_search_by(|name| name.as_str().cmp(class)) else {
            let problem = format!("`{class}` is none of the {} classes of `train`", self.classes.len());
            return Err(DataError::malformed(&folder, problem, "rename the folder or remove it"));
        };
        let before = self.files.len();
        add_images(&folder, &mut self.files)?;
        if self.files.len() == before {
            let remedy = "add images or remove the folder";
            return Err(DataError::malformed(&folder, "no jpeg or png file", remedy));
        }
        self.labels.resize(self.files.len(), label);
        Ok(())
    }

    /// The class of every file.
    pub(crate) fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Decodes the files at `indices` to `shape`, in that order.
    pub(crate) fn decode(&self, indices: &[usize], shape: [usize; 3]) -> Result<Dataset, DataError> {
        let images = picture::fill(&self.root, indices.len(), shape, |index, out| {
            picture::write_planar(&picture::decode(&self.files[indices[index]])?, shape, out);
            Ok(())
        })?;
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Dataset::new(images, shape, labels, self.classes.clone())
    }
}

/// The names of the class folders in `root`, sorted.
fn class_names(root: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in entries(root)?.iter().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().map_err(|name| {
            DataError::malformed(root, format!("the name of the folder {name:?} is not Unicode"), "rename the folder")
        })?;
        names.push(name);
    }
    if names.is_empty() { Err(DataError::malformed(root, "no folder of a class", MISSING)) } else { Ok(names) }
}

/// Adds the image files below `folder`. Links to folders are not followed, for they could form a circle.
fn add_images(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for entry in entries(folder)? {
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if entry.file_type().map_err(|source| DataError::io(&path, source, MISSING))?.is_dir() {
            add_images(&path, files)?;
        } else if IMAGES.contains(&extension.as_str()) {
            files.push(path);
        } else if UNSUPPORTED.contains(&extension.as_str()) {
            return Err(DataError::malformed(&path, "only jpeg and png are read", "convert the file or remove it"));
        }
    }
    Ok(())
}

/// What a folder holds, sorted by name, without hidden entries.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, DataError> {
    let read = || fs::read_dir(folder)?.collect::<Result<Vec<DirEntry>, _>>();
    let mut entries = read().map_err(|source| DataError::io(folder, source, MISSING))?;
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};
    use tempfile::{TempDir, tempdir};

    use super::*;

    /// A tree of uniform 4 x 6 images; each file is `(path, grey value)`.
    fn tree(files: &[(&str, u8)]) -> TempDir {
        let dir = tempdir().unwrap();
        for (path, value) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_pixel(6, 4, Rgb([*value; 3])).save(path).unwrap();
        }
        dir
    }

    const FILES: [(&str, u8); 6] = [
        ("train/b/2.png", 30),
        ("train/b/1.JPG", 20),
        ("train/a/deep/x.png", 15),
        ("train/a/a.jpeg", 10),
        ("val/b/1.png", 40),
        ("val/a/1.png", 50),
    ];

    fn decode(dir: &TempDir, split: Split) -> Result<Dataset, DataError> {
        let listing = Listing::find(dir.path(), split)?;
        listing.decode(&(0..listing.labels().len()).collect::<Vec<_>>(), [1, 2, 2])
    }

    fn error(dir: &TempDir, split: Split) -> String {
        decode(dir, split).unwrap_err().to_string()
    }

    #[test]
    fn files_are_sorted_and_labelled() {
        let train = decode(&tree(&FILES), Split::Train).unwrap();
        assert_eq!(train.classes(), ["a", "b"]);
        assert_eq!(train.labels(), [0, 0, 1, 1]);
        assert_eq!(train.images(), [[10; 4], [15; 4], [20; 4], [30; 4]].concat());
    }

    #[test]
    fn val_is_the_test_split_where_there_is_no_test() {
        let dir = tree(&FILES);
        assert_eq!(decode(&dir, Split::Test).unwrap().images(), [[50; 4], [40; 4]].concat());
        assert!(!has_own_validation(dir.path()));
        let dir = tree(&[&FILES[..], &[("test/b/1.png", 60)]].concat());
        assert_eq!(decode(&dir, Split::Test).unwrap().labels(), [1]);
        assert_eq!(decode(&dir, Split::Val).unwrap().labels(), [0, 1]);
        assert!(has_own_validation(dir.path()));
    }

    #[test]
    fn hidden_and_other_files_are_skipped() {
        let dir = tree(&FILES);
        fs::create_dir(dir.path().join("train/.cache")).unwrap();
        for name in ["train/a/.hidden.png", "train/a/notes.txt", "train/readme.md"] {
            fs::write(dir.path().join(name), "no image").unwrap();
        }
        assert_eq!(decode(&dir, Split::Train).unwrap().len(), 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let dir = tempdir().unwrap();
        assert!(error(&dir, Split::Train).contains("train does not exist: make the folders"));
        fs::create_dir(dir.path().join("train")).unwrap();
        assert!(error(&dir, Split::Train).contains("train: no folder of a class"));

        let dir = tree(&[&FILES[..], &[("val/c/1.png", 0)]].concat());
        assert!(error(&dir, Split::Test).contains("`c` is none of the 2 classes of `train`"));

        let dir = tree(&FILES);
        fs::create_dir(dir.path().join("train/empty")).unwrap();
        assert!(error(&dir, Split::Train).contains("empty: no jpeg or png file: add images"));

        let dir = tree(&FILES);
        fs::write(dir.path().join("train/a/b.webp"), "").unwrap();
        assert!(error(&dir, Split::Train).contains("b.webp: only jpeg and png are read: convert"));

        let dir = tree(&FILES);
        fs::write(dir.path().join("train/a/b.png"), "no image").unwrap();
        let message = error(&dir, Split::Train);
        assert!(message.contains("cannot decode") && message.contains("b.png"), "{message}");
    }
}
