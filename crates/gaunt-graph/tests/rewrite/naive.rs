//! Operators as their definitions say, in `f64` and for one image.

use gaunt_graph::{Binary, Conv, Graph, Op, Pool, Reduction, Unary};

/// A value: sizes and row-major elements.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// What the network computes from one image: all its outputs, one after the other.
pub fn run(graph: &Graph, image: &[f64]) -> Vec<f64> {
    let mut values: Vec<Option<Array>> = vec![None; graph.values.len()];
    for (id, tensor) in graph.parameters() {
        let data = tensor.to_floats().into_iter().map(f64::from).collect();
        values[id.index()] = Some(Array { shape: tensor.shape().to_vec(), data });
    }
    let sizes = |id: gaunt_graph::ValueId| graph.value(id).shape.iter().map(|dim| dim.at(1)).collect();
    values[graph.inputs[0].index()] = Some(Array { shape: sizes(graph.inputs[0]), data: image.to_vec() });
    for node in &graph.nodes {
        let inputs: Vec<&Array> = node.inputs.iter().map(|id| values[id.index()].as_ref().unwrap()).collect();
        let shape: Vec<usize> = sizes(node.outputs[0]);
        let data = apply(&node.op, &inputs, &shape);
        assert_eq!(data.len(), shape.iter().product::<usize>(), "{}", node.name);
        values[node.outputs[0].index()] = Some(Array { shape, data });
    }
    graph.outputs.iter().flat_map(|id| values[id.index()].clone().unwrap().data).collect()
}

fn apply(op: &Op, inputs: &[&Array], shape: &[usize]) -> Vec<f64> {
    let x = inputs[0];
    match op {
        Op::Conv(geometry) => conv(geometry, inputs, shape),
        Op::Linear => linear(inputs),
        Op::BatchNorm { epsilon } => batch_norm(f64::from(*epsilon), inputs),
        Op::Unary(function) => x.data.iter().map(|&x| unary(*function, x)).collect(),
        Op::Binary(Binary::Add) => x.data.iter().zip(&inputs[1].data).map(|(a, b)| a + b).collect(),
        Op::MaxPool(pool) => windows(pool, x, shape, |taps| taps.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        Op::AveragePool { pool, count_include_pad } => {
            let area = (pool.kernel[0] * pool.kernel[1]) as f64;
            let divisor = |taps: &[f64]| if *count_include_pad { area } else { taps.len() as f64 };
            windows(pool, x, shape, |taps| taps.iter().sum::<f64>() / divisor(taps))
        }
        Op::Reduce { reduction: Reduction::Mean, axes, .. } if axes == &[2, 3] => {
            let area = x.shape[2] * x.shape[3];
            x.data.chunks(area).map(|map| map.iter().sum::<f64>() / area as f64).collect()
        }
        Op::Reshape { .. } => x.data.clone(),
        other => panic!("the tests do not use {}", other.name()),
    }
}

fn unary(function: Unary, x: f64) -> f64 {
    match function {
        Unary::Relu => x.max(0.0),
        Unary::Clip { min, max } => x.max(min.into()).min(max.into()),
        Unary::LeakyRelu { alpha } => {
            if x < 0.0 {
                x * f64::from(alpha)
            } else {
                x
            }
        }
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        other => panic!("the tests do not use {}", other.name()),
    }
}

/// The element of a map at a position that padding may move outside of it.
fn at(x: &Array, channel: usize, y: isize, z: isize) -> Option<f64> {
    let (height, width) = (x.shape[2], x.shape[3]);
    let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&z);
    inside.then(|| x.data[(channel * height + y as usize) * width + z as usize])
}

fn conv(conv: &Conv, inputs: &[&Array], shape: &[usize]) -> Vec<f64> {
    let (x, weight) = (inputs[0], inputs[1]);
    let [outputs, per_group, kh, kw] = weight.shape[..] else { panic!("weight {:?}", weight.shape) };
    let mut result = Vec::new();
    for o in 0..outputs {
        let first = o / (outputs / conv.groups) * per_group;
        for (y, z) in positions(shape) {
            let mut sum = inputs.get(2).map_or(0.0, |bias| bias.data[o]);
            for (i, (ky, kz)) in
                (0..per_group).flat_map(|i| (0..kh).flat_map(move |y| (0..kw).map(move |z| (i, (y, z)))))
            {
                let row = (y * conv.stride[0] + ky * conv.dilation[0]) as isize - conv.pads[0] as isize;
                let column = (z * conv.stride[1] + kz * conv.dilation[1]) as isize - conv.pads[1] as isize;
                let w = weight.data[((o * per_group + i) * kh + ky) * kw + kz];
                sum += w * at(x, first + i, row, column).unwrap_or(0.0);
            }
            result.push(sum);
        }
    }
    result
}

fn positions(shape: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let (height, width) = (shape[2], shape[3]);
    (0..height).flat_map(move |y| (0..width).map(move |z| (y, z)))
}

fn windows(pool: &Pool, x: &Array, shape: &[usize], combine: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let places = (0..shape[1]).flat_map(|channel| positions(shape).map(move |(y, z)| (channel, y, z)));
    let results = places.map(|(channel, y, z)| {
        let taps = (0..pool.kernel[0]).flat_map(|ky| (0..pool.kernel[1]).map(move |kz| (ky, kz)));
        let taps = taps.filter_map(|(ky, kz)| {
            let row = (y * pool.stride[0] + ky) as isize - pool.pads[0] as isize;
            at(x, channel, row, (z * pool.stride[1] + kz) as isize - pool.pads[1] as isize)
        });
        combine(&taps.collect::<Vec<f64>>())
    });
    results.collect()
}

fn linear(inputs: &[&Array]) -> Vec<f64> {
    let (x, weight) = (inputs[0], inputs[1]);
    let features = weight.shape[1];
    let rows = x.data.chunks(features).flat_map(|x| {
        weight.data.chunks(features).enumerate().map(move |(o, row)| {
            let bias = inputs.get(2).map_or(0.0, |bias| bias.data[o]);
            row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias
        })
    });
    rows.collect()
}

fn batch_norm(epsilon: f64, inputs: &[&Array]) -> Vec<f64> {
    let [x, gamma, beta, mean, variance] = inputs else { panic!("batch norm takes five inputs") };
    let area: usize = x.shape[2..].iter().product();
    let channel = |i: usize| i / area % gamma.data.len();
    let normal = |(i, x): (usize, &f64)| {
        let c = channel(i);
        (x - mean.data[c]) / (variance.data[c] + epsilon).sqrt() * gamma.data[c] + beta.data[c]
    };
    x.data.iter().enumerate().map(normal).collect()
}
