//! What a network computes, and what it keeps.

mod support;

use gaunt_data::Batch;
use gaunt_graph::{Binary, Conv, Data, Graph, Op, Reduction, Tensor, Unary, ValueId};
use gaunt_train::{Device, Network, Role, Target, TrainError};
use support::{Builder, Numbers, batch, digits_graph};

/// One channel through a batch norm, then the mean of each image beside a constant class.
fn normalised() -> (Graph, [ValueId; 2]) {
    let mut builder = Builder::new(1);
    let x = builder.input(&[1, 1, 2]);
    let y = builder.batch_norm(x, 1);
    let statistics = [builder.graph.nodes[0].inputs[3], builder.graph.nodes[0].inputs[4]];
    let y = builder.node(Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: false }, &[y]);
    let y = builder.linear(y, 1, 2);
    (builder.finish(y), statistics)
}

fn images(images: [f32; 4]) -> Batch {
    Batch { images: images.to_vec(), shape: [2, 1, 1, 2], labels: vec![0, 1], indices: vec![0, 1] }
}

fn close(found: f32, expected: f32) {
    assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
}

/// By the rule of `torch.nn.BatchNorm2d(1)`, after `[1, 2, 3, 4]` and then `[-1, 0, 0, 9]` (momentum 0.1, unbiased variance):
/// the mean is 0.25, then 0.425; the variance 1.0666667, then 0.9 * 1.0666667 + 0.1 * 22.
#[test]
fn running_statistics_move_as_in_pytorch() {
    let (graph, [mean, variance]) = normalised();
    let mut network = Network::new(&graph, &Device::flex()).unwrap();
    network.gradients(&images([1.0, 2.0, 3.0, 4.0]), &Target::labels(&[0, 1])).unwrap();
    close(network.parameter(mean)[0], 0.25);
    close(network.parameter(variance)[0], 1.066_666_7);
    network.gradients(&images([-1.0, 0.0, 0.0, 9.0]), &Target::labels(&[0, 1])).unwrap();
    close(network.parameter(mean)[0], 0.425);
    close(network.parameter(variance)[0], 3.16);
}

/// A bias before a batch norm moves the running mean by itself, gets no gradient, and changes nothing else.
#[test]
fn a_bias_before_a_batch_norm_is_in_the_mean_alone() {
    let train = |bias: f32| {
        let mut builder = Builder::new(3);
        let x = builder.input(&[1, 1, 2]);
        let weight = builder.parameter(&[2, 1, 1, 1], 1.0);
        let bias = builder.graph.add_parameter("bias", Tensor::full(vec![2], bias));
        let conv = Conv { kernel: [1; 2], stride: [1; 2], pads: [0; 4], dilation: [1; 2], groups: 1 };
        let y = builder.node(Op::Conv(conv), &[x, weight, bias]);
        let y = builder.batch_norm(y, 2);
        let mean = builder.graph.nodes[1].inputs[3];
        let y = builder.global_average(y);
        let y = builder.linear(y, 2, 2);
        let mut network = builder.network(y);
        let outcome = network.gradients(&images([1.0, 2.0, 3.0, 5.0]), &Target::labels(&[0, 1])).unwrap();
        assert_eq!(network.gradient(bias), [0.0; 2]);
        (outcome, network.gradient(weight).to_vec(), network.parameter(mean).to_vec())
    };
    let (without, with) = (train(0.0), train(4.0));
    assert_eq!((without.0, without.1), (with.0, with.1));
    without.2.iter().zip(with.2).for_each(|(without, with)| close(with, without + 0.4));
}

#[test]
fn reestimated_statistics_are_averages_over_batches() {
    let (graph, [mean, variance]) = normalised();
    let mut network = Network::new(&graph, &Device::flex()).unwrap();
    network.reestimate_statistics(Vec::new()).unwrap();
    assert_eq!(network.to_graph(), graph, "without batches nothing changes");
    network.reestimate_statistics([images([1.0, 2.0, 3.0, 4.0]), images([-1.0, 0.0, 0.0, 9.0])]).unwrap();
    close(network.parameter(mean)[0], 2.25);
    close(network.parameter(variance)[0], (5.0 / 3.0 + 66.0 / 3.0) / 2.0);
}

#[test]
fn a_loss_that_is_no_number_leaves_statistics_alone() {
    let (graph, [mean, _]) = normalised();
    let mut network = Network::new(&graph, &Device::flex()).unwrap();
    let outcome = network.gradients(&images([f32::NAN; 4]), &Target::labels(&[0, 1])).unwrap();
    assert!(outcome.loss.is_nan());
    assert_eq!(network.parameter(mean), [0.0]);
    for parameter in network.parameters() {
        assert!(network.gradient(parameter.value).iter().all(|&gradient| gradient == 0.0));
    }
}

