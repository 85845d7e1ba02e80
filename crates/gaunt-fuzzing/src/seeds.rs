//! What a fuzzer starts from: small files that use every operator and every way to store a tensor.

use std::collections::BTreeSet;

use gaunt_format::{Golden, Metadata, Model, Provenance, encode_codes};
use gaunt_graph::{Dim, Graph, Op, Tensor, log_scale, onnx};
use gaunt_testing::operator_models;

/// A generated input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// Its file name.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// The whole starting corpus, as this version of the format has it.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, model) in one_for_each_operator() {
        let graph = onnx::read(&model).expect("fixtures can be imported");
        seeds.extend(files(&name, &Model { graph, ..Model::default() }));
        seeds.push(Seed { target: "onnx", name, bytes: model });
    }
    seeds.extend(files("stored", &every_way_to_store()));
    seeds.extend(codes());
    seeds
}

/// A file, for both targets that read one.
fn files(name: &str, model: &Model) -> [Seed; 2] {
    let bytes = model.to_bytes().expect("seeds can be written");
    ["container", "runtime"].map(|target| Seed { target, name: name.into(), bytes: bytes.clone() })
}

/// The first of the operator fixtures for each kind of operator.
fn one_for_each_operator() -> Vec<(String, Vec<u8>)> {
    let mut seen = BTreeSet::new();
    let mut models = operator_models();
    models.retain(|(_, model)| {
        let graph = onnx::read(model).expect("fixtures can be imported");
        // Not short-circuited: what comes along with a new operator has been seen as well.
        graph.nodes.iter().filter(|node| seen.insert(node.op.name())).count() > 0
    });
    models
}

/// A chain of linear layers whose weights are floats, halves and codes, and all metadata.
fn every_way_to_store() -> Model {
    let mut graph = Graph::new("stored");
    let mut x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(4)]);
    let codes = || (0..16).map(|i| [0, 0, 1, -3][i % 4] * (i as i32 / 4)).collect::<Vec<i32>>();
    let coded = |scales| Tensor::from_codes(vec![4, 4], codes(), scales);
    let plain = |scale: f32| Tensor::new(vec![4, 4], codes().iter().map(|&code| code as f32 * scale).collect());
    let grid = [-40, -33, -52, -40].map(log_scale);
    let weights =
        [plain(0.5), plain(0.1), coded(vec![0.1]), coded(vec![0.1; 4]), coded(vec![grid[0]]), coded(grid.to_vec())];
    for (place, weight) in weights.into_iter().enumerate() {
        let weight = graph.add_parameter(format!("fc{place}.weight"), weight.expect("4 times 4 is 16"));
        x = graph.add_node(format!("fc{place}"), Op::Linear, &[x, weight]).expect("a square matrix fits");
    }
    graph.outputs.push(x);
    Model { graph, metadata: metadata() }
}

fn metadata() -> Metadata {
    Metadata {
        mean: vec![0.5],
        std: vec![0.25],
        classes: ["cat", "dog", "owl", "eel"].map(Into::into).into(),
        provenance: Provenance {
            tool: "gaunt".into(),
            recipe: "seed".into(),
            seed: 7,
            parameters: 100,
            weights: 96,
            accuracy: Some([91.5, 91.25]),
        },
        golden: Some(Golden { seed: 1, outputs: vec![0.5, -1.5, 2.0, 0.25] }),
    }
}

/// Shapes with what was made of codes, as [`crate::codes`] takes them.
fn codes() -> Vec<Seed> {
    let shapes: [&[u8]; 6] = [&[], &[13], &[5, 7], &[4, 3, 3, 3], &[2, 0, 3], &[8, 8, 1]];
    let code = |place: usize| [0, 0, 0, 1, 0, -1, 0, 2, -70, 0, 0, 9000][place * place % 12];
    let seed = |shape: &[u8]| {
        let sizes: Vec<usize> = shape.iter().map(|&size| size.into()).collect();
        let codes: Vec<i32> = (0..sizes.iter().product()).map(code).collect();
        let bytes = [&[shape.len() as u8], shape, &encode_codes(&codes, &sizes)].concat();
        Seed {
            target: "codes",
            name: format!("shape{}", sizes.iter().map(|size| format!("-{size}")).collect::<String>()),
            bytes,
        }
    };
    shapes.map(seed).into()
}
