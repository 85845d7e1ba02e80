//! A network that loses its dead channels goes on as it would have with them.

mod support;

use gaunt_graph::{
    Graph, Op, Tensor, ValueId,
    rewrite::{DeadChannels, Mode},
    zoo::{self, Arch},
};
use gaunt_train::{
    Device, Network, Role, Target,
    optim::{Algorithm, Optimizer},
};
use support::{Builder, Numbers, batch};

/// Padded convolutions with batch norm, activation and pooling.
fn vgg() -> Graph {
    let mut builder = Builder::new(3);
    let mut x = builder.input(&[3, 8, 8]);
    for channels in [[3, 16], [16, 32], [32, 24]] {
        x = builder.conv(x, channels, 3, 1, 1);
        x = builder.batch_norm(x, channels[1]);
        x = builder.relu(x);
        x = builder.max_pool(x);
    }
    let x = builder.global_average(x);
    let x = builder.linear(x, 24, 10);
    builder.finish(x)
}

fn zoo(arch: Arch) -> Graph {
    zoo::build(arch, 10, [3, 8, 8], 1).unwrap()
}

fn floats(graph: &Graph, value: ValueId) -> Vec<f32> {
    graph.value(value).tensor.as_ref().unwrap().to_floats()
}

fn set(graph: &mut Graph, value: ValueId, floats: Vec<f32>) {
    let shape = graph.value(value).tensor.as_ref().unwrap().shape().to_vec();
    graph.values[value.index()].tensor = Some(Tensor::new(shape, floats).unwrap());
}

/// Whether a weight is taken from a filter or an input that is emptied: a quarter of each, the same on every layer, so
/// that residual trunks lose channels too.
fn is_emptied(graph: &Graph, weight: ValueId, element: usize) -> bool {
    let shape = graph.value(weight).tensor.as_ref().unwrap().shape();
    let taps: usize = shape[2..].iter().product();
    let (row, column) = (element / taps / shape[1], element / taps % shape[1]);
    // Neither classes nor colours can go.
    (shape[0] > 10 && row % 4 == 1) || (shape[1] > 3 && column % 4 == 2)
}

/// Empties filters and inputs, and gives batch norms biases that depend on the channel: what an empty filter leaves is
/// cut off by the activation if there is one, and else a constant.
fn thin_out(graph: &mut Graph) {
    for weight in graph.weights() {
        let emptied = floats(graph, weight.value).into_iter().enumerate();
        let emptied = emptied.map(|(i, w)| if is_emptied(graph, weight.value, i) { 0.0 } else { w }).collect();
        set(graph, weight.value, emptied);
    }
    let norms = graph.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm { .. }));
    for beta in norms.map(|node| node.inputs[2]).collect::<Vec<_>>() {
        let betas = (0..floats(graph, beta).len()).map(|channel| 0.15 - 0.2 * (channel % 4) as f32).collect();
        set(graph, beta, betas);
    }
}

fn networks() -> [(&'static str, Graph); 5] {
    let mut networks = [
        ("vgg", vgg()),
        ("resnet20", zoo(Arch::Resnet20)),
        ("resnet18", zoo(Arch::Resnet18)),
        ("mobilenet-v1", zoo(Arch::MobilenetV1)),
        ("mobilenet-v2", zoo(Arch::MobilenetV2)),
    ];
    networks.iter_mut().for_each(|(_, graph)| thin_out(graph));
    networks
}

fn assert_close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let size = expected.iter().fold(0.0f32, |size, x| size.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * size, "{name}: {found} instead of {expected} of {size}");
    }
}

#[test]
fn logits_stay() {
    for (name, graph) in networks() {
        let mut smaller = graph.clone();
        let dead = DeadChannels::find(&graph, Mode::Training, |_, _| true);
        dead.remove(&mut smaller);
        let work = smaller.multiplications() as f64 / graph.multiplications() as f64;
        assert!(work < 0.7, "{name}: {} channels are dead, {work} of the work is left", dead.count());
        let batch = batch(&mut Numbers::new(5), 4, [3, 8, 8], 10);
        let [before, after] = [&graph, &smaller].map(|graph| {
            let mut network = Network::new(graph, &Device::flex()).unwrap();
            network.logits(&batch.images, 4).unwrap()
        });
        assert_close(name, &after, &before, 1e-5);
    }
}

