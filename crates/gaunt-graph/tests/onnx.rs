//! ONNX import and export over all operator fixtures, and over files that are broken on purpose.

use std::fs;

use gaunt_graph::{
    Dim, Graph, Op, Tensor, Unary,
    onnx::{self, OnnxError},
};
use gaunt_testing::{operator_cases, operator_models};
use onnx_rs::ast;

/// An operator with the shapes of its outputs.
type Shaped = (Op, Vec<Vec<Dim>>);

/// What a round trip must keep: operators with their shapes, and the parameters in the order of their use.
fn summary(graph: &Graph) -> (Vec<Shaped>, Vec<Tensor>) {
    let shapes = |outputs: &[gaunt_graph::ValueId]| outputs.iter().map(|&id| graph.value(id).shape.clone()).collect();
    let nodes = graph.nodes.iter().map(|node| (node.op.clone(), shapes(&node.outputs))).collect();
    let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
    (nodes, inputs.filter_map(|&id| graph.value(id).tensor.clone()).collect())
}

#[test]
fn every_fixture_survives_export_and_import() {
    for case in operator_cases() {
        let bytes = onnx::write(&case.graph).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let again = onnx::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(summary(&again), summary(&case.graph), "{}", case.name);
    }
}

#[test]
fn names_of_the_file_are_kept() {
    let (_, bytes) = operator_models().into_iter().find(|(name, _)| name == "residual_block").unwrap();
    let graph = onnx::read(&bytes).unwrap();
    let parameters: Vec<&str> = graph.parameters().map(|(id, _)| graph.value(id).name.as_str()).collect();
    assert_eq!(parameters.len(), 17);
    assert!((0..17).all(|index| parameters.contains(&format!("w{index}").as_str())), "{parameters:?}");
    assert_eq!(graph.nodes[0].name, "Conv0");
    assert_eq!(graph.value(graph.outputs[0]).name, "gemm11");
}

