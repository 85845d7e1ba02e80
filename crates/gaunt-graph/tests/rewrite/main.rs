//! Rewrites must not change what a network computes: each is compared with the original, run by a naive interpreter.

mod naive;

use gaunt_graph::{
    Conv, Data, Dim, Graph, Op, Pool, Reduction, Tensor, Unary, ValueId,
    rewrite::{DeadChannels, Mode, drop_dead_channels, fold_batch_norm},
    zoo::{self, Arch},
};

/// Numbers in -1..1 from a linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let floats = (0..shape.iter().product()).map(|_| self.next()).collect();
        Tensor::new(shape.to_vec(), floats).unwrap()
    }
}

/// A network under construction; every layer has random parameters and reads the one before.
struct Net {
    graph: Graph,
    random: Random,
    x: ValueId,
}

impl Net {
    fn new(channels: usize) -> Self {
        let mut graph = Graph::new("test");
        let shape = vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(6), Dim::Fixed(6)];
        let x = graph.add_input("x", shape);
        Self { graph, random: Random(1), x }
    }

    fn size(&self) -> usize {
        self.graph.value(self.x).shape[1].at(1)
    }

    fn node(mut self, op: Op, parameters: &[&[usize]]) -> Self {
        let name = format!("n{}", self.graph.nodes.len());
        let mut inputs = vec![self.x];
        for (i, shape) in parameters.iter().enumerate() {
            let tensor = self.random.tensor(shape);
            inputs.push(self.graph.add_parameter(format!("{name}.{i}"), tensor));
        }
        self.x = self.graph.add_node(name, op, &inputs).unwrap();
        self
    }

    fn conv(self, outputs: usize, pad: usize) -> Self {
        let inputs = self.size();
        self.node(Op::Conv(geometry(pad, 1)), &[&[outputs, inputs, 3, 3], &[outputs]])
    }

    fn depthwise(self, pad: usize) -> Self {
        let channels = self.size();
        self.node(Op::Conv(geometry(pad, channels)), &[&[channels, 1, 3, 3], &[channels]])
    }

    fn linear(self, outputs: usize) -> Self {
        let inputs = self.size();
        self.node(Op::Linear, &[&[outputs, inputs], &[outputs]])
    }

    /// Batch norm with positive variances, and factors of both signs.
    fn norm(mut self) -> Self {
        let shape: &[usize] = &[self.size()];
        self = self.node(Op::BatchNorm { epsilon: 1e-5 }, &[shape; 4]);
        let variance = self.graph.nodes.last().unwrap().inputs[4];
        let floats = self.tensor(variance).to_floats().iter().map(|v| v.abs() + 0.1).collect();
        self.set(variance, Tensor::new(shape.to_vec(), floats).unwrap());
        self
    }

    fn unary(self, function: Unary) -> Self {
        self.node(Op::Unary(function), &[])
    }

    fn flatten(self) -> Self {
        let elements = self.graph.value(self.x).shape.iter().map(|dim| dim.at(1)).product();
        self.node(Op::Reshape { shape: vec![Dim::Batch(1), Dim::Fixed(elements)] }, &[])
    }

    fn mean(self, keep_dims: bool) -> Self {
        self.node(Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims }, &[])
    }

    fn tensor(&self, id: ValueId) -> &Tensor {
        self.graph.value(id).tensor.as_ref().unwrap()
    }

    fn set(&mut self, id: ValueId, tensor: Tensor) {
        self.graph.values[id.index()].tensor = Some(tensor);
    }

    /// Changes the elements of a parameter of a node; `change` gets the index within `axis`.
    fn edit(mut self, node: usize, input: usize, axis: usize, change: impl Fn(usize, f32) -> f32) -> Self {
        let id = self.graph.nodes[node].inputs[input];
        let tensor = self.tensor(id);
        let inner: usize = tensor.shape()[axis + 1..].iter().product();
        let size = tensor.shape()[axis];
        let floats = tensor.to_floats().into_iter().enumerate().map(|(i, w)| change(i / inner % size, w)).collect();
        let tensor = Tensor::new(tensor.shape().to_vec(), floats).unwrap();
        self.set(id, tensor);
        self
    }

    /// Sets the filters of some output channels of a layer to zero.
    fn empty(self, node: usize, channels: &[usize]) -> Self {
        self.edit(node, 1, 0, |channel, w| if channels.contains(&channel) { 0.0 } else { w })
    }

    /// Sets the weights of a layer for some of its inputs to zero.
    fn unread(self, node: usize, inputs: &[usize]) -> Self {
        self.edit(node, 1, 1, |input, w| if inputs.contains(&input) { 0.0 } else { w })
    }

    /// Sets the biases of a layer.
    fn biases(self, node: usize, bias: f32) -> Self {
        self.edit(node, 2, 0, |_, _| bias)
    }

    /// Turns the weights of all layers into codes with a scale for each channel.
    fn coded(mut self) -> Self {
        for weight in self.graph.weights() {
            let tensor = self.tensor(weight.value);
            let codes = tensor.to_floats().iter().map(|w| (w * 7.0).round() as i32).collect();
            let scales = (0..tensor.shape()[0]).map(|channel| 0.1 + channel as f32 / 64.0).collect();
            let coded = Tensor::from_codes(tensor.shape().to_vec(), codes, scales).unwrap();
            self.set(weight.value, coded);
        }
        self
    }

    fn finish(mut self) -> Graph {
        self.graph.outputs.push(self.x);
        self.graph.validate().unwrap();
        self.graph
    }
}