/// A network in training with its optimiser, whose emptied weights are kept at zero as a quantiser would keep them.
struct Run {
    network: Network,
    optimizer: Optimizer,
    emptied: Vec<Vec<usize>>,
}

impl Run {
    fn new(graph: &Graph, algorithm: Algorithm) -> Self {
        let network = Network::new(graph, &Device::flex()).unwrap();
        let lengths: Vec<usize> = network.parameters().iter().map(|p| network.parameter(p.value).len()).collect();
        let weights: Vec<ValueId> = graph.weights().iter().map(|weight| weight.value).collect();
        let emptied = network.parameters().iter().zip(&lengths).map(|(parameter, &len)| {
            let elements = (0..len).filter(|_| weights.contains(&parameter.value));
            elements.filter(|&element| is_emptied(graph, parameter.value, element)).collect()
        });
        Self { emptied: emptied.collect(), network, optimizer: Optimizer::new(algorithm, lengths) }
    }

    fn step(&mut self, seed: u64) {
        let batch = batch(&mut Numbers::new(seed), 48, [3, 8, 8], 10);
        self.network.gradients(&batch, &Target::labels(&batch.labels)).unwrap();
        self.optimizer.begin_step();
        let (optimizer, emptied) = (&mut self.optimizer, &self.emptied);
        self.network.update(|index, _, weights, gradient| {
            optimizer.update(index, weights, gradient, 1e-3, 0.0);
            emptied[index].iter().for_each(|&element| weights[element] = 0.0);
        });
    }

    /// The same without dead channels.
    fn compacted(&self) -> (Self, DeadChannels) {
        let graph = self.network.to_graph();
        let dead = DeadChannels::find(&graph, Mode::Training, |_, _| true);
        let mut smaller = graph.clone();
        dead.remove(&mut smaller);
        let mut optimizer = self.optimizer.clone();
        for selection in dead.survivors().selections(&graph) {
            let parameter = self.network.parameters().iter().position(|p| p.value == selection.parameter);
            if let Some(index) = parameter {
                let shape = &self.network.parameters()[index].shape;
                optimizer.keep_elements(index, &selection.elements(shape));
            }
        }
        let network = Network::new(&smaller, &Device::flex()).unwrap();
        let emptied = network.parameters().iter().map(|parameter| {
            let floats = network.parameter(parameter.value);
            let zeros = (0..floats.len()).filter(|&i| parameter.role == Role::Weight && floats[i] == 0.0);
            zeros.collect()
        });
        (Self { emptied: emptied.collect(), network, optimizer }, dead)
    }
}

#[test]
fn the_next_step_is_that_of_the_whole_network() {
    let adam = Algorithm::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-4 };
    for (name, graph) in networks() {
        for algorithm in [Algorithm::SGD, adam] {
            let mut whole = Run::new(&graph, algorithm);
            (0..3).for_each(|seed| whole.step(seed));
            let (mut smaller, dead) = whole.compacted();
            assert!(dead.count() > 8, "{name}: {}", dead.count());
            whole.step(3);
            smaller.step(3);
            let mut expected = whole.network.to_graph();
            dead.survivors().keep_in(&mut expected);
            // Running means may differ: some have taken up what dead channels added.
            for parameter in smaller.network.parameters() {
                let name = format!("{name}, {algorithm:?}, {}", parameter.name);
                let found = smaller.network.parameter(parameter.value);
                // Sums that are cut elsewhere round differently, and fifty batch norms over a few pixels magnify it.
                assert_close(&name, found, &floats(&expected, parameter.value), 1e-3);
            }
        }
    }
}
