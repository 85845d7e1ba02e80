//! Sessions as callers see them: batches, errors, memory, and values that outlive their buffers' other tenants.

use gaunt_format::{Metadata, Model};
use gaunt_graph::{Binary, Conv, Dim, Graph, Op, Pool, Reduction, Tensor, Unary, ValueId};
use gaunt_runtime::{DEFAULT_MEMORY_LIMIT, MAX_RANK, Memory, RuntimeError, Session};

fn dims(fixed: &[usize]) -> Vec<Dim> {
    std::iter::once(Dim::Batch(1)).chain(fixed.iter().map(|&size| Dim::Fixed(size))).collect()
}

fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect()
}

/// A small residual network: two convolutions, a shortcut, pooling, a linear layer, softmax.
fn network() -> Graph {
    let mut graph = Graph::new("network");
    let parameter = |graph: &mut Graph, shape: &[usize]| {
        let codes = (0..shape.iter().product()).map(|i: usize| (i * 29 % 11) as i32 - 5).collect();
        graph.add_parameter(format!("w{shape:?}"), Tensor::from_codes(shape.to_vec(), codes, vec![0.05]).unwrap())
    };
    let conv = Conv { kernel: [3, 3], stride: [1, 1], pads: [1; 4], dilation: [1, 1], groups: 1 };
    let x = graph.add_input("image", dims(&[2, 8, 8]));
    let w = parameter(&mut graph, &[6, 2, 3, 3]);
    let a = graph.add_node("conv1", Op::Conv(conv.clone()), &[x, w]).unwrap();
    let a = graph.add_node("relu1", Op::Unary(Unary::Relu), &[a]).unwrap();
    let w = parameter(&mut graph, &[6, 6, 3, 3]);
    let b = graph.add_node("conv2", Op::Conv(conv), &[a, w]).unwrap();
    let b = graph.add_node("add", Op::Binary(Binary::Add), &[a, b]).unwrap();
    let pool = Pool { kernel: [2, 2], stride: [2, 2], pads: [0; 4], dilation: [1, 1], ceil: false };
    let b = graph.add_node("pool", Op::MaxPool(pool), &[b]).unwrap();
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: false };
    let b = graph.add_node("mean", mean, &[b]).unwrap();
    let w = parameter(&mut graph, &[5, 6]);
    let y = graph.add_node("linear", Op::Linear, &[b, w]).unwrap();
    let y = graph.add_node("softmax", Op::Softmax { axis: 1 }, &[y]).unwrap();
    graph.outputs.push(y);
    graph
}

fn outputs(session: &mut Session, inputs: &[&[f32]], batch: usize) -> Vec<Vec<f32>> {
    session.run(inputs, batch).unwrap().iter().map(|output| output.data.to_vec()).collect()
}