fn geometry(pad: usize, groups: usize) -> Conv {
    Conv { kernel: [3; 2], stride: [1; 2], pads: [pad; 4], dilation: [1; 2], groups }
}

/// Both graphs are valid and compute the same from several images.
fn assert_same(name: &str, before: &Graph, after: &Graph) {
    after.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
    let len: usize = before.value(before.inputs[0]).shape.iter().map(|dim| dim.at(1)).product();
    let mut random = Random(99);
    for _ in 0..3 {
        let image: Vec<f64> = (0..len).map(|_| f64::from(random.next())).collect();
        let (expected, found) = (naive::run(before, &image), naive::run(after, &image));
        assert_eq!(expected.len(), found.len(), "{name}");
        for (expected, found) in expected.iter().zip(&found) {
            assert!((expected - found).abs() <= 1e-5 * (1.0 + expected.abs()), "{name}: {expected} became {found}");
        }
    }
}

fn count(graph: &Graph, is: impl Fn(&Op) -> bool) -> usize {
    graph.nodes.iter().filter(|node| is(&node.op)).count()
}

#[test]
fn batch_norm_folds_into_the_layer_before_it() {
    // Name, network, batch norms that stay.
    let cases = [
        ("convolution with bias", Net::new(3).conv(4, 1).norm(), 0),
        ("convolution without bias", Net::new(3).node(Op::Conv(geometry(0, 1)), &[&[4, 3, 3, 3]]).norm(), 0),
        ("depthwise", Net::new(3).depthwise(1).norm(), 0),
        ("linear", Net::new(3).flatten().linear(5).norm(), 0),
        ("codes", Net::new(3).conv(4, 1).norm().unary(Unary::Relu).conv(2, 1).norm().coded(), 0),
        ("factor zero", Net::new(3).conv(4, 1).norm().coded().edit(1, 1, 0, |c, w| if c == 2 { 0.0 } else { w }), 0),
        ("behind an activation", Net::new(3).conv(4, 1).unary(Unary::Relu).norm(), 1),
        ("at the input", Net::new(3).norm().conv(4, 1), 1),
    ];
    for (name, net, stay) in cases {
        let before = net.finish();
        let mut after = before.clone();
        fold_batch_norm(&mut after);
        assert_same(name, &before, &after);
        assert_eq!(count(&after, |op| matches!(op, Op::BatchNorm { .. })), stay, "{name}");
        assert_codes_stay(name, &before, &after);
    }
}

fn assert_codes_stay(name: &str, before: &Graph, after: &Graph) {
    let is_coded =
        |graph: &Graph, id: ValueId| matches!(graph.value(id).tensor.as_ref().unwrap().data(), Data::Codes { .. });
    for (a, b) in before.weights().iter().zip(after.weights()) {
        assert_eq!(is_coded(before, a.value), is_coded(after, b.value), "{name}");
    }
}

#[test]
fn a_convolution_that_others_read_keeps_its_batch_norm() {
    let mut net = Net::new(3).conv(4, 1);
    let shared = net.x;
    net = net.norm();
    net.graph.outputs.push(shared);
    let before = net.finish();
    let mut after = before.clone();
    fold_batch_norm(&mut after);
    assert_eq!(after, before);
}

