//! From a [`Graph`] to an ONNX model.

mod nodes;

use std::collections::HashSet;

use onnx_rs::ast;

use super::OnnxError;
use crate::{Dim, Graph, Op, Unary, ValueId};

/// Writes a graph as an ONNX model that other runtimes load.
///
/// The batch is the variable dimension `batch`. Parameters become float initializers; codes are multiplied by their
/// scales. The opset is 17, or the first later one that has every operator of the graph.
///
/// # Errors
/// If the graph is not valid, or an operator has no ONNX form (a reshape to several batch-dependent sizes).
pub fn write(graph: &Graph) -> Result<Vec<u8>, OnnxError> {
    graph.validate()?;
    let opset = graph.nodes.iter().map(|node| opset(graph, node)).max().unwrap_or(BASE_OPSET).max(BASE_OPSET);
    let mut exporter = Exporter::new(graph, opset);
    for (id, tensor) in graph.parameters() {
        exporter.initializers.push(Initializer {
            name: exporter.name(id),
            dims: signed(tensor.shape()),
            data: InitializerData::Floats(tensor.to_floats()),
        });
    }
    for node in &graph.nodes {
        exporter.node(node)?;
    }
    let outputs = exporter.outputs();
    Ok(encode(graph, &exporter, &outputs))
}

/// Opset of models without newer operators.
const BASE_OPSET: i64 = 17;

/// The first opset that has the operator as it is written.
fn opset(graph: &Graph, node: &crate::Node) -> i64 {
    match &node.op {
        Op::Unary(Unary::Gelu { .. }) => 20,
        Op::AveragePool { pool, .. } if pool.dilation != [1, 1] => 19,
        Op::Resize(resize) if nodes::needs_sizes(resize, &graph.value(node.inputs[0]).shape) => 18,
        _ => BASE_OPSET,
    }
}

/// A node of the file, with its strings.
struct FileNode {
    op: &'static str,
    name: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<ast::Attribute<'static>>,
}

struct Initializer {
    name: String,
    dims: Vec<i64>,
    data: InitializerData,
}

enum InitializerData {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

/// What the file will hold.
struct Exporter<'a> {
    graph: &'a Graph,
    opset: i64,
    nodes: Vec<FileNode>,
    initializers: Vec<Initializer>,
    names: HashSet<String>,
}

impl<'a> Exporter<'a> {
    fn new(graph: &'a Graph, opset: i64) -> Self {
        let names = graph.values.iter().map(|value| value.name.clone()).collect();
        Self { graph, opset, nodes: Vec::new(), initializers: Vec::new(), names }
    }

    fn name(&self, id: ValueId) -> String {
        self.graph.value(id).name.clone()
    }

    /// A name like `base` that nothing has yet.
    fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_string();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{base}_{number}");
        }
        name
    }

    /// Adds an initializer of integers; gives its name.
    fn ints(&mut self, base: &str, dims: Vec<i64>, data: Vec<i64>) -> String {
        let name = self.fresh(base);
        self.initializers.push(Initializer { name: name.clone(), dims, data: InitializerData::Ints(data) });
        name
    }

    /// Adds an initializer of floats; gives its name.
    fn floats(&mut self, base: &str, dims: Vec<i64>, data: Vec<f32>) -> String {
        let name = self.fresh(base);
        self.initializers.push(Initializer { name: name.clone(), dims, data: InitializerData::Floats(data) });
        name
    }

    /// Names of the outputs of the file: a parameter, an input or a second mention goes through `Identity`.
    fn outputs(&mut self) -> Vec<String> {
        let mut seen: HashSet<ValueId> = self.graph.inputs.iter().copied().collect();
        let mut outputs = Vec::new();
        for &id in &self.graph.outputs {
            let value = self.graph.value(id);
            if value.tensor.is_none() && seen.insert(id) {
                outputs.push(value.name.clone());
                continue;
            }
            let output = self.fresh(&format!("{}/output", value.name));
            self.nodes.push(FileNode {
                op: "Identity",
                name: output.clone(),
                inputs: vec![value.name.clone()],
                outputs: vec![output.clone()],
                attributes: vec![],
            });
            outputs.push(output);
        }
        outputs
    }
}

fn encode(graph: &Graph, exporter: &Exporter<'_>, outputs: &[String]) -> Vec<u8> {
    let inputs = graph.inputs.iter().map(|&id| (graph.value(id).name.as_str(), id));
    let outputs = outputs.iter().map(String::as_str).zip(graph.outputs.iter().copied());
    let model = ast::Model {
        ir_version: if exporter.opset < 19 { 8 } else { 9 },
        producer_name: "gaunt",
        producer_version: env!("CARGO_PKG_VERSION"),
        opset_import: vec![ast::OperatorSetId { domain: "", version: exporter.opset }],
        graph: Some(ast::Graph {
            // The checker of the `onnx` package refuses graphs without a name.
            name: if graph.name.is_empty() { "graph" } else { &graph.name },
            node: exporter.nodes.iter().map(file_node).collect(),
            initializer: exporter.initializers.iter().map(initializer).collect(),
            input: inputs.map(|(name, id)| value_info(name, &graph.value(id).shape)).collect(),
            output: outputs.map(|(name, id)| value_info(name, &graph.value(id).shape)).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    onnx_rs::encode(&model)
}

fn file_node(node: &FileNode) -> ast::Node<'_> {
    ast::Node {
        name: &node.name,
        op_type: node.op.into(),
        input: node.inputs.iter().map(String::as_str).collect(),
        output: node.outputs.iter().map(String::as_str).collect(),
        attribute: node.attributes.clone(),
        ..Default::default()
    }
}

fn initializer(initializer: &Initializer) -> ast::TensorProto<'_> {
    let (name, dims) = (initializer.name.as_str(), initializer.dims.clone());
    match &initializer.data {
        InitializerData::Floats(data) => ast::TensorProto::from_f32(name, dims, data.clone()),
        InitializerData::Ints(data) => ast::TensorProto::from_i64(name, dims, data.clone()),
    }
}

fn value_info<'a>(name: &'a str, shape: &[Dim]) -> ast::ValueInfo<'a> {
    let dim = |&dim: &Dim| ast::TensorShapeDimension {
        value: match dim {
            Dim::Fixed(size) => ast::Dimension::Value(size as i64),
            Dim::Batch(1) => ast::Dimension::Param("batch"),
            // Derived from the batch; the name says only that it varies.
            Dim::Batch(_) => ast::Dimension::Param("batch_multiple"),
        },
        denotation: "",
    };
    let shape = ast::TensorShape { dim: shape.iter().map(dim).collect() };
    let tensor = ast::TensorTypeProto { elem_type: ast::DataType::Float, shape: Some(shape) };
    let kind = ast::TypeProto { value: Some(ast::TypeValue::Tensor(tensor)), denotation: "" };
    ast::ValueInfo { name, r#type: Some(kind), ..Default::default() }
}

fn signed(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&size| size as i64).collect()
}
