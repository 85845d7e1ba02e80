//! Resampling of images: nearest neighbour and bilinear.

use alloc::vec::Vec;

use gaunt_graph::{NearestRounding, Resize, ResizeCoordinates, ResizeMode};
use libm::{ceilf, floorf};

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// Resampling between two known sizes.
pub(crate) struct ResizeKernel {
    rows: Vec<Sample>,
    columns: Vec<Sample>,
}

/// What an output index is made of along one axis: `x[low] * (1 - weight) + x[high] * weight`.
#[derive(Clone, Copy)]
struct Sample {
    low: usize,
    high: usize,
    weight: f32,
}

impl ResizeKernel {
    pub fn new(resize: &Resize, size: [usize; 2]) -> Self {
        let samples =
            |axis: usize| (0..resize.size[axis]).map(|i| Sample::new(resize, axis, size[axis], i as f32)).collect();
        Self { rows: samples(0), columns: samples(1) }
    }
}

impl Kernel for ResizeKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let x = operands.get(0);
        let (map_len, width) = (x.shape[2] * x.shape[3], x.shape[3]);
        let maps = out.data.chunks_exact_mut(self.rows.len() * self.columns.len());
        for (x, out) in x.data.chunks_exact(map_len).zip(maps) {
            for (row, out) in self.rows.iter().zip(out.chunks_exact_mut(self.columns.len())) {
                let (low, high) = (&x[row.low * width..][..width], &x[row.high * width..][..width]);
                for (column, y) in self.columns.iter().zip(out) {
                    *y = row.mix(column.pick(low), column.pick(high));
                }
            }
        }
    }
}

impl Sample {
    fn new(resize: &Resize, axis: usize, size: usize, index: f32) -> Self {
        let last = size - 1;
        let at = coordinate(resize, axis, size, index);
        // Casts of floats saturate, so indices below zero become zero.
        match resize.mode {
            ResizeMode::Nearest(rounding) => {
                let nearest = (round(at, rounding) as usize).min(last);
                Self { low: nearest, high: nearest, weight: 0.0 }
            }
            ResizeMode::Linear => {
                let low = (floorf(at) as usize).min(last);
                let weight = at - low as f32;
                Self { low, high: (low + 1).min(last), weight: weight.clamp(0.0, 1.0) }
            }
        }
    }

    /// The sample of a row.
    fn pick(&self, row: &[f32]) -> f32 {
        self.mix(row[self.low], row[self.high])
    }

    /// Interpolates. A single neighbour is taken as it is.
    fn mix(&self, low: f32, high: f32) -> f32 {
        if self.weight == 0.0 { low } else { low * (1.0 - self.weight) + high * self.weight }
    }
}

/// Where the centre of an output pixel lies in the input.
fn coordinate(resize: &Resize, axis: usize, size: usize, index: f32) -> f32 {
    let (scale, out_size) = (resize.scale[axis], resize.size[axis]);
    match resize.coordinates {
        ResizeCoordinates::PytorchHalfPixel if out_size == 1 => 0.0,
        ResizeCoordinates::HalfPixel | ResizeCoordinates::PytorchHalfPixel => (index + 0.5) / scale - 0.5,
        ResizeCoordinates::AlignCorners if out_size == 1 => 0.0,
        ResizeCoordinates::AlignCorners => index * (size - 1) as f32 / (out_size - 1) as f32,
        ResizeCoordinates::Asymmetric => index / scale,
    }
}

fn round(x: f32, rounding: NearestRounding) -> f32 {
    match rounding {
        NearestRounding::RoundPreferFloor => ceilf(x - 0.5),
        NearestRounding::RoundPreferCeil => floorf(x + 0.5),
        NearestRounding::Floor => floorf(x),
        NearestRounding::Ceil => ceilf(x),
    }
}

#[cfg(test)]
mod tests {
    use gaunt_graph::{NearestRounding, Op, Resize, ResizeCoordinates, ResizeMode};

    use crate::testing::{count, evaluate};

    /// Resizes a row of numbers that count from zero.
    fn row(from: usize, to: usize, mode: ResizeMode, coordinates: ResizeCoordinates) -> alloc::vec::Vec<f32> {
        let resize = Resize { size: [1, to], scale: [1.0, to as f32 / from as f32], mode, coordinates };
        evaluate(Op::Resize(resize), &[(&[1, 1, 1, from], &count(from))], &[])
    }

    #[test]
    fn coordinates_differ_in_where_pixels_lie() {
        let table: [(ResizeCoordinates, [f32; 4]); 3] = [
            (ResizeCoordinates::HalfPixel, [0.0, 0.25, 0.75, 1.0]),
            (ResizeCoordinates::AlignCorners, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]),
            (ResizeCoordinates::Asymmetric, [0.0, 0.5, 1.0, 1.0]),
        ];
        for (coordinates, expected) in table {
            assert_eq!(row(2, 4, ResizeMode::Linear, coordinates), expected, "{coordinates:?}");
        }
        assert_eq!(row(3, 1, ResizeMode::Linear, ResizeCoordinates::PytorchHalfPixel), [0.0]);
    }

    /// Every other output lies half way between two inputs.
    #[test]
    fn roundings_differ_between_pixels() {
        let table = [
            (NearestRounding::RoundPreferFloor, [0., 0., 1., 1., 2., 2.]),
            (NearestRounding::RoundPreferCeil, [0., 1., 1., 2., 2., 2.]),
            (NearestRounding::Floor, [0., 0., 1., 1., 2., 2.]),
            (NearestRounding::Ceil, [0., 1., 1., 2., 2., 2.]),
        ];
        for (rounding, expected) in table {
            let y = row(3, 6, ResizeMode::Nearest(rounding), ResizeCoordinates::Asymmetric);
            assert_eq!(y, expected, "{rounding:?}");
        }
    }
}
