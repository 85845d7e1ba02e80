//! The same network trains on a GPU through burn's own operators. Needs an adapter, for which a Vulkan driver in software
//! will do (`scripts/wgpu.sh`).
#![cfg(feature = "wgpu")]

mod support;

use gaunt_graph::{
    Graph,
    zoo::{self, Arch},
};
use gaunt_train::{
    Device, Network, Target,
    optim::{Algorithm, Optimizer},
};
use support::{Numbers, batch};

/// Small, so that differences of rounding do not grow from step to step.
const RATE: f32 = 0.005;

/// Losses of a few steps, the same batch each time.
fn losses(graph: &Graph, device: &Device, shape: [usize; 3]) -> Vec<f64> {
    let mut network = Network::new(graph, device).unwrap();
    let lengths = network.parameters().iter().map(|parameter| network.parameter(parameter.value).len());
    let mut optimizer = Optimizer::new(Algorithm::SGD, lengths);
    let batch = batch(&mut Numbers::new(5), 20, shape, 10);
    let step = |_| {
        let loss = network.gradients(&batch, &Target::labels(&batch.labels)).unwrap().loss;
        optimizer.begin_step();
        network.update(|index, _, weights, gradient| optimizer.update(index, weights, gradient, RATE, 0.0));
        loss
    };
    (0..4).map(step).collect()
}

#[test]
fn a_gpu_trains_as_the_cpu_does() {
    let gpu = Device::wgpu(Default::default());
    // MobileNetV2 is not among them: its losses part after the first step (docs/performance.md).
    for (arch, shape) in [(Arch::Lenet5, [1, 8, 8]), (Arch::Resnet20, [3, 8, 8])] {
        let graph = zoo::build(arch, 10, shape, 1).unwrap();
        let (found, expected) = (losses(&graph, &gpu, shape), losses(&graph, &Device::flex(), shape));
        assert!(expected.last() < expected.first(), "{arch}: the losses fall, {expected:?}");
        let differ = |(found, expected): (&f64, &f64)| (found - expected).abs() > 1e-4 * expected;
        assert!(!found.iter().zip(&expected).any(differ), "{arch}: {found:?}, on the CPU {expected:?}");
    }
}
