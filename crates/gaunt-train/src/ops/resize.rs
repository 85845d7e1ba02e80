//! Resampling of images: nearest by picking rows and columns, bilinear by two matrix products, so that both have
//! gradients on every device.

use burn::backend::{Dispatch, TensorMetadata, ops::FloatTensorOps};
use gaunt_graph::{NearestRounding, Resize, ResizeCoordinates, ResizeMode};

use crate::plain::{self, Plain};

pub(crate) fn resize(x: Plain, resize: &Resize) -> Plain {
    [2, 3].into_iter().fold(x, |x, axis| {
        let line = Line {
            from: plain::shape(&x)[axis],
            to: resize.size[axis - 2],
            scale: resize.scale[axis - 2],
            coordinates: resize.coordinates,
        };
        match resize.mode {
            ResizeMode::Nearest(rounding) => {
                plain::select(x, axis, &(0..line.to).map(|i| line.nearest(i, rounding)).collect::<Vec<_>>())
            }
            ResizeMode::Linear => interpolate(x, axis, &line),
        }
    })
}

/// Multiplies `axis` of `x` by the matrix of interpolation weights.
fn interpolate(x: Plain, axis: usize, line: &Line) -> Plain {
    let weights = plain::upload(&line.weights(), &[line.from, line.to], &x.device());
    let x = Dispatch::float_swap_dims(x, axis, 3);
    let mut to = plain::shape(&x);
    let rows = to[..3].iter().product();
    let product = Dispatch::float_matmul(plain::reshape(x, &[rows, line.from]), weights);
    to[3] = line.to;
    Dispatch::float_swap_dims(plain::reshape(product, &to), axis, 3)
}

/// One axis of a resampling.
struct Line {
    from: usize,
    to: usize,
    scale: f32,
    coordinates: ResizeCoordinates,
}

impl Line {
    /// Where output `i` lies in the input.
    fn position(&self, i: usize) -> f32 {
        let i = i as f32;
        match self.coordinates {
            ResizeCoordinates::PytorchHalfPixel if self.to == 1 => 0.0,
            ResizeCoordinates::HalfPixel | ResizeCoordinates::PytorchHalfPixel => (i + 0.5) / self.scale - 0.5,
            ResizeCoordinates::AlignCorners if self.to == 1 => 0.0,
            ResizeCoordinates::AlignCorners => i * (self.from - 1) as f32 / (self.to - 1) as f32,
            ResizeCoordinates::Asymmetric => i / self.scale,
        }
    }

    fn nearest(&self, i: usize, rounding: NearestRounding) -> usize {
        let position = self.position(i);
        let rounded = match rounding {
            NearestRounding::RoundPreferFloor => (position - 0.5).ceil(),
            NearestRounding::RoundPreferCeil => (position + 0.5).floor(),
            NearestRounding::Floor => position.floor(),
            NearestRounding::Ceil => position.ceil(),
        };
        (rounded.max(0.0) as usize).min(self.from - 1)
    }

    /// `[from, to]`, row-major: each column holds the weights of one output, which sum to 1.
    fn weights(&self) -> Vec<f32> {
        let mut weights = vec![0.0; self.from * self.to];
        for i in 0..self.to {
            let position = self.position(i).clamp(0.0, (self.from - 1) as f32);
            let low = position.floor() as usize;
            let high = (low + 1).min(self.from - 1);
            let share = position - low as f32;
            weights[low * self.to + i] += 1.0 - share;
            weights[high * self.to + i] += share;
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(from: usize, to: usize, coordinates: ResizeCoordinates) -> Line {
        Line { from, to, scale: to as f32 / from as f32, coordinates }
    }

    #[test]
    fn ties_go_where_the_rounding_says() {
        let line = line(4, 2, ResizeCoordinates::HalfPixel);
        let picks = |rounding| [line.nearest(0, rounding), line.nearest(1, rounding)];
        assert_eq!(picks(NearestRounding::RoundPreferFloor), [0, 2]);
        assert_eq!(picks(NearestRounding::RoundPreferCeil), [1, 3]);
    }

    #[test]
    fn weights_of_each_output_sum_to_one() {
        use ResizeCoordinates::{AlignCorners, Asymmetric, HalfPixel, PytorchHalfPixel};
        for coordinates in [HalfPixel, PytorchHalfPixel, AlignCorners, Asymmetric] {
            for (from, to) in [(1, 4), (3, 1), (4, 7), (7, 4)] {
                let weights = line(from, to, coordinates).weights();
                for i in 0..to {
                    let sum: f32 = weights.iter().skip(i).step_by(to).sum();
                    assert!((sum - 1.0).abs() < 1e-6, "{coordinates:?} {from} to {to}");
                }
            }
        }
    }
}
