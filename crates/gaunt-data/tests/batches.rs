//! Training batches: what they hold, and that nothing but data, options, epoch and step decides it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use gaunt_data::{Augment, Batch, DataError, Dataset, Epoch, Loader, LoaderOptions, Normalization, Split};
use gaunt_data::{OpenOptions, Source, open_split};

fn digits() -> Arc<Dataset> {
    Arc::new(open_split(&Source::Digits, Split::Test, &OpenOptions::default()).unwrap())
}

/// Batches of 50 of 360 images, with values 0 to 255.
fn options() -> LoaderOptions {
    LoaderOptions {
        batch_size: 50,
        seed: 7,
        normalization: Normalization::new(vec![0.0], vec![1.0 / 255.0]).unwrap(),
        augment: Augment { pad_crop: 1, flip: true, ..Augment::NONE },
        views: None,
        drop_last: false,
    }
}

fn loader(change: impl FnOnce(&mut LoaderOptions)) -> Loader {
    let mut options = options();
    change(&mut options);
    Loader::new(&digits(), options).unwrap()
}

#[test]
fn an_epoch_shows_every_image_once_with_its_label() {
    let data = digits();
    let loader = loader(|options| options.augment = Augment::NONE);
    let mut seen = Vec::new();
    for batch in loader.epoch(0, 0) {
        assert_eq!(batch.shape, [batch.len(), 1, 8, 8]);
        for ((image, &index), &label) in batch.images.chunks(64).zip(&batch.indices).zip(&batch.labels) {
            assert_eq!(label, data.labels()[index]);
            let close = |(value, &byte): (&f32, &u8)| (value - f32::from(byte)).abs() < 1e-3;
            assert!(image.iter().zip(data.image(index)).all(close));
        }
        seen.extend(batch.indices);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..360).collect::<Vec<_>>());
}

#[test]
fn the_last_batch_is_partial_or_left_out() {
    let sizes = |loader: Loader| loader.epoch(0, 0).map(|batch| batch.len()).collect::<Vec<_>>();
    assert_eq!(sizes(loader(|_| ())), [50, 50, 50, 50, 50, 50, 50, 10]);
    assert_eq!(sizes(loader(|options| options.drop_last = true)), [50; 7]);
    assert_eq!(loader(|options| options.drop_last = true).steps(), 7);
}

#[test]
fn a_resumed_epoch_goes_on_with_the_same_batches() {
    let loader = loader(|_| ());
    let undisturbed: Vec<Batch> = loader.epoch(3, 0).collect();
    for first_step in 0..=9 {
        let epoch = loader.epoch(3, first_step);
        assert_eq!(epoch.len(), 8usize.saturating_sub(first_step));
        assert!(epoch.eq(undisturbed.iter().skip(first_step).cloned()), "from step {first_step}");
    }
}

#[test]
fn seed_and_epoch_change_order_and_augmentation() {
    let first = |loader: Loader, epoch| loader.epoch(epoch, 0).next().unwrap();
    let reference = first(loader(|_| ()), 0);
    assert_eq!(first(loader(|_| ()), 0), reference);
    assert_ne!(first(loader(|_| ()), 1).indices, reference.indices);
    assert_ne!(first(loader(|options| options.seed = 8), 0).indices, reference.indices);

    // One image only: the order cannot differ, the augmentation does.
    let data = Arc::new(digits().subset(&[0]));
    let views: Vec<_> = (0..20).flat_map(|epoch| Loader::new(&data, options()).unwrap().epoch(epoch, 0)).collect();
    assert!(views.iter().any(|view| view.images != views[0].images));
}

#[test]
fn an_image_is_mirrored_every_other_epoch() {
    let loader = loader(|options| options.augment = Augment { flip: true, ..Augment::NONE });
    let images = |epoch| {
        let mut images: Vec<_> = loader
            .epoch(epoch, 0)
            .flat_map(|batch| {
                batch.indices.into_iter().zip(batch.images.chunks(64).map(<[f32]>::to_vec).collect::<Vec<_>>())
            })
            .collect();
        images.sort_by_key(|(index, _)| *index);
        images
    };
    let (even, odd) = (images(0), images(1));
    assert_eq!(images(2), even);
    let mirror = |image: &[f32]| -> Vec<f32> { image.chunks(8).flat_map(|row| row.iter().rev().copied()).collect() };
    assert!(even.iter().zip(&odd).all(|(even, odd)| mirror(&even.1) == odd.1));
    let data = digits();
    let close = |(value, &byte): (&f32, &u8)| (value - f32::from(byte)).abs() < 1e-3;
    let plain = even.iter().filter(|(index, image)| image.iter().zip(data.image(*index)).all(close)).count();
    assert!((120..240).contains(&plain), "about half of 360 begin mirrored, {plain} do not");
}