#[test]
fn a_batch_gives_the_bits_of_single_images() {
    let mut session = Session::new(&network()).unwrap();
    let images = ramp(11 * 128);
    let together = outputs(&mut session, &[&images], 11).remove(0);
    let alone: Vec<f32> = images.chunks(128).flat_map(|image| outputs(&mut session, &[image], 1).remove(0)).collect();
    assert_eq!(together, alone);
    assert!(together.chunks(5).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
}

#[test]
fn a_decoded_file_gives_the_bits_of_its_graph() {
    let graph = network();
    let expected = outputs(&mut Session::new(&graph).unwrap(), &[&ramp(128)], 1);
    let file = Model { graph, metadata: Metadata::default() }.to_bytes().unwrap();
    assert_eq!(outputs(&mut Session::from_bytes(&file).unwrap(), &[&ramp(128)], 1), expected);
}

#[test]
fn outputs_carry_their_shapes() {
    let mut session = Session::new(&network()).unwrap();
    let images = ramp(3 * 128);
    let inputs: [&[f32]; 1] = [&images];
    let outputs = session.run(&inputs, 3).unwrap();
    assert_eq!(outputs.len(), 1);
    assert!(!outputs.is_empty());
    assert_eq!(outputs.get(0).unwrap().shape, [3, 5]);
    assert_eq!(outputs.get(1), None);
}

/// Two buffers of 6 x 8 x 8 suffice: the shortcut and the second convolution, which the sum overwrites.
#[test]
fn buffers_are_used_again() {
    let graph = network();
    let Memory { activations, weights, .. } = Session::new(&graph).unwrap().memory();
    assert_eq!(activations, 2 * 6 * 8 * 8 * 4);
    let nonzero = graph.parameters().flat_map(|(_, tensor)| tensor.to_floats()).filter(|&w| w != 0.0).count();
    assert!(weights < nonzero * 8 + 300, "{weights} bytes for {nonzero} weights");
}

#[test]
fn inputs_of_the_wrong_size_are_refused() {
    let mut session = Session::new(&network()).unwrap();
    let image = ramp(128);
    let error = session.run(&[&image], 2).err().unwrap();
    assert_eq!(error, RuntimeError::InputSize { name: "image".into(), expected: 256, found: 128, batch: 2 });
    assert_eq!(error.to_string(), "input `image` has 128 numbers, but 256 are needed for a batch of 2");
    assert_eq!(session.run(&[], 1).err().unwrap(), RuntimeError::InputCount { expected: 1, found: 0 });
    assert_eq!(session.run(&[&[]], 0).err().unwrap(), RuntimeError::EmptyBatch);
    assert!(session.run(&[&image], 1).is_ok(), "an error leaves the session usable");
}

#[test]
fn batches_beyond_the_memory_limit_are_refused() {
    let mut session = Session::new(&network()).unwrap();
    for batch in [usize::MAX, usize::MAX / 256, 1 << 20] {
        let error = session.run(&[&[]], batch).err().unwrap();
        assert_eq!(error, RuntimeError::MemoryLimit { batch, limit: DEFAULT_MEMORY_LIMIT });
    }
    assert_eq!(outputs(&mut session, &[&ramp(128)], 1)[0].len(), 5, "an error leaves the session usable");
}

#[test]
fn the_memory_limit_is_exact() {
    let graph = network();
    let Memory { activations, scratch, .. } = Session::new(&graph).unwrap().memory();
    let limit = activations + scratch;
    assert!(Session::with_memory_limit(&graph, limit).is_ok());
    let error = Session::with_memory_limit(&graph, limit - 1).err().unwrap();
    assert_eq!(error, RuntimeError::MemoryLimit { batch: 1, limit: limit - 1 });
}

#[test]
fn values_beyond_the_memory_limit_are_refused() {
    let mut graph = Graph::new("large");
    let x = graph.add_input("x", dims(&[1]));
    let y = graph.add_node("y", Op::Expand { shape: dims(&[1 << 40]) }, &[x]).unwrap();
    graph.outputs.push(y);
    let error = Session::new(&graph).err().unwrap().to_string();
    assert_eq!(error, "value `y` alone exceeds the memory limit of 1073741824 bytes; raise the limit");
}

#[test]
fn absurd_padding_is_refused() {
    let mut graph = Graph::new("padding");
    let x = graph.add_input("x", dims(&[1, 4, 4]));
    let w = graph.add_parameter("w", Tensor::full(vec![1, 1, 1, 1], 1.0));
    let conv = Conv { kernel: [1, 1], stride: [1 << 40; 2], pads: [1 << 40; 4], dilation: [1, 1], groups: 1 };
    let y = graph.add_node("y", Op::Conv(conv), &[x, w]).unwrap();
    graph.outputs.push(y);
    let error = Session::new(&graph).err().unwrap().to_string();
    assert_eq!(error, "node `y` (Conv): the padded input has 2147483648 elements or more, which is not supported");
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(Session::from_bytes(b"not a model"), Err(RuntimeError::File(_))));
}

#[test]
fn contradictory_graphs_are_refused() {
    let mut graph = network();
    graph.nodes.swap(0, 1);
    assert!(matches!(Session::new(&graph), Err(RuntimeError::Graph(_))));
}

#[test]
fn computed_weights_are_refused() {
    let mut graph = Graph::new("computed weight");
    let x = graph.add_input("x", dims(&[4]));
    let weight = graph.add_input("w", vec![Dim::Fixed(3), Dim::Fixed(4)]);
    let y = graph.add_node("layer", Op::Linear, &[x, weight]).unwrap();
    graph.outputs.push(y);
    let error = Session::new(&graph).err().unwrap().to_string();
    assert_eq!(error, "node `layer` (Gemm): weight `w` is computed, but must be a parameter");
}

