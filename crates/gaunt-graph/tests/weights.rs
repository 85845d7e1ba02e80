//! State dicts from files (`tests/data/`, made by `scripts/state_dict_cases.py`) into networks and back.
#![cfg(feature = "weights")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use gaunt_graph::{
    Dim, Graph, Op, Tensor,
    weights::{self, StateDict, WeightsError},
    zoo::{self, Arch},
};

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn tensor(shape: &[usize], floats: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), floats.to_vec()).unwrap()
}

/// The network that the files are of: one linear layer from 2 to 3.
fn linear() -> Graph {
    let mut graph = Graph::new("linear");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(2)]);
    let weight = graph.add_parameter("fc.weight", Tensor::full(vec![3, 2], 9.0));
    let bias = graph.add_parameter("fc.bias", Tensor::full(vec![3], 9.0));
    let y = graph.add_node("fc", Op::Linear, &[x, weight, bias]).unwrap();
    graph.outputs.push(y);
    graph
}

fn expected() -> [(&'static str, Tensor); 2] {
    [("fc.bias", tensor(&[3], &[0.5, -1.0, 2.0])), ("fc.weight", tensor(&[3, 2], &[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]))]
}

fn state(tensors: &[(&str, Tensor)]) -> StateDict {
    let tensors = tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    StateDict { tensors, ..StateDict::default() }
}

#[test]
fn every_form_of_a_state_dict_gives_the_same_network() {
    let files = [
        "plain.pth",
        "module.pth",
        "net.pth",
        "state_dict.pth",
        "model.pth",
        "half.pth",
        "bfloat.pth",
        "double.pth",
        "transposed.pth",
        "legacy.pth",
        "half.safetensors",
        "bfloat.safetensors",
        "double.safetensors",
    ];
    for file in files {
        let found = weights::read(&data(file)).unwrap();
        assert_eq!(found.tensors, state(&expected()).tensors, "{file}");
        let mut graph = linear();
        weights::load_into(&mut graph, &found).unwrap();
        for (id, tensor) in graph.parameters() {
            assert_eq!(Some(tensor), found.tensors.get(&graph.value(id).name), "{file}");
        }
    }
}

#[test]
fn what_is_no_state_dict_is_an_error() {
    let message = |path: &Path| weights::read(path).map(|state| state.tensors.len()).unwrap_err().to_string();
    assert!(message(&data("expanded.pth")).contains("times the file's"));
    assert!(message(&data("list.pth")).contains("found list"));
    assert!(message(&data("resnet20-names.txt")).contains("neither .safetensors nor .pth"));
    assert!(message(&data("absent.pth")).contains("absent.pth"));

    let folder = tempfile::tempdir().unwrap();
    let swapped = folder.path().join("plain.safetensors");
    fs::copy(data("plain.pth"), &swapped).unwrap();
    assert!(matches!(weights::read(&swapped), Err(WeightsError::Malformed(_))));
}

/// Whatever damage does to the numbers, reading ends, and with an error where the end is gone.
#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["plain.pth", "legacy.pth", "half.safetensors"] {
        let bytes = fs::read(data(file)).unwrap();
        let path = folder.path().join(file);
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            let _ = weights::read(&path);
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(weights::read(&path).is_err(), "{file} cut at {at}");
        }
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let [bias, weight] = expected();
    let cases = [
        (state(std::slice::from_ref(&weight)), "no tensor `fc.bias`"),
        (
            state(&[("fc1.weight", weight.1.clone()), bias.clone()]),
            "no tensor `fc.weight` (the nearest is `fc1.weight`)",
        ),
        (
            state(&[weight.clone(), bias.clone(), ("fc.biases", bias.1.clone())]),
            "no parameter `fc.biases` (the nearest is `fc.bias`)",
        ),
        (
            state(&[("fc.weight", bias.1.clone()), bias.clone()]),
            "`fc.weight` has shape [3], but the network wants [3, 2]",
        ),
    ];
    for (state, message) in cases {
        let mut graph = linear();
        let error = weights::load_into(&mut graph, &state).unwrap_err().to_string();
        assert!(error.contains(message), "`{error}` lacks `{message}`");
        assert_eq!(graph, linear(), "{message}");
    }
}

#[test]
fn a_classifier_of_other_classes_is_left_as_it_is() {
    let other = zoo::build(Arch::Lenet5, 7, [1, 28, 28], 1).unwrap();
    let mut graph = zoo::build(Arch::Lenet5, 10, [1, 28, 28], 2).unwrap();
    let before = StateDict::from(&graph);
    assert!(weights::transfer_into(&mut graph, &StateDict::from(&other)).unwrap());
    let (after, other) = (StateDict::from(&graph), StateDict::from(&other));
    let kept: Vec<&String> =
        after.tensors.keys().filter(|name| after.tensors[*name] == before.tensors[*name]).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(after.tensors.iter().all(|(name, tensor)| kept.contains(&name) || *tensor == other.tensors[name]));

    assert!(!weights::transfer_into(&mut graph, &before).unwrap());
    assert_eq!(StateDict::from(&graph), before);
    let wider = zoo::build(Arch::Lenet5, 7, [1, 32, 32], 1).unwrap();
    let error = weights::transfer_into(&mut graph, &StateDict::from(&wider)).unwrap_err();
    assert!(matches!(error, WeightsError::Shape { .. }), "{error}");
    let scalar = state(&[("fc.weight", tensor(&[2, 2], &[0.0; 4])), ("fc.bias", tensor(&[], &[0.0]))]);
    let error = weights::transfer_into(&mut linear(), &scalar).unwrap_err();
    assert!(matches!(error, WeightsError::Shape { .. }), "{error}");
}

#[test]
fn a_written_state_dict_is_read_back() {
    let graph = zoo::build(Arch::Lenet5, 10, [1, 28, 28], 5).unwrap();
    let bytes = weights::write_safetensors(&graph, Some(("arch", "lenet5"))).unwrap();
    assert_eq!(bytes, weights::write_safetensors(&graph, Some(("arch", "lenet5"))).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lenet5.SafeTensors");
    fs::write(&path, bytes).unwrap();

    let state = weights::read(&path).unwrap();
    assert_eq!(state.metadata.get("arch").map(String::as_str), Some("lenet5"));
    let mut other = zoo::build(Arch::Lenet5, 10, [1, 28, 28], 6).unwrap();
    weights::load_into(&mut other, &state).unwrap();
    assert_eq!(other, graph);
}

#[test]
fn codes_are_written_as_numbers() {
    let mut graph = linear();
    let weight = graph.weights()[0].value;
    let codes = Tensor::from_codes(vec![3, 2], vec![1, 0, -2, 3, 0, 4], vec![0.5, 0.25, 2.0]).unwrap();
    graph.values[weight.index()].tensor = Some(codes);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("codes.safetensors");
    fs::write(&path, weights::write_safetensors(&graph, None).unwrap()).unwrap();
    let state = weights::read(&path).unwrap();
    assert_eq!(state.tensors["fc.weight"], tensor(&[3, 2], &[0.5, 0.0, -0.5, 0.75, 0.0, 8.0]));
}
