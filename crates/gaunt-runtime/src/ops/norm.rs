//! Batch and layer normalisation.

use crate::{
    kernel::{Kernel, Operands},
    view::ViewMut,
};

/// `(x - mean) * (gamma / sqrt(variance + epsilon)) + beta`, per channel.
pub(crate) struct BatchNormKernel {
    pub epsilon: f32,
}

impl Kernel for BatchNormKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|index| operands.get(index).data);
        let channels = out.shape[1];
        let map_len = out.shape[2..].iter().product();
        for (i, map) in out.data.chunks_exact_mut(map_len).enumerate() {
            let c = i % channels;
            let scale = gamma[c] / libm::sqrtf(variance[c] + self.epsilon);
            map.iter_mut().for_each(|x| *x = (*x - mean[c]) * scale + beta[c]);
        }
    }

    fn in_place(&self) -> bool {
        true
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias`, mean and variance those of the axes from `axis` on.
pub(crate) struct LayerNormKernel {
    pub axis: usize,
    pub epsilon: f32,
}

impl Kernel for LayerNormKernel {
    fn run(&self, operands: &Operands, out: ViewMut, _scratch: &mut [f32]) {
        let scale = operands.get(1).data;
        let bias = operands.optional(2);
        let len: usize = out.shape[self.axis..].iter().product();
        for row in out.data.chunks_exact_mut(len) {
            let mean = row.iter().fold(0.0, |sum, &x| sum + x) / len as f32;
            let variance = row.iter().fold(0.0, |sum, &x| sum + (x - mean) * (x - mean)) / len as f32;
            let deviation = libm::sqrtf(variance + self.epsilon);
            row.iter_mut().zip(scale).for_each(|(x, scale)| *x = (*x - mean) / deviation * scale);
            if let Some(bias) = bias {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
            }
        }
    }

    fn in_place(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use gaunt_graph::{Op, Tensor};

    use crate::testing::evaluate;

    #[test]
    fn batch_norm_works_per_channel() {
        let vector = |a, b| Tensor::new(vec![2], vec![a, b]).unwrap();
        let parameters = [vector(1.0, 2.0), vector(0.5, -1.0), vector(1.0, 3.0), vector(4.0, 16.0)];
        let y = evaluate(Op::BatchNorm { epsilon: 0.0 }, &[(&[1, 2, 1, 2], &[3.0, 1.0, 5.0, 3.0])], &parameters);
        assert_eq!(y, [1.5, 0.5, 0.0, -1.0]);
    }

    #[test]
    fn layer_norm_has_mean_zero_and_variance_one() {
        let parameters = [Tensor::full(vec![2], 2.0), Tensor::full(vec![2], 1.0)];
        let y = evaluate(Op::LayerNorm { axis: 1, epsilon: 0.0 }, &[(&[2, 2], &[1.0, 3.0, -4.0, -8.0])], &parameters);
        assert_eq!(y, [-1.0, 3.0, 3.0, -1.0]);
    }
}
