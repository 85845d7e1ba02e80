//! Gradients against finite differences.

mod support;

use gaunt_graph::{Binary, Graph, Op, PadMode, Reduction, Resize, ResizeCoordinates, ResizeMode, SliceAxis, Unary};
use gaunt_train::{Device, Network, Target};
use support::{Builder, Numbers, batch};

const IMAGES: usize = 6;
const CLASSES: usize = 4;
const SHAPE: [usize; 3] = [3, 6, 6];

/// Compares the derivative of the loss along random directions of every parameter with a difference of losses.
/// Relative to the gradient's length the error of `f32` forward passes stays well below the tolerance.
fn check(name: &str, graph: &Graph) {
    let mut numbers = Numbers::new(11);
    let batch = batch(&mut numbers, IMAGES, SHAPE, CLASSES);
    let target = Target { smoothing: 0.1, ..Target::labels(&batch.labels) };
    let mut network = Network::new(graph, &Device::flex()).unwrap();
    network.gradients(&batch, &target).unwrap();
    for parameter in network.parameters().to_vec() {
        let gradient = network.gradient(parameter.value).to_vec();
        let start = network.parameter(parameter.value).to_vec();
        let length = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(length > 1e-5, "{name}: parameter {} has no gradient", parameter.name);
        // Half along the gradient, half anywhere, so that the derivative is large and every element counts.
        let random = numbers.floats(start.len(), 1.0);
        let random_length = random.iter().map(|r| f64::from(*r).powi(2)).sum::<f64>().sqrt();
        let direction: Vec<f64> = gradient
            .iter()
            .zip(&random)
            .map(|(&g, &r)| 0.7 * f64::from(g) / length + 0.7 * f64::from(r) / random_length)
            .collect();
        let expected: f64 = gradient.iter().zip(&direction).map(|(&g, d)| f64::from(g) * d).sum();
        let mut loss_at = |offset: f64| {
            let moved: Vec<f32> =
                start.iter().zip(&direction).map(|(&w, d)| (f64::from(w) + offset * d) as f32).collect();
            network.set_parameter(parameter.value, &moved);
            network.gradients(&batch, &target).unwrap().loss
        };
        let step = 2e-3;
        let found = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        network.set_parameter(parameter.value, &start);
        let error = (found - expected).abs();
        assert!(error < 0.02 * length + 2e-4, "{name}: {}: {found} instead of {expected}", parameter.name);
    }
}

/// A convolution, whatever `middle` makes of its 6 x 6 x 6 output, and a classifier.
fn sandwich(middle: impl FnOnce(&mut Builder, gaunt_graph::ValueId) -> (gaunt_graph::ValueId, usize)) -> Graph {
    let mut builder = Builder::new(5);
    let x = builder.input(&SHAPE);
    let x = builder.conv(x, [3, 6], 3, 1, 1);
    let (x, features) = middle(&mut builder, x);
    let x = builder.linear(x, features, CLASSES);
    builder.finish(x)
}

/// As [`sandwich`], with global pooling after `middle`, whose output has so many channels.
fn pooled(middle: impl FnOnce(&mut Builder, gaunt_graph::ValueId) -> (gaunt_graph::ValueId, usize)) -> Graph {
    sandwich(|builder, x| {
        let (x, channels) = middle(builder, x);
        (builder.global_average(x), channels)
    })
}

#[test]
fn convolutions_and_batch_norm() {
    check(
        "batch norm, relu, strides",
        &pooled(|builder, x| {
            let x = builder.batch_norm(x, 6);
            let x = builder.node(Op::Unary(Unary::Tanh), &[x]);
            let x = builder.conv(x, [6, 8], 3, 2, 1);
            (builder.batch_norm(x, 8), 8)
        }),
    );
    check(
        "depthwise and pointwise",
        &pooled(|builder, x| {
            let x = builder.conv(x, [6, 6], 3, 1, 6);
            let x = builder.batch_norm(x, 6);
            let x = builder.node(Op::Unary(Unary::HardSwish), &[x]);
            (builder.conv(x, [6, 5], 1, 1, 1), 5)
        }),
    );
    check(
        "residual",
        &pooled(|builder, x| {
            let y = builder.conv(x, [6, 6], 3, 1, 1);
            let y = builder.batch_norm(y, 6);
            let sum = builder.node(Op::Binary(Binary::Add), &[x, y]);
            (builder.node(Op::Unary(Unary::Sigmoid), &[sum]), 6)
        }),
    );
}

#[test]
fn activations() {
    let smooth = [
        Unary::Relu,
        Unary::Clip { min: 0.0, max: 6.0 },
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 0.7 },
        Unary::Sigmoid,
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::HardSwish,
        Unary::Tanh,
        Unary::Erf,
        Unary::Gelu { approximate: false },
        Unary::Gelu { approximate: true },
        Unary::Exp,
    ];
    for function in smooth {
        check(&format!("{function:?}"), &pooled(|builder, x| (builder.node(Op::Unary(function), &[x]), 6)));
    }
}