#[test]
fn truncated_files_are_errors() {
    for (name, bytes) in operator_models() {
        if !["residual_block", "expand_with_where", "resize_sizes_by_float_scale"].contains(&name.as_str()) {
            continue;
        }
        for length in 0..bytes.len() {
            // A cut between two fields of the model can leave a model without its opset, but never a valid one.
            assert!(onnx::read(&bytes[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut errors = 0;
    for (_, bytes) in operator_models() {
        for _ in 0..60 {
            let mut broken = bytes.clone();
            for _ in 0..1 + random() % 3 {
                let place = random() % broken.len();
                broken[place] ^= 1 << (random() % 8);
            }
            errors += usize::from(onnx::read(&broken).is_err());
        }
    }
    assert!(errors > 1000, "only {errors} of the broken files were noticed");
}

/// A model with one input `x [N, 2]` and the given nodes, whose output is `y`.
fn model(nodes: Vec<ast::Node<'static>>, initializers: Vec<ast::TensorProto<'static>>, opset: i64) -> Vec<u8> {
    let value = |name, dims: &[i64]| {
        let dim = |&size: &i64| ast::TensorShapeDimension { value: ast::Dimension::Value(size), denotation: "" };
        let shape = Some(ast::TensorShape { dim: dims.iter().map(dim).collect() });
        let tensor = ast::TensorTypeProto { elem_type: ast::DataType::Float, shape };
        let kind = ast::TypeProto { value: Some(ast::TypeValue::Tensor(tensor)), denotation: "" };
        ast::ValueInfo { name, r#type: Some(kind), ..Default::default() }
    };
    let graph = ast::Graph {
        name: "g",
        node: nodes,
        initializer: initializers,
        input: vec![value("x", &[0, 2])],
        output: vec![value("y", &[0, 2])],
        ..Default::default()
    };
    let opset_import = vec![ast::OperatorSetId { domain: "", version: opset }];
    onnx_rs::encode(&ast::Model { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() })
}

fn node(op: &'static str, input: &[&'static str], output: &'static str) -> ast::Node<'static> {
    ast::Node { op_type: op.into(), input: input.to_vec(), output: vec![output], ..Default::default() }
}

#[test]
fn an_unknown_operator_is_named_with_the_supported_ones() {
    let error = onnx::read(&model(vec![node("LSTM", &["x"], "y")], vec![], 17)).unwrap_err().to_string();
    assert!(error.contains("`LSTM_0`") && error.contains("`LSTM`") && error.contains("Conv, "), "{error}");
    let custom = ast::Node { domain: "com.microsoft", ..node("Gelu", &["x"], "y") };
    let error = onnx::read(&model(vec![custom], vec![], 17)).unwrap_err().to_string();
    assert!(error.contains("`com.microsoft.Gelu`"), "{error}");
}

#[test]
fn opsets_outside_of_the_range_are_refused() {
    let relu = || vec![node("Relu", &["x"], "y")];
    for opset in [9, 21] {
        assert!(onnx::read(&model(relu(), vec![], opset)).is_ok());
    }
    for opset in [8, 22, -1] {
        assert!(matches!(onnx::read(&model(relu(), vec![], opset)), Err(OnnxError::Opset(found)) if found == opset));
    }
}

#[test]
fn broken_structure_is_refused() {
    let twice = vec![node("Relu", &["x"], "y"), node("Tanh", &["x"], "y")];
    assert!(matches!(onnx::read(&model(twice, vec![], 17)), Err(OnnxError::Node { .. })));
    let backwards = vec![node("Relu", &["z"], "y"), node("Tanh", &["x"], "z")];
    assert!(matches!(onnx::read(&model(backwards, vec![], 17)), Err(OnnxError::Node { .. })));
    let nothing = vec![node("Relu", &["x"], "z")];
    assert!(matches!(onnx::read(&model(nothing, vec![], 17)), Err(OnnxError::Output(name)) if name == "y"));
    let missing = vec![node("Conv", &["x"], "y")];
    assert!(matches!(onnx::read(&model(missing, vec![], 17)), Err(OnnxError::Node { .. })));
}

#[test]
fn folded_constants_are_limited_by_the_size_of_the_file() {
    let shape = ast::TensorProto::from_i64("shape", vec![2], vec![1 << 20, 1 << 20]);
    let fill = vec![node("ConstantOfShape", &["shape"], "big"), node("Add", &["x", "big"], "y")];
    let error = onnx::read(&model(fill, vec![shape], 17)).unwrap_err().to_string();
    assert!(error.contains("more than the size of the file warrants"), "{error}");
    // Many that are allowed one by one.
    let shape = ast::TensorProto::from_i64("shape", vec![1], vec![1 << 20]);
    let names: [&'static str; 20] = std::array::from_fn(|index| &*format!("big{index}").leak());
    let many = names.iter().map(|name| node("ConstantOfShape", &["shape"], name)).collect();
    assert!(onnx::read(&model(many, vec![shape], 17)).is_err());
}

#[test]
fn inputs_besides_the_batch_must_be_known() {
    let mut graph = Graph::new("g");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Batch(2)]);
    let y = graph.add_node("y", Op::Unary(Unary::Relu), &[x]).unwrap();
    graph.outputs.push(y);
    let error = onnx::read(&onnx::write(&graph).unwrap()).unwrap_err();
    assert!(matches!(error, OnnxError::Input { ref name, .. } if name == "x"), "{error}");
}

#[test]
fn codes_are_exported_as_floats() {
    let mut graph = Graph::new("g");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(2)]);
    let codes = Tensor::from_codes(vec![2, 2], vec![1, -2, 0, 3], vec![0.5, 0.25]).unwrap();
    let weight = graph.add_parameter("weight", codes);
    let y = graph.add_node("y", Op::Linear, &[x, weight]).unwrap();
    graph.outputs.push(y);
    let again = onnx::read(&onnx::write(&graph).unwrap()).unwrap();
    let (id, tensor) = again.parameters().next().unwrap();
    assert_eq!(again.value(id).name, "weight");
    assert_eq!(tensor.to_floats(), [0.5, -1.0, 0.0, 0.75]);
}

#[test]
fn inputs_and_parameters_can_be_outputs() {
    let mut graph = Graph::new("g");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(2)]);
    let weight = graph.add_parameter("w", Tensor::full(vec![2], 1.5));
    let y = graph.add_node("y", Op::Unary(Unary::Tanh), &[x]).unwrap();
    graph.outputs.extend([x, weight, y, y]);
    let again = onnx::read(&onnx::write(&graph).unwrap()).unwrap();
    assert_eq!(again.outputs.len(), 4);
    assert_eq!(again.outputs[0], again.inputs[0]);
    assert_eq!(again.outputs[2], again.outputs[3]);
}

/// A model whose weight `w [2]` is stored at `location`.
fn external_model(location: &'static str, offset: &'static str) -> Vec<u8> {
    let entry = |key, value| ast::StringStringEntry { key, value };
    let weight = ast::TensorProto::from_raw("w", vec![2], ast::DataType::Float, &[])
        .with_data_location(ast::DataLocation::External)
        .with_external_data(vec![entry("location", location), entry("offset", offset), entry("length", "8")]);
    model(vec![node("Add", &["x", "w"], "y")], vec![weight], 17)
}

#[test]
fn external_weights_are_read_from_the_folder_of_the_model_only() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("model");
    fs::create_dir(&inner).unwrap();
    let weights: Vec<u8> = [9.0f32, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for place in [folder.path(), &inner] {
        fs::write(place.join("w.bin"), &weights).unwrap();
    }
    let read = |location, offset| {
        let path = inner.join("model.onnx");
        fs::write(&path, external_model(location, offset)).unwrap();
        onnx::read_file(path)
    };
    let graph = read("w.bin", "4").unwrap();
    assert_eq!(graph.parameters().next().unwrap().1.to_floats(), [1.0, 2.0]);
    let refused = [("../w.bin", "0"), ("/etc/hostname", "0"), ("w.bin", "8"), ("w.bin", "x"), ("none.bin", "0")];
    for (location, offset) in refused {
        assert!(matches!(read(location, offset), Err(OnnxError::Tensor { .. })), "{location} from {offset}");
    }
    assert!(matches!(onnx::read(&external_model("w.bin", "4")), Err(OnnxError::Tensor { .. })));
    assert!(matches!(onnx::read_file(inner.join("absent.onnx")), Err(OnnxError::Io { .. })));
}

#[cfg(unix)]
#[test]
fn external_weights_do_not_follow_links_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("model");
    fs::create_dir(&inner).unwrap();
    fs::write(folder.path().join("secret.bin"), [0; 8]).unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret.bin"), inner.join("w.bin")).unwrap();
    fs::write(inner.join("model.onnx"), external_model("w.bin", "0")).unwrap();
    assert!(matches!(onnx::read_file(inner.join("model.onnx")), Err(OnnxError::Tensor { .. })));
}
