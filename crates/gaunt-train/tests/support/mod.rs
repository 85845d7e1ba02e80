//! Small networks and numbers for tests.
#![allow(dead_code, missing_docs)]

use std::sync::Arc;

use gaunt_data::{Augment, Batch, Dataset, Normalization, OpenOptions, Source, Split, open_split};
use gaunt_graph::{Conv, Dim, Graph, Op, Pool, Reduction, Tensor, Unary, ValueId};
use gaunt_train::{Device, Distillation, Network, TrainOptions, optim::Algorithm, schedule::Schedule};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Random numbers in `-1..1`, times `scale`.
pub struct Numbers(ChaCha8Rng);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-scale..scale)).collect()
    }

    pub fn tensor(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let floats = self.floats(shape.iter().product(), scale);
        Tensor::new(shape.to_vec(), floats).unwrap()
    }
}

/// Builds graphs with random parameters.
pub struct Builder {
    pub graph: Graph,
    pub numbers: Numbers,
}

impl Builder {
    pub fn new(seed: u64) -> Self {
        Self { graph: Graph::new("small"), numbers: Numbers::new(seed) }
    }

    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        let shape = [Dim::Batch(1)].into_iter().chain(shape.iter().map(|&size| Dim::Fixed(size))).collect();
        self.graph.add_input("x", shape)
    }

    pub fn parameter(&mut self, shape: &[usize], scale: f32) -> ValueId {
        let tensor = self.numbers.tensor(shape, scale);
        self.graph.add_parameter(format!("p{}", self.graph.values.len()), tensor)
    }

    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.add_node(format!("n{}", self.graph.values.len()), op, inputs).unwrap()
    }

    pub fn conv(&mut self, x: ValueId, channels: [usize; 2], kernel: usize, stride: usize, groups: usize) -> ValueId {
        let [inputs, outputs] = channels;
        let fan_in = inputs / groups * kernel * kernel;
        let weight = self.parameter(&[outputs, inputs / groups, kernel, kernel], (3.0 / fan_in as f32).sqrt());
        let conv = Conv { kernel: [kernel; 2], stride: [stride; 2], pads: [kernel / 2; 4], dilation: [1; 2], groups };
        self.node(Op::Conv(conv), &[x, weight])
    }

    pub fn batch_norm(&mut self, x: ValueId, channels: usize) -> ValueId {
        let mut constant = |value: f32| {
            let name = format!("p{}", self.graph.values.len());
            self.graph.add_parameter(name, Tensor::full(vec![channels], value))
        };
        let parameters = [constant(1.0), constant(0.0), constant(0.0), constant(1.0)];
        let [gamma, beta, mean, variance] = parameters;
        self.node(Op::BatchNorm { epsilon: 1e-5 }, &[x, gamma, beta, mean, variance])
    }

    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.node(Op::Unary(Unary::Relu), &[x])
    }

    pub fn global_average(&mut self, x: ValueId) -> ValueId {
        self.node(Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: false }, &[x])
    }

    pub fn linear(&mut self, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        let weight = self.parameter(&[outputs, inputs], (3.0 / inputs as f32).sqrt());
        let bias = self.parameter(&[outputs], 0.1);
        self.node(Op::Linear, &[x, weight, bias])
    }

    pub fn max_pool(&mut self, x: ValueId) -> ValueId {
        self.node(
            Op::MaxPool(Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], dilation: [1; 2], ceil: false }),
            &[x],
        )
    }

    pub fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph.validate().unwrap();
        self.graph
    }

    pub fn network(self, output: ValueId) -> Network {
        Network::new(&self.finish(output), &Device::flex()).unwrap()
    }
}

/// A residual network for the embedded digits: 8 x 8, one channel, 10 classes.
pub fn digits_graph() -> Graph {
    let mut builder = Builder::new(7);
    let x = builder.input(&[1, 8, 8]);
    let x = builder.conv(x, [1, 8], 3, 1, 1);
    let x = builder.batch_norm(x, 8);
    let shortcut = builder.relu(x);
    let x = builder.conv(shortcut, [8, 8], 3, 1, 1);
    let x = builder.batch_norm(x, 8);
    let x = builder.node(Op::Binary(gaunt_graph::Binary::Add), &[x, shortcut]);
    let x = builder.relu(x);
    let x = builder.max_pool(x);
    let x = builder.conv(x, [8, 16], 3, 1, 1);
    let x = builder.batch_norm(x, 16);
    let x = builder.relu(x);
    let x = builder.global_average(x);
    let x = builder.linear(x, 16, 10);
    builder.finish(x)
}

pub fn digits(split: Split) -> Arc<Dataset> {
    Arc::new(open_split(&Source::Digits, split, &OpenOptions::default()).unwrap())
}

pub fn digits_normalization() -> Normalization {
    Source::Digits.default_normalization(1).unwrap()
}

/// Two epochs over the digits.
pub fn digits_options() -> TrainOptions {
    TrainOptions {
        epochs: 2,
        batch_size: 32,
        algorithm: Algorithm::ADAM_W,
        rate: 0.02,
        schedule: Schedule::WarmupCosine { warmup: 5, floor: 0.0 },
        weight_decay: 0.01,
        smoothing: 0.0,
        distillation: Distillation { temperature: 3.0, weight: 0.7 },
        seed: 1,
        normalization: digits_normalization(),
        augment: Augment { pad_crop: 1, ..Augment::NONE },
        growth: None,
        checkpoints: None,
    }
}

/// A batch of random images with labels that count up.
pub fn batch(numbers: &mut Numbers, count: usize, shape: [usize; 3], classes: usize) -> Batch {
    let [channels, height, width] = shape;
    Batch {
        images: numbers.floats(count * channels * height * width, 1.0),
        shape: [count, channels, height, width],
        labels: (0..count).map(|i| i % classes).collect(),
        indices: (0..count).collect(),
    }
}