#[test]
fn dead_channels_go_and_the_function_stays() {
    let relu = Unary::Relu;
    let pool = || Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], dilation: [1; 2], ceil: false };
    let padded = || Pool { kernel: [3; 2], stride: [2; 2], pads: [1; 4], dilation: [1; 2], ceil: false };
    let average = |count_include_pad| Op::AveragePool { pool: padded(), count_include_pad };
    // Name, network, removed channels.
    let cases = [
        ("nothing dead", Net::new(3).conv(4, 1).unary(relu).conv(2, 1), 0),
        ("unread", Net::new(3).conv(4, 1).unary(relu).conv(2, 1).unread(2, &[0, 3]), 2),
        ("constant without padding", Net::new(3).conv(4, 1).unary(relu).conv(2, 0).empty(0, &[1, 2]).biases(0, 0.7), 2),
        ("constant with padding", Net::new(3).conv(4, 1).unary(relu).conv(2, 1).empty(0, &[1]).biases(0, 0.7), 0),
        ("zero with padding", Net::new(3).conv(4, 1).unary(relu).conv(2, 1).empty(0, &[1]).biases(0, -0.7), 1),
        ("clip", Net::new(3).conv(4, 1).unary(Unary::Clip { min: 0.2, max: 0.5 }).conv(2, 0).empty(0, &[3]), 1),
        ("leaky", Net::new(3).conv(4, 1).unary(Unary::LeakyRelu { alpha: 0.1 }).conv(2, 0).empty(0, &[0]), 1),
        ("hard swish", Net::new(3).conv(4, 1).unary(Unary::HardSwish).conv(2, 0).empty(0, &[0]), 1),
        ("sigmoid stays", Net::new(3).conv(4, 1).unary(Unary::Sigmoid).conv(2, 0).empty(0, &[0]), 0),
        ("max pool", Net::new(3).conv(4, 1).node(Op::MaxPool(pool()), &[]).conv(2, 0).empty(0, &[0]), 1),
        ("average, padding not counted", Net::new(3).conv(4, 1).node(average(false), &[]).conv(2, 0).empty(0, &[2]), 1),
        ("average, padding counted", Net::new(3).conv(4, 1).node(average(true), &[]).conv(2, 0).empty(0, &[2]), 0),
        ("flatten", Net::new(3).conv(4, 1).unary(relu).flatten().linear(5).empty(0, &[1]).biases(0, 0.3), 1),
        ("flatten, a pixel read", Net::new(3).conv(4, 1).flatten().linear(5).unread(2, &[36, 37, 38]), 0),
        ("mean", Net::new(3).conv(4, 1).unary(relu).mean(false).linear(5).empty(0, &[1]).biases(0, 0.3), 1),
        ("mean and flatten", Net::new(3).conv(4, 1).mean(true).flatten().linear(5).empty(0, &[1, 3]), 2),
        ("linear", Net::new(3).flatten().linear(6).unary(relu).linear(5).empty(1, &[4]).unread(3, &[2]), 2),
        ("linear over positions", Net::new(3).conv(4, 1).node(Op::Linear, &[&[5, 6]]).empty(0, &[1]), 0),
        ("depthwise carries on", Net::new(3).conv(4, 1).depthwise(1).conv(2, 1).unread(2, &[1]), 1),
        (
            "depthwise of zero",
            Net::new(3).conv(4, 1).unary(relu).depthwise(1).conv(2, 0).empty(0, &[1]).biases(0, 0.0),
            1,
        ),
        ("depthwise of a constant", Net::new(3).conv(4, 1).depthwise(1).conv(2, 0).empty(0, &[1]).biases(0, 0.5), 0),
        (
            "empty depthwise",
            Net::new(3).conv(4, 1).unary(relu).depthwise(1).unary(relu).conv(2, 0).empty(2, &[1, 2]),
            2,
        ),
        (
            "chain",
            Net::new(3).conv(4, 1).unary(relu).conv(3, 0).unary(relu).conv(2, 0).unread(4, &[0]).unread(2, &[3]),
            2,
        ),
        ("batch norm", Net::new(3).conv(4, 1).norm().unary(relu).conv(2, 0).empty(0, &[1]), 1),
        ("batch norm, padding", Net::new(3).conv(4, 1).norm().conv(2, 1).empty(0, &[1]), 0),
        ("batch norm, unread", Net::new(3).conv(4, 1).norm().conv(2, 1).unread(2, &[0, 2]), 2),
        (
            "a mean takes up a constant",
            Net::new(3).conv(4, 1).node(Op::Conv(geometry(0, 1)), &[&[2, 4, 3, 3]]).norm().empty(0, &[3]),
            1,
        ),
        ("a bias is made", Net::new(3).conv(4, 1).node(Op::Conv(geometry(0, 1)), &[&[2, 4, 3, 3]]).empty(0, &[3]), 1),
        ("all dead but one for form", Net::new(3).conv(4, 1).unary(relu).conv(2, 0).empty(0, &[0, 1, 2, 3]), 3),
    ];
    for (name, net, removed) in cases {
        let before = net.finish();
        let mut after = before.clone();
        assert_eq!(drop_dead_channels(&mut after), removed, "{name}");
        assert_same(name, &before, &after);
    }
}