#[test]
fn arithmetic() {
    for function in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min, Binary::PRelu] {
        let name = format!("{function:?} with a gate of each channel");
        check(
            &name,
            &pooled(|builder, x| {
                let gate = if function == Binary::PRelu {
                    builder.parameter(&[6, 1, 1], 0.5)
                } else {
                    let gate = builder
                        .node(Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: true }, &[x]);
                    builder.node(Op::Unary(Unary::Sigmoid), &[gate])
                };
                (builder.node(Op::Binary(function), &[x, gate]), 6)
            }),
        );
    }
    check(
        "division and power",
        &pooled(|builder, x| {
            let two = builder.graph.add_parameter("two", gaunt_graph::Tensor::full(vec![], 2.0));
            let square = builder.node(Op::Binary(Binary::Pow), &[x, two]);
            let divisor = builder.node(Op::Binary(Binary::Add), &[square, two]);
            let divisor = builder.node(Op::Unary(Unary::Sqrt), &[divisor]);
            (builder.node(Op::Binary(Binary::Div), &[x, divisor]), 6)
        }),
    );
}

#[test]
fn attention() {
    use gaunt_graph::Dim::{Batch, Fixed};
    check(
        "layer norm, products, softmax",
        &sandwich(|builder, x| {
            let tokens = builder.node(Op::Reshape { shape: vec![Batch(1), Fixed(6), Fixed(36)] }, &[x]);
            let (scale, bias) = (builder.parameter(&[36], 1.0), builder.parameter(&[36], 1.0));
            let normal = builder.node(Op::LayerNorm { axis: 2, epsilon: 1e-5 }, &[tokens, scale, bias]);
            let query = builder.linear(normal, 36, 5);
            // A bias here would move all scores of a query alike, which softmax ignores.
            let weight = builder.parameter(&[5, 36], 0.3);
            let key = builder.node(Op::Linear, &[normal, weight]);
            let key = builder.node(Op::Transpose { perm: vec![0, 2, 1] }, &[key]);
            let scores = builder.node(Op::MatMul, &[query, key]);
            let weights = builder.node(Op::Softmax { axis: 2 }, &[scores]);
            let mixed = builder.node(Op::MatMul, &[weights, normal]);
            let picked = builder.node(Op::Gather { axis: 1, indices: vec![2], indices_shape: vec![] }, &[mixed]);
            (picked, 36)
        }),
    );
}

#[test]
fn layout() {
    check(
        "concat, split, slice, pad",
        &pooled(|builder, x| {
            let outputs = ["a", "b"];
            let op = Op::Split { axis: 1, sizes: vec![2, 4] };
            let parts = builder.graph.add_node_outputs("split", op, &[x], &outputs).unwrap();
            let backwards = SliceAxis { axis: 2, start: 5, step: -2, len: 3 };
            let thinned = builder.node(Op::Slice { axes: vec![backwards] }, &[parts[1]]);
            let pads = vec![(0, 0), (0, 0), (1, 2), (0, 0)];
            let padded = builder.node(Op::Pad { pads, mode: PadMode::Reflect }, &[thinned]);
            let joined = builder.node(Op::Concat { axis: 1 }, &[padded, parts[0]]);
            let pads = vec![(0, 0), (0, 0), (2, -1), (1, 1)];
            (builder.node(Op::Pad { pads, mode: PadMode::Constant(0.5) }, &[joined]), 6)
        }),
    );
    let modes = [ResizeMode::Linear, ResizeMode::Nearest(gaunt_graph::NearestRounding::Floor)];
    for mode in modes {
        check(
            &format!("{mode:?}"),
            &pooled(|builder, x| {
                let resize =
                    Resize { size: [9, 4], scale: [1.5, 4.0 / 6.0], mode, coordinates: ResizeCoordinates::HalfPixel };
                let x = builder.node(Op::Resize(resize), &[x]);
                (builder.node(Op::Unary(Unary::Sigmoid), &[x]), 6)
            }),
        );
    }
}

#[test]
fn pools() {
    use gaunt_graph::Pool;
    let pool = Pool { kernel: [3, 2], stride: [2, 2], pads: [1, 0, 1, 0], dilation: [1, 1], ceil: false };
    check("max pool", &pooled(|builder, x| (builder.node(Op::MaxPool(pool.clone()), &[x]), 6)));
    for count_include_pad in [false, true] {
        let op = Op::AveragePool { pool: pool.clone(), count_include_pad };
        check(
            &format!("{op:?}"),
            &pooled(|builder, x| {
                let x = builder.node(op, &[x]);
                (builder.node(Op::Unary(Unary::Sigmoid), &[x]), 6)
            }),
        );
    }
}
