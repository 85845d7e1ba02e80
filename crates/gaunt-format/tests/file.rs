//! Whole files: pinned bytes, damage, limits.

use gaunt_format::{FormatError, Golden, Limits, Metadata, Model, Provenance};
use gaunt_graph::{Binary, Conv, Dim, Graph, Op, Reduction, Tensor, Unary, log_scale};

/// A convolution with a shortcut, the mean of each channel, a linear layer: with floats, halves, codes of one scale and of many.
fn model() -> Model {
    let mut graph = Graph::new("tiny");
    let x = graph.add_input("image", vec![Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(4), Dim::Fixed(4)]);
    let codes = (0..36).map(|i: i32| if i % 3 == 0 { i % 5 - 2 } else { 0 }).collect();
    let weight = Tensor::from_codes(vec![2, 2, 3, 3], codes, vec![log_scale(-100), log_scale(-90)]).unwrap();
    let weight = graph.add_parameter("conv.weight", weight);
    let bias = graph.add_parameter("conv.bias", Tensor::from_codes(vec![2], vec![-300, 41], vec![0.001]).unwrap());
    let conv = Conv { kernel: [3, 3], stride: [1, 1], pads: [1; 4], dilation: [1, 1], groups: 1 };
    let y = graph.add_node("conv", Op::Conv(conv), &[x, weight, bias]).unwrap();
    let y = graph.add_node("Relu_1", Op::Unary(Unary::Relu), &[y]).unwrap();
    let y = graph.add_node("Add_2", Op::Binary(Binary::Add), &[y, x]).unwrap();
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: false };
    let y = graph.add_node("ReduceMean_3", mean, &[y]).unwrap();
    let weight =
        graph.add_parameter("fc.weight", Tensor::new(vec![3, 2], vec![0.5, -1.0, 2.0, 0.0, 1.5, 0.25]).unwrap());
    let bias = graph.add_parameter("fc.bias", Tensor::new(vec![3], vec![0.1, -0.2, 0.3]).unwrap());
    let y = graph.add_node("fc", Op::Linear, &[y, weight, bias]).unwrap();
    graph.outputs.push(y);
    Model { graph, metadata: metadata() }
}

fn metadata() -> Metadata {
    Metadata {
        mean: vec![0.5, 0.25],
        std: vec![0.25, 0.5],
        classes: vec!["cat".into(), "dog".into(), "owl".into()],
        provenance: Provenance {
            tool: "gaunt 0.1.0".into(),
            recipe: "joint".into(),
            seed: 7,
            parameters: 47,
            weights: 42,
            accuracy: Some([91.5, 91.25]),
        },
        golden: Some(Golden { seed: 1, outputs: vec![0.5, -1.5, 2.0] }),
    }
}

const GOLDEN: &[u8] = include_bytes!("data/tiny.gaunt");

#[test]
fn the_bytes_of_a_file_are_pinned() {
    let bytes = model().to_bytes().unwrap();
    assert_eq!(
        bytes, GOLDEN,
        "the format has changed: count `VERSION` up (docs/format.md says what becomes of older files)"
    );
}

#[test]
#[ignore = "writes the pinned file anew, for a new version of the format"]
fn bless() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.gaunt"), model().to_bytes().unwrap()).unwrap();
}

/// Value ids may change, what is computed must not.
#[test]
fn the_pinned_file_is_read() {
    let (read, model) = (Model::from_bytes(GOLDEN).unwrap(), model());
    assert_eq!(read.metadata, model.metadata);
    let nodes =
        |graph: &Graph| -> Vec<(String, Op)> { graph.nodes.iter().map(|n| (n.name.clone(), n.op.clone())).collect() };
    assert_eq!(nodes(&read.graph), nodes(&model.graph));
    let parameters = |graph: &Graph| -> Vec<(String, Tensor)> {
        let mut list: Vec<_> = graph.parameters().map(|(id, t)| (graph.value(id).name.clone(), t.clone())).collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    };
    assert_eq!(parameters(&read.graph), parameters(&model.graph));
    assert_eq!(read.to_bytes().unwrap(), GOLDEN);
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    for length in 0..GOLDEN.len() {
        assert!(Model::from_bytes(&GOLDEN[..length]).is_err(), "{length} of {} bytes", GOLDEN.len());
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    for bit in 0..GOLDEN.len() * 8 {
        let mut bytes = GOLDEN.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::from_bytes(&bytes).is_err(), "bit {bit}");
        assert!(Model::layout(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let mut bytes = GOLDEN.to_vec();
    bytes[5] = 9;
    assert_eq!(Model::from_bytes(&bytes), Err(FormatError::Version { found: 9, known: 3 }));
    assert_eq!(Model::from_bytes(b"GIF89a"), Err(FormatError::Magic));
    let longer = [GOLDEN, &[0]].concat();
    assert_eq!(Model::from_bytes(&longer), Err(FormatError::Trailing { count: 1 }));
    let mut bytes = GOLDEN.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(Model::from_bytes(&bytes), Err(FormatError::Checksum { place: "the data", .. })));
}

#[test]
fn each_limit_is_kept_and_named() {
    let defaults = Limits::default();
    for (limits, what) in [
        (Limits { bytes: GOLDEN.len() - 1, ..defaults }, "bytes"),
        (Limits { nodes: 4, ..defaults }, "nodes"),
        (Limits { tensors: 3, ..defaults }, "tensors"),
        (Limits { rank: 3, ..defaults }, "axes in a shape"),
        (Limits { elements: 46, ..defaults }, "elements"),
        (Limits { description: 20, ..defaults }, "bytes of description"),
    ] {
        match Model::from_bytes_with(GOLDEN, &limits) {
            Err(FormatError::Limit { what: named, found, limit }) => assert!(named == what && found > limit, "{named}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let just = Limits { bytes: GOLDEN.len(), nodes: 5, tensors: 4, rank: 4, elements: 47, ..defaults };
    assert!(Model::from_bytes_with(GOLDEN, &just).is_ok());
}
