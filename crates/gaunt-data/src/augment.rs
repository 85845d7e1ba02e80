//! Random crops, flips, turns and holes of training images.

use std::ops::Range;

use crate::DataError;
use crate::normalization::{Table, look_up};

/// How training images are varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Pad every side with this many black pixels, then crop to the former size at a random place: the image moves
    /// by up to this many pixels each way. 0 leaves it where it is.
    pub pad_crop: usize,
    /// Mirror left and right every other epoch. Half of the images begin mirrored; as each is seen both ways in any two
    /// epochs, a short training sees more than with mirrors drawn anew (Jordan, *94% on CIFAR-10 in 3.29 seconds on a
    /// single GPU*, 2024).
    pub flip: bool,
    /// Turn by a random multiple of a right angle: for pictures from above, which have no upper side. Of square images only.
    pub turn: bool,
    /// Side of a square that is blanked with the mean colour, its centre anywhere in the image (DeVries and Taylor,
    /// *Improved Regularization of Convolutional Neural Networks with Cutout*, 2017). 0 blanks nothing.
    pub cutout: usize,
}

impl Augment {
    /// Images as they are.
    pub const NONE: Self = Self { pad_crop: 0, flip: false, turn: false, cutout: 0 };

    /// Whether a crop always shows a part of images of `shape`, and a turned image has the same shape.
    pub(crate) fn check(self, shape: [usize; 3]) -> Result<(), DataError> {
        let [_, height, width] = shape;
        let pad = self.pad_crop;
        if pad >= height.min(width) {
            return Err(DataError::PadCrop { pad, height, width });
        }
        if self.turn && height != width {
            return Err(DataError::Turn { height, width });
        }
        Ok(())
    }

    /// The view of an image that 64 random bits choose, `mirrored` if images are mirrored at all.
    pub(crate) fn view(self, bits: u64, mirrored: bool) -> View {
        let [top, left] = places(bits, [2 * self.pad_crop + 1; 2]);
        // The two bits that places leave.
        let turns = if self.turn { Turns { quarter: bits & 1 != 0, half: bits >> 63 != 0 } } else { Turns::default() };
        View { pad: self.pad_crop, top, left, flip: self.flip && mirrored, turns }
    }

    /// The rows and columns of an image of `height` and `width` pixels that are blanked, which 64 random bits choose.
    pub(crate) fn hole(self, bits: u64, [height, width]: [usize; 2]) -> Hole {
        let [row, column] = places(bits, [height, width]);
        let around = |centre: usize, extent: usize| {
            let first = centre as isize - self.cutout as isize / 2;
            first.max(0) as usize..((first + self.cutout as isize).max(0) as usize).min(extent)
        };
        Hole { rows: around(row, height), columns: around(column, width) }
    }
}

/// Two numbers below `extents`.
///
/// They take a fixed number of bits, instead of draws of varying number: the n-th image of an epoch has the n-th 64 bits,
/// wherever loading started. 31 bits scaled to a few dozen places have no bias to speak of.
fn places(bits: u64, extents: [usize; 2]) -> [usize; 2] {
    let place = |bits: u64, extent: usize| (((bits & 0x7fff_ffff) * extent as u64) >> 31) as usize;
    [place(bits >> 1, extents[0]), place(bits >> 32, extents[1])]
}

/// A blanked rectangle of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Hole {
    /// Blanks the rectangle in normalised pixels (C x H x W), for which the mean is 0.
    pub(crate) fn apply(&self, [_, height, width]: [usize; 3], pixels: &mut [f32]) {
        for plane in pixels.chunks_exact_mut(height * width) {
            for row in plane.chunks_exact_mut(width).skip(self.rows.start).take(self.rows.len()) {
                row[self.columns.clone()].fill(0.0);
            }
        }
    }
}

/// Turns of an image, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    quarter: bool,
    half: bool,
}

impl Turns {
    /// Turns a plane; by a quarter only if it is `side` pixels high and wide.
    fn apply(self, plane: &mut [f32], side: usize) {
        if self.quarter {
            for row in 0..side {
                for column in row + 1..side {
                    plane.swap(row * side + column, column * side + row);
                }
            }
            plane.chunks_exact_mut(side).for_each(<[f32]>::reverse);
        }
        if self.half {
            plane.reverse();
        }
    }
}

/// One crop of a padded image, perhaps mirrored and turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pad: usize,
    /// First row of the crop in the padded image, 0 to twice `pad`.
    top: usize,
    /// First column of the crop in the padded image, 0 to twice `pad`.
    left: usize,
    flip: bool,
    /// Of the mirrored crop.
    turns: Turns,
}

impl View {
    /// Writes the view of `image` (C x H x W), normalised. Padding is black before normalisation.
    pub(crate) fn apply(self, image: &[u8], shape: [usize; 3], table: &Table, out: &mut [f32]) {
        let [_, height, width] = shape;
        let (rows, first_row) = overlap(height, self.pad, self.top);
        let (columns, first_column) = overlap(width, self.pad, self.left);
        let planes = image.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for ((image, out), values) in planes.zip(table.channels()) {
            out.fill(values[0]);
            let sources = image.chunks_exact(width).skip(first_row);
            for (source, row) in sources.zip(out.chunks_exact_mut(width).skip(rows.start).take(rows.len())) {
                look_up(values, &source[first_column..], &mut row[columns.clone()]);
                if self.flip {
                    row.reverse();
                }
            }
            self.turns.apply(out, width);
        }
    }
}