#[test]
fn statistics_and_constants_of_arithmetic_are_not_trained() {
    let mut builder = Builder::new(3);
    let x = builder.input(&[3, 4, 4]);
    let x = builder.conv(x, [3, 5], 3, 1, 1);
    let x = builder.batch_norm(x, 5);
    let half = builder.parameter(&[1], 1.0);
    let x = builder.node(Op::Binary(Binary::Mul), &[x, half]);
    let slope = builder.parameter(&[5, 1, 1], 1.0);
    let x = builder.node(Op::Binary(Binary::PRelu), &[x, slope]);
    let x = builder.global_average(x);
    let x = builder.linear(x, 5, 2);
    let network = builder.network(x);
    let roles: Vec<Role> = network.parameters().iter().map(|parameter| parameter.role).collect();
    use Role::{Bias, Scale, Weight};
    assert_eq!(roles, [Weight, Scale, Bias, Scale, Weight, Bias]);
    assert!(Weight.decays() && !Bias.decays() && !Scale.decays());
}

/// Every class of images is judged on its own, so a batch and its parts give the same logits.
#[test]
fn logits_do_not_depend_on_the_batch() {
    let mut network = Network::new(&digits_graph(), &Device::flex()).unwrap();
    let images = Numbers::new(4).floats(5 * 64, 1.0);
    let whole = network.logits(&images, 5).unwrap();
    for (image, expected) in images.chunks(64).zip(whole.chunks(10)) {
        for (found, expected) in network.logits(image, 1).unwrap().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn fused_activations_change_nothing() {
    let mut builder = Builder::new(8);
    let x = builder.input(&[2, 3, 3]);
    let x = builder.conv(x, [2, 4], 3, 1, 1);
    let normal = builder.batch_norm(x, 4);
    let clipped = builder.node(Op::Unary(Unary::Clip { min: 0.0, max: 6.0 }), &[normal]);
    let sum = builder.node(Op::Binary(Binary::Add), &[x, clipped]);
    let y = builder.relu(sum);
    let mut seen = builder.graph.clone();
    seen.outputs = vec![y, sum, normal, x];
    let fused = builder.finish(y);
    let input = Numbers::new(2).tensor(&[2, 2, 3, 3], 3.0);
    let run = |graph: &Graph| Network::new(graph, &Device::flex()).unwrap().run(std::slice::from_ref(&input)).unwrap();
    let all = run(&seen);
    assert_eq!(run(&fused)[0], all[0]);
    for (((y, sum), normal), x) in
        all[0].to_floats().iter().zip(all[1].to_floats()).zip(all[2].to_floats()).zip(all[3].to_floats())
    {
        assert_eq!(*y, sum.max(0.0));
        assert!((sum - (x + normal.clamp(0.0, 6.0))).abs() < 1e-6);
    }
}

/// The loss has its own softmax.
#[test]
fn a_final_softmax_is_looked_through() {
    let mut builder = Builder::new(9);
    let x = builder.input(&[1, 2, 2]);
    let x = builder.global_average(x);
    let logits = builder.linear(x, 1, 3);
    let probabilities = builder.node(Op::Softmax { axis: 1 }, &[logits]);
    let mut network = builder.network(probabilities);
    let batch = batch(&mut Numbers::new(1), 2, [1, 2, 2], 3);
    let logits = network.logits(&batch.images, 2).unwrap();
    let input = Tensor::new(vec![2, 1, 2, 2], batch.images.clone()).unwrap();
    let probabilities = network.run(&[input]).unwrap()[0].to_floats();
    let sum: f32 = probabilities[..3].iter().sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert!((logits[0] - logits[1] - (probabilities[0] / probabilities[1]).ln()).abs() < 1e-4);
}

#[test]
fn codes_stay_codes_until_they_are_changed() {
    let mut builder = Builder::new(1);
    let x = builder.input(&[1, 2, 2]);
    let x = builder.global_average(x);
    let codes = Tensor::from_codes(vec![2, 1], vec![3, -1], vec![0.5]).unwrap();
    let weight = builder.graph.add_parameter("weight", codes);
    let x = builder.node(Op::Linear, &[x, weight]);
    let graph = builder.finish(x);
    let mut network = Network::new(&graph, &Device::flex()).unwrap();
    assert_eq!(network.to_graph(), graph);
    network.set_parameter(weight, &[1.0, 2.0]);
    let changed = network.to_graph();
    assert_eq!(changed.value(weight).tensor.as_ref().unwrap().data(), &Data::Floats(vec![1.0, 2.0]));
}

#[test]
fn wrong_inputs_are_errors() {
    let mut network = Network::new(&digits_graph(), &Device::flex()).unwrap();
    let message = |error: TrainError| error.to_string();
    let short = message(network.logits(&[0.0; 63], 1).unwrap_err());
    assert!(short.contains("takes 64 numbers for a batch of 1, but 63"), "{short}");
    let two = vec![Tensor::full(vec![1, 1, 8, 8], 0.0); 2];
    assert!(message(network.run(&two).unwrap_err()).contains("takes 1 inputs, but 2"));
    assert!(message(Network::new(&Graph::new("empty"), &Device::flex()).unwrap_err()).contains("no output"));
}