#[test]
fn codes_stay_codes() {
    let net = Net::new(3).conv(4, 1).unary(Unary::Relu).conv(3, 0).unary(Unary::Relu).conv(2, 0);
    let before = net.empty(0, &[1]).unread(4, &[2]).coded().finish();
    let mut after = before.clone();
    assert_eq!(drop_dead_channels(&mut after), 2);
    assert_same("codes", &before, &after);
    assert_codes_stay("codes", &before, &after);
}

/// A filter of the next layer that read the removed channel alone is dead in turn.
#[test]
fn removal_repeats_until_nothing_is_dead() {
    let mut net = Net::new(3).conv(4, 1).unary(Unary::Relu).conv(3, 0).unary(Unary::Relu).conv(2, 0);
    net = net.empty(0, &[2]).biases(0, 0.4);
    let second = net.graph.nodes[2].inputs[1];
    let mut floats = net.tensor(second).to_floats();
    // Filter 1, every input but 2.
    (4..8).filter(|filter| filter % 4 != 2).for_each(|filter| floats[filter * 9..][..9].fill(0.0));
    net.set(second, Tensor::new(vec![3, 4, 3, 3], floats).unwrap());
    let before = net.finish();
    let mut after = before.clone();
    assert_eq!(drop_dead_channels(&mut after), 2);
    assert_same("cascade", &before, &after);
}

/// A block on a trunk of four channels: nodes 0 and 2 write the trunk, 2 and 4 read it.
fn residual(change: impl Fn(Net) -> Net) -> Graph {
    let mut net = Net::new(4).conv(4, 1).unary(Unary::Relu);
    let trunk = net.x;
    net = net.conv(4, 1).biases(0, -0.5).biases(2, 0.0);
    net.x = net.graph.add_node("sum", Op::Binary(gaunt_graph::Binary::Add), &[trunk, net.x]).unwrap();
    change(net.conv(2, 1)).finish()
}

#[test]
fn channels_of_a_residual_sum_go_together() {
    let cases = [
        ("one of two writers", residual(|net| net.empty(2, &[1])), 0),
        ("the other", residual(|net| net.empty(0, &[1])), 0),
        ("both writers", residual(|net| net.empty(0, &[1, 2]).empty(2, &[1, 3])), 1),
        ("one of two readers", residual(|net| net.unread(4, &[0])), 0),
        ("both readers", residual(|net| net.unread(2, &[0, 3]).unread(4, &[0, 3])), 2),
        // What a dead channel reads is not read.
        (
            "a reader that is dead itself",
            residual(|net| net.unread(4, &[0]).edit(2, 1, 1, |i, w| if i == 0 { w } else { 0.0 }).empty(2, &[1, 2, 3])),
            1,
        ),
    ];
    for (name, before, removed) in cases {
        let mut after = before.clone();
        assert_eq!(drop_dead_channels(&mut after), removed, "{name}");
        assert_same(name, &before, &after);
    }
}