#[test]
fn views_come_back_in_another_order() {
    let augment = Augment { pad_crop: 1, flip: true, cutout: 3, ..Augment::NONE };
    let loader = loader(|options| (options.views, options.augment) = (NonZeroUsize::new(3), augment));
    let images = |batches: Epoch| {
        let (mut order, mut images) = (Vec::new(), vec![Vec::new(); 360]);
        for batch in batches {
            for (&index, image) in batch.indices.iter().zip(batch.images.chunks(64)) {
                images[index] = image.to_vec();
            }
            order.extend(batch.indices);
        }
        (order, images)
    };
    assert_eq!([0, 1, 2, 3, 7].map(|epoch| loader.view(epoch)), [0, 1, 2, 0, 1].map(Some));
    let (first, again, other) = (images(loader.epoch(1, 0)), images(loader.epoch(4, 0)), images(loader.epoch(2, 0)));
    assert_eq!(first.1, again.1);
    assert_ne!(first.0, again.0);
    assert_ne!(first.1, other.1);
    assert_eq!(images(loader.in_order(4)), ((0..360).collect(), first.1));
    assert_eq!(loader.epoch(4, 5).next(), loader.epoch(4, 0).nth(5));
}

#[test]
fn holes_move_from_epoch_to_epoch_and_do_not_depend_on_the_first_step() {
    let plain = loader(|options| options.augment = Augment::NONE);
    let cut = loader(|options| options.augment = Augment { cutout: 4, ..Augment::NONE });
    let holes = |epoch, first| -> Vec<Vec<usize>> {
        let images = plain.epoch(epoch, first).zip(cut.epoch(epoch, first));
        let pairs = images.flat_map(|(plain, cut)| {
            let of = |batch: &[f32]| batch.chunks(64).map(<[f32]>::to_vec).collect::<Vec<_>>();
            of(&plain.images).into_iter().zip(of(&cut.images)).collect::<Vec<_>>()
        });
        pairs.map(|(plain, cut)| (0..64).filter(|&pixel| plain[pixel] != cut[pixel]).collect()).collect()
    };
    let first = holes(0, 0);
    assert!(first.iter().all(|hole| hole.len() <= 16));
    assert!(first.iter().any(|hole| hole.len() == 16));
    assert_ne!(holes(1, 0), first);
    let batch = options().batch_size;
    assert_eq!(holes(0, 3), first[3 * batch..]);
}

#[test]
fn an_epoch_may_be_dropped_early() {
    let loader = loader(|options| options.batch_size = 1);
    let mut epoch = loader.epoch(0, 0);
    assert!(epoch.next().is_some());
    assert_eq!(epoch.len(), 359);
    drop(epoch);
    assert_eq!(loader.epoch(0, 0).count(), 360);
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut LoaderOptions)| {
        let mut options = options();
        change(&mut options);
        Loader::new(&digits(), options).err().unwrap()
    };
    assert!(matches!(refused(|o| o.batch_size = 0), DataError::BatchSize { batch_size: 0, .. }));
    assert!(matches!(refused(|o| (o.batch_size, o.drop_last) = (361, true)), DataError::BatchSize { images: 360, .. }));
    assert!(matches!(refused(|o| o.augment.pad_crop = 8), DataError::PadCrop { pad: 8, .. }));
    assert!(matches!(refused(|o| o.normalization = Normalization::imagenet()), DataError::Channels { found: 3, .. }));
}

/// Guards order and augmentation across versions of this crate and of its dependencies.
#[test]
fn golden_batches() {
    let found: Vec<_> = [(0, 0), (0, 7), (5, 2)]
        .map(|(epoch, step)| {
            let batch = loader(|_| ()).epoch(epoch, step).next().unwrap();
            let bytes = batch.images.iter().map(|value| value.round() as u8);
            (
                batch.indices[..6].to_vec(),
                bytes.fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())),
            )
        })
        .into();
    let expected = [
        (vec![89, 196, 159, 109, 111, 287], 13899185782318985120),
        (vec![356, 77, 219, 7, 240, 319], 2992636939793174816),
        (vec![135, 223, 343, 148, 173, 176], 1324923131230851724),
    ];
    assert_eq!(found, expected);
}
