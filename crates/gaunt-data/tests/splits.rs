//! Opening sources: which images land in which split, in which shape.

use std::collections::BTreeSet;

use gaunt_data::{DataError, Dataset, OpenOptions, Source, Split, Validation, open, open_split};
use image::{Rgb, RgbImage};
use tempfile::{TempDir, tempdir};

fn digits(validation: Validation) -> Result<(Dataset, Dataset), DataError> {
    let options = OpenOptions { validation, ..OpenOptions::default() };
    open(&Source::Digits, &options).map(|splits| (splits.train, splits.val))
}

/// Ten images of each of two classes in `train`, and one of each in every folder of `others`.
fn tree(others: &[&str]) -> (TempDir, Source) {
    let dir = tempdir().unwrap();
    for (folder, count) in others.iter().map(|folder| (*folder, 1)).chain([("train", 10)]) {
        for class in ["cat", "dog"] {
            let path = dir.path().join(folder).join(class);
            std::fs::create_dir_all(&path).unwrap();
            for index in 0..count {
                RgbImage::from_pixel(3, 5, Rgb([index; 3])).save(path.join(format!("{index}.png"))).unwrap();
            }
        }
    }
    let source = Source::Folder(dir.path().to_path_buf());
    (dir, source)
}

fn sized(size: usize) -> OpenOptions {
    OpenOptions { size: Some([size, size]), ..OpenOptions::default() }
}

#[test]
fn validation_takes_the_same_part_of_every_class() {
    let (train, val) = digits(Validation::default()).unwrap();
    assert_eq!((train.len(), val.len()), (1293, 144));
    for class in 0..10 {
        let count = val.labels().iter().filter(|&&label| label == class).count();
        assert!((13..=15).contains(&count), "class {class} has {count} validation images");
    }
}

#[test]
fn training_and_validation_are_all_and_do_not_meet() {
    let distinct = |data: &Dataset| (0..data.len()).map(|i| data.image(i).to_vec()).collect::<BTreeSet<_>>();
    let (all, none) = digits(Validation::Count(0)).unwrap();
    let (train, val) = digits(Validation::Count(400)).unwrap();
    assert_eq!((none.len(), train.len(), val.len()), (0, 1037, 400));
    assert_eq!(&distinct(&train) | &distinct(&val), distinct(&all));
    assert_eq!(distinct(&train).intersection(&distinct(&val)).count(), 0);
}

/// Guards the choice of images across versions of this crate and of its dependencies: what was held out stays held out.
#[test]
fn golden_validation_images() {
    let (_, val) = digits(Validation::Count(8)).unwrap();
    let ink: Vec<u32> =
        (0..val.len()).map(|index| val.image(index).iter().map(|&pixel| u32::from(pixel)).sum()).collect();
    assert_eq!(ink, [4655, 4925, 5724, 4942, 5276, 5627, 3600, 5913]);
}

#[test]
fn one_split_is_the_same_as_all() {
    let (_dir, source) = tree(&["test"]);
    for source in [source, Source::Digits] {
        let all = open(&source, &sized(8)).unwrap();
        for (split, expected) in [(Split::Train, all.train), (Split::Val, all.val), (Split::Test, all.test)] {
            assert_eq!(open_split(&source, split, &sized(8)).unwrap(), expected, "{split} of {source}");
        }
    }
}

#[test]
fn a_folder_brings_its_own_validation_or_has_it_cut() {
    for (others, expected) in [(&["val"][..], [18, 2, 2]), (&["test"], [18, 2, 2]), (&["val", "test"], [20, 2, 2])] {
        let (_dir, source) = tree(others);
        let splits = open(&source, &sized(4)).unwrap();
        assert_eq!([splits.train.len(), splits.val.len(), splits.test.len()], expected, "{others:?}");
        assert_eq!(splits.val.labels(), [0, 1]);
        assert_eq!(splits.train.shape(), [3, 4, 4]);
    }
}

#[test]
fn only_what_a_split_needs_is_read() {
    let (dir, source) = tree(&[]);
    assert!(open_split(&source, Split::Train, &sized(4)).is_ok());
    let message = open_split(&source, Split::Test, &sized(4)).unwrap_err().to_string();
    assert!(message.contains("test does not exist: make the folders"), "{message}");
    std::fs::rename(dir.path().join("train"), dir.path().join("test")).unwrap();
    assert_eq!(open_split(&source, Split::Test, &sized(4)).unwrap().len(), 20);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let (_dir, source) = tree(&["test"]);
    let read = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| open_split(&source, Split::Train, &sized(7)).unwrap())
    };
    assert_eq!(read(1), read(3));
}

#[test]
fn splits_of_one_source_agree_in_shape() {
    let dir = tempdir().unwrap();
    for (part, side) in [("train", 2), ("t10k", 3)] {
        let path = |what: &str| dir.path().join(format!("{part}-{what}-ubyte"));
        let images = [vec![0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, side, 0, 0, 0, side], vec![0; usize::from(side * side)]];
        std::fs::write(path("images-idx3"), images.concat()).unwrap();
        std::fs::write(path("labels-idx1"), [0, 0, 8, 1, 0, 0, 0, 1, 0]).unwrap();
    }
    let source = Source::Idx(dir.path().to_path_buf());
    let options = OpenOptions { validation: Validation::Count(0), ..OpenOptions::default() };
    let error = open(&source, &options).unwrap_err();
    assert!(matches!(error, DataError::Shapes { train: [1, 2, 2], test: [1, 3, 3], .. }), "{error}");
    assert!(open(&source, &OpenOptions { size: Some([4, 4]), ..options }).is_ok());
}

#[test]
fn images_are_brought_to_the_asked_shape() {
    let options = OpenOptions { size: Some([16, 12]), channels: Some(3), ..OpenOptions::default() };
    let test = open_split(&Source::Digits, Split::Test, &options).unwrap();
    assert_eq!((test.len(), test.shape()), (360, [3, 16, 12]));
    let (_dir, source) = tree(&["test"]);
    let grey = OpenOptions { channels: Some(1), ..sized(6) };
    assert_eq!(open_split(&source, Split::Test, &grey).unwrap().shape(), [1, 6, 6]);
}

#[test]
fn unusable_options_are_refused() {
    let open = |options: OpenOptions| open_split(&Source::Digits, Split::Train, &options).map(|_| ());
    for validation in
        [Validation::Count(1437), Validation::Fraction(1.0), Validation::Fraction(-0.1), Validation::Fraction(f64::NAN)]
    {
        let result = open(OpenOptions { validation, ..OpenOptions::default() });
        assert!(matches!(result, Err(DataError::Validation { images: 1437, .. })), "{validation:?}");
    }
    let channels = open(OpenOptions { channels: Some(2), ..OpenOptions::default() });
    assert!(matches!(channels, Err(DataError::Target { channels: 2, size: [8, 8], .. })));
    assert!(matches!(open(sized(0)), Err(DataError::Target { .. })));
    assert!(matches!(open(sized(16_000)), Err(DataError::TooLarge { .. })));
    let (_dir, source) = tree(&["test"]);
    let message = open_split(&source, Split::Test, &OpenOptions::default()).unwrap_err().to_string();
    assert!(message.contains("choose the height and width"), "{message}");
}

#[test]
fn splits_have_names() {
    for split in [Split::Train, Split::Val, Split::Test] {
        assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
    }
    assert!(matches!("valid".parse::<Split>(), Err(DataError::Split { .. })));
}