/// In training, batch norm makes its bias of a constant. Where running statistics say otherwise, only an activation
/// that makes both the same lets the channel go.
#[test]
fn a_constant_goes_in_training_when_both_modes_agree() {
    let net = |beta: f32, mean: f32| {
        let net = Net::new(3).conv(4, 1).norm().unary(Unary::Relu).conv(2, 0).empty(0, &[1]).biases(0, 0.5);
        net.edit(1, 1, 0, |_, _| 1.0).edit(1, 2, 0, move |_, _| beta).edit(1, 3, 0, move |_, _| mean)
    };
    let cases = [
        ("statistics of the constant", net(0.3, 0.5), [1, 1]),
        ("older statistics", net(0.3, 0.6), [1, 0]),
        ("nothing behind the activation", net(-2.0, 0.6), [1, 1]),
        ("nothing in training alone", net(-0.001, 0.4), [1, 0]),
        (
            "no bias for the constant",
            {
                let mut net = net(0.3, 0.5);
                net.graph.nodes[3].inputs.pop();
                net
            },
            [1, 0],
        ),
    ];
    for (name, net, removed) in cases {
        let before = net.finish();
        for (mode, removed) in [Mode::Inference, Mode::Training].into_iter().zip(removed) {
            let mut after = before.clone();
            let dead = DeadChannels::find(&after, mode, |_, _| true);
            dead.remove(&mut after);
            assert_eq!(dead.count(), removed, "{name}, {mode:?}");
            assert_same(name, &before, &after);
            assert!(mode == Mode::Inference || after.values.len() == before.values.len(), "{name}");
        }
    }
}

#[test]
fn channels_go_only_where_they_may() {
    let before = Net::new(3).conv(4, 1).unary(Unary::Relu).conv(3, 1).conv(2, 1).unread(2, &[0, 2]);
    // The third layer's only reader of channel 1 is one that must stay.
    let before = before.unread(3, &[1]).finish();
    let kept = before.nodes[2].outputs[0];
    let mut after = before.clone();
    let dead = DeadChannels::find(&before, Mode::Training, |value, _| value != kept);
    dead.remove(&mut after);
    assert_eq!(dead.count(), 2);
    assert_eq!(dead.survivors().of(before.nodes[1].outputs[0]), Some(&[1, 3][..]));
    assert_same("allowed", &before, &after);
    let rest = DeadChannels::find(&after, Mode::Training, |_, _| true);
    let all = DeadChannels::find(&before, Mode::Training, |_, _| true);
    assert_eq!(dead.survivors().then(rest.survivors()), *all.survivors());
}

/// What survives of a parameter is what the smaller graph has, element by element.
#[test]
fn selections_say_what_the_smaller_graph_holds() {
    let net = Net::new(3).conv(4, 1).norm().depthwise(1).norm().conv(3, 0).flatten().linear(2);
    let before = net.unread(4, &[1]).unread(6, &[4, 5, 6, 7]).finish();
    let mut after = before.clone();
    let dead = DeadChannels::find(&before, Mode::Training, |_, _| true);
    dead.survivors().keep_in(&mut after);
    after.validate().unwrap();
    assert_eq!(dead.count(), 1);
    for selection in dead.survivors().selections(&before) {
        let [whole, rest] = [&before, &after].map(|graph| graph.value(selection.parameter).tensor.as_ref().unwrap());
        let (floats, elements) = (whole.to_floats(), selection.elements(whole.shape()));
        let kept: Vec<f32> = elements.into_iter().map(|element| floats[element]).collect();
        assert_eq!(kept, rest.to_floats(), "{}", before.value(selection.parameter).name);
    }
    assert_eq!(after.parameter_count(), before.parameter_count() - (27 + 1) - 4 - (9 + 1) - 4 - 27);
}

#[test]
fn a_network_of_the_zoo_gets_smaller_and_computes_the_same() {
    let mut random = Random(5);
    let mut before = zoo::build(Arch::Lenet5, 4, [1, 8, 8], 3).unwrap();
    for weight in before.weights() {
        let tensor = before.value(weight.value).tensor.as_ref().unwrap();
        let per_channel = tensor.len() / tensor.shape()[0];
        let mut floats = tensor.to_floats();
        for channel in floats.chunks_mut(per_channel) {
            if random.next() < -0.3 {
                channel.fill(0.0);
            }
        }
        before.values[weight.value.index()].tensor = Some(Tensor::new(tensor.shape().to_vec(), floats).unwrap());
    }
    let mut after = before.clone();
    let removed = drop_dead_channels(&mut after);
    assert!(removed > 20, "{removed}");
    assert!(after.parameter_count() < before.parameter_count());
    assert_same("lenet5", &before, &after);
    assert_eq!(drop_dead_channels(&mut after), 0);
}