/// Along one axis of `extent` pixels: which pixels of the crop that starts at `start` show the image, and the first
/// pixel of the image that they show.
fn overlap(extent: usize, pad: usize, start: usize) -> (Range<usize>, usize) {
    let hidden = start.saturating_sub(pad);
    let black = pad.saturating_sub(start);
    (black..extent - hidden, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Normalization;

    /// The view as plain bytes; a black pixel reads 0.
    fn seen(view: View, image: &[u8], shape: [usize; 3]) -> Vec<f32> {
        let unit = Normalization::new(vec![0.0; shape[0]], vec![1.0 / 255.0; shape[0]]).unwrap().table(shape).unwrap();
        let mut out = vec![f32::NAN; image.len()];
        view.apply(image, shape, &unit, &mut out);
        out.into_iter().map(f32::round).collect()
    }

    #[test]
    fn views_against_hand_made_pictures() {
        let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let view = |top, left, flip| seen(View { pad: 1, top, left, flip, turns: Turns::default() }, &image, [1, 3, 3]);
        for (name, found, expected) in [
            ("centre", view(1, 1, false), [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            ("moved down and right", view(0, 0, false), [0, 0, 0, 0, 1, 2, 0, 4, 5]),
            ("moved up and left", view(2, 2, false), [5, 6, 0, 8, 9, 0, 0, 0, 0]),
            ("mirrored", view(1, 1, true), [3, 2, 1, 6, 5, 4, 9, 8, 7]),
            ("moved right, then mirrored", view(1, 0, true), [2, 1, 0, 5, 4, 0, 8, 7, 0]),
        ] {
            assert_eq!(found, expected.map(|value| value as f32), "{name}");
        }
    }

    #[test]
    fn channels_move_together_in_oblong_images() {
        let image = [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16];
        let view = Augment { pad_crop: 1, ..Augment::NONE }.view(0, false);
        let found = seen(View { top: 2, left: 1, ..view }, &image, [2, 2, 3]);
        assert_eq!(found, [4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 14.0, 15.0, 16.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn every_place_can_be_drawn() {
        let augment = Augment { pad_crop: 2, flip: true, turn: true, cutout: 0 };
        let [neither, both] = [false, true].map(|turned| Turns { quarter: turned, half: turned });
        let last = augment.view(u64::MAX, true);
        assert_eq!(last, View { pad: 2, top: 4, left: 4, flip: true, turns: both });
        assert_eq!(augment.view(0, false), View { pad: 2, top: 0, left: 0, flip: false, turns: neither });
        let unmoved = View { pad: 0, top: 0, left: 0, flip: false, turns: neither };
        assert_eq!(Augment::NONE.view(u64::MAX, true), unmoved);
    }

    #[test]
    fn turns_are_clockwise() {
        let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let augment = Augment { turn: true, ..Augment::NONE };
        for (bits, expected) in [
            (0, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (1, [7, 4, 1, 8, 5, 2, 9, 6, 3]),
            (1 << 63, [9, 8, 7, 6, 5, 4, 3, 2, 1]),
            (1 << 63 | 1, [3, 6, 9, 2, 5, 8, 1, 4, 7]),
        ] {
            let found = seen(augment.view(bits, false), &image, [1, 3, 3]);
            assert_eq!(found, expected.map(|value| value as f32), "{bits:x}");
        }
        let error = augment.check([3, 4, 5]).unwrap_err();
        assert!(matches!(error, DataError::Turn { height: 4, width: 5 }));
    }

    #[test]
    fn holes_are_cut_off_at_the_border() {
        let augment = Augment { cutout: 4, ..Augment::NONE };
        assert_eq!(augment.hole(0, [6, 9]), Hole { rows: 0..2, columns: 0..2 });
        assert_eq!(augment.hole(u64::MAX, [6, 9]), Hole { rows: 3..6, columns: 6..9 });
        let mut pixels = vec![1.0; 2 * 3 * 3];
        Hole { rows: 1..3, columns: 0..2 }.apply([2, 3, 3], &mut pixels);
        let expected = [[1.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]].concat();
        assert_eq!(pixels, [expected.clone(), expected].concat());
        assert!(Augment::NONE.hole(1 << 40, [6, 9]).rows.is_empty());
    }

    #[test]
    fn a_crop_must_show_the_image() {
        assert!(Augment { pad_crop: 7, ..Augment::NONE }.check([1, 9, 8]).is_ok());
        let error = Augment { pad_crop: 8, ..Augment::NONE }.check([1, 9, 8]).unwrap_err();
        assert!(matches!(error, DataError::PadCrop { pad: 8, height: 9, width: 8 }));
    }
}