#[test]
fn too_many_axes_are_refused() {
    let mut graph = Graph::new("rank");
    let x = graph.add_input("x", vec![Dim::Fixed(1); MAX_RANK + 1]);
    graph.outputs.push(x);
    let error = Session::new(&graph).err().unwrap().to_string();
    assert_eq!(error, "value `x` has 9 axes, but at most 8 are supported");
}

#[test]
fn empty_values_are_refused() {
    let mut graph = Graph::new("empty");
    let x = graph.add_input("x", dims(&[0]));
    graph.outputs.push(x);
    let error = Session::new(&graph).err().unwrap().to_string();
    assert_eq!(error, "value `x` has no elements, but at least 1 is needed");
}

#[test]
fn inputs_and_parameters_may_be_outputs() {
    let mut graph = Graph::new("passes through");
    let x = graph.add_input("x", dims(&[4]));
    let w = graph.add_parameter("w", Tensor::from_codes(vec![2], vec![3, -1], vec![0.5]).unwrap());
    let shape = vec![Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(2)];
    let y = graph.add_node("reshape", Op::Reshape { shape }, &[x]).unwrap();
    graph.outputs = vec![x, w, y];
    let mut session = Session::new(&graph).unwrap();
    let x = ramp(4);
    assert_eq!(outputs(&mut session, &[&x], 1), [x.clone(), vec![1.5, -0.5], x]);
}

/// Random networks of operators that overwrite, alias, split and join, against an interpreter without shared buffers.
#[test]
fn no_value_is_overwritten_while_it_is_needed() {
    for seed in 1..300 {
        let mut random = Random(seed);
        let mut graph = Graph::new("random");
        let mut values = vec![(graph.add_input("x", dims(&[6])), ramp(12))];
        for node in 0..12 {
            let made = random_node(&mut graph, &mut random, &values, node);
            values.extend(made);
        }
        let picked: Vec<_> = (0..3).map(|_| values[random.below(values.len())].clone()).collect();
        graph.outputs = picked.iter().map(|(id, _)| *id).collect();
        let mut session = Session::new(&graph).unwrap();
        for _ in 0..2 {
            let expected: Vec<_> = picked.iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(outputs(&mut session, &[&ramp(12)], 2), expected, "seed {seed}");
        }
    }
}

/// Adds a node to values of shape `[batch, 6]` and computes it for a batch of 2.
fn random_node(
    graph: &mut Graph,
    random: &mut Random,
    values: &[(ValueId, Vec<f32>)],
    node: usize,
) -> Vec<(ValueId, Vec<f32>)> {
    let (a, x) = &values[random.below(values.len())];
    let (b, y) = &values[random.below(values.len())];
    let name = format!("node{node}");
    let pairwise = |f: fn(f32, f32) -> f32| x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect::<Vec<_>>();
    match random.below(5) {
        0 => vec![(graph.add_node(name, Op::Binary(Binary::Add), &[*a, *b]).unwrap(), pairwise(|x, y| x + y))],
        1 => vec![(graph.add_node(name, Op::Binary(Binary::Sub), &[*a, *b]).unwrap(), pairwise(|x, y| x - y))],
        2 => {
            let relu = x.iter().map(|x| x.max(0.0)).collect();
            vec![(graph.add_node(name, Op::Unary(Unary::Relu), &[*a]).unwrap(), relu)]
        }
        3 => {
            let folded = graph.add_node(format!("{name}.fold"), Op::Reshape { shape: dims(&[3, 2]) }, &[*a]).unwrap();
            vec![(graph.add_node(name, Op::Reshape { shape: dims(&[6]) }, &[folded]).unwrap(), x.clone())]
        }
        _ => {
            let split = Op::Split { axis: 1, sizes: vec![2, 4] };
            let (left, right) = (format!("{name}.left"), format!("{name}.right"));
            let halves = graph.add_node_outputs(format!("{name}.split"), split, &[*a], &[&left, &right]).unwrap();
            let turned = x.chunks(6).flat_map(|row| row[2..].iter().chain(&row[..2])).copied().collect();
            vec![(graph.add_node(name, Op::Concat { axis: 1 }, &[halves[1], halves[0]]).unwrap(), turned)]
        }
    }
}

/// A small generator (xorshift).
struct Random(u32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        for shift in [13, -17, 5] {
            self.0 ^= if shift > 0 { self.0 << shift } else { self.0 >> -shift };
        }
        self.0 as usize % end
    }
}
