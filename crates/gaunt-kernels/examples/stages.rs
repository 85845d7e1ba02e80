//! Times the stages of ResNet-20, ResNet-18 and VGG-16: three residual blocks each, forward and backward, with a batch of 128 images.
//!
//! ```text
//! cargo run --release -p gaunt-kernels --example stages
//! cargo run --release -p gaunt-kernels --example stages -- bf16 64    # in bfloat16, those of so many channels
//! ```
//!
//! The rate counts the products of all three passes of the convolutions, as if there were no padding, over the time of
//! everything: batch norm, sums and burn's bookkeeping are in the time but not in the products.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, Tensor};
use gaunt_kernels::{Activation, ConvGeometry, Maps, Precision, add, batch_norm, conv2d};

const IMAGES: usize = 128;
const BLOCKS: usize = 3;
const ROUNDS: usize = 10;

/// What a convolution and the batch norm behind it learn.
struct Layer {
    weight: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
}

impl Layer {
    fn new(channels: usize, device: &Device) -> Self {
        let deviation = (2.0 / (9 * channels) as f64).sqrt();
        let weight = Tensor::random([channels, channels, 3, 3], Distribution::Normal(0.0, deviation), device);
        Self {
            weight: weight.require_grad(),
            gamma: Tensor::ones([channels], device).require_grad(),
            beta: Tensor::zeros([channels], device).require_grad(),
        }
    }

    fn forward(&self, x: Maps, activation: Activation, precision: Precision) -> Maps {
        let geometry = ConvGeometry { stride: [1, 1], pads: [1; 4], dilation: [1, 1], groups: 1 };
        let y = conv2d(x, self.weight.clone().into_dispatch(), None, &geometry, precision);
        let (gamma, beta) = (self.gamma.clone().into_dispatch(), self.beta.clone().into_dispatch());
        batch_norm(y, gamma, beta, 1e-5, activation).0
    }
}

fn main() {
    let device = Device::flex().autodiff();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let precision = if arguments.iter().any(|word| word == "bf16") { Precision::Bf16 } else { Precision::Fp32 };
    let only: Vec<usize> = arguments.iter().filter_map(|word| word.parse().ok()).collect();
    for (channels, side) in [(16, 32), (32, 16), (64, 8), (64, 32), (128, 16), (256, 8), (512, 4), (512, 2)] {
        if !only.is_empty() && !only.contains(&channels) {
            continue;
        }
        let layers: Vec<Layer> = (0..2 * BLOCKS).map(|_| Layer::new(channels, &device)).collect();
        let x = Tensor::<4>::random([IMAGES, channels, side, side], Distribution::Default, &device).require_grad();
        let step = || {
            let mut maps = Maps::from_tensor(x.clone().into_dispatch());
            for block in layers.chunks_exact(2) {
                let inner = block[0].forward(maps.clone(), Activation::Relu, precision);
                maps = add(block[1].forward(inner, Activation::None, precision), maps, Activation::Relu);
            }
            let start = Instant::now();
            let gradients = Tensor::<4>::from_dispatch(maps.into_tensor()).sum().backward();
            let backward = start.elapsed();
            std::hint::black_box(gradients);
            backward
        };
        step();
        let times: Vec<(Duration, Duration)> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                let backward = step();
                (start.elapsed(), backward)
            })
            .collect();
        let (total, backward) = times.into_iter().min().expect("there are rounds");
        let products = 3 * layers.len() * IMAGES * channels * channels * 9 * side * side;
        println!(
            "{channels:3} channels {side}x{side}: {:6.1} ms, backward {:6.1} ms, {:5.0} GFLOP/s",
            total.as_secs_f64() * 1e3,
            backward.as_secs_f64() * 1e3,
            2.0 * products as f64 / total.as_secs_f64() / 1e9,
        );
    }
}
