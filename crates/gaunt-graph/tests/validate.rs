//! What `Graph::validate` refuses.

use gaunt_graph::{Binary, Dim, Graph, GraphError, Op, Tensor, Unary, ValueId};

/// `x [N, 4]`, plus a parameter, through a ReLU.
fn graph() -> Graph {
    let mut graph = Graph::new("g");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(4)]);
    let bias = graph.add_parameter("bias", Tensor::full(vec![4], 0.5));
    let sum = graph.add_node("sum", Op::Binary(Binary::Add), &[x, bias]).unwrap();
    let y = graph.add_node("y", Op::Unary(Unary::Relu), &[sum]).unwrap();
    graph.outputs.push(y);
    graph
}

#[test]
fn a_built_graph_is_valid() {
    graph().validate().unwrap();
}

/// A way to break a graph, and a word of the error that says so.
type Fault = (fn(&mut Graph), &'static str);

#[test]
fn every_fault_is_found() {
    let faults: [Fault; 12] = [
        (|g| g.nodes[0].inputs[0] = ValueId(99), "`sum` names value 99, but there are 4 values"),
        (|g| g.nodes[1].outputs[0] = ValueId(99), "`y` names value 99"),
        (|g| g.inputs[0] = ValueId(99), "list of inputs"),
        (|g| g.outputs[0] = ValueId(99), "list of outputs"),
        (|g| g.nodes.swap(0, 1), "node `y` uses value `sum` before it is made"),
        (|g| g.nodes.truncate(1), "output `y` is never made"),
        (|g| g.nodes.push(g.nodes[1].clone()), "value `y` is made twice"),
        (|g| g.inputs.push(ValueId(1)), "value `bias` is made twice"),
        (|g| g.values[2].name = "x".into(), "two values are named `x`"),
        (|g| g.values[3].shape = vec![Dim::Batch(1)], "value `y` has shape [N], but node `y` makes [N, 4]"),
        (|g| g.values[1].tensor = Some(Tensor::full(vec![3], 0.0)), "parameter `bias` has shape [4]"),
        (|g| g.nodes[1].outputs.clear(), "node `y` makes 1 outputs, but lists 0"),
    ];
    for (fault, word) in faults {
        let mut broken = graph();
        fault(&mut broken);
        let error = broken.validate().expect_err(word).to_string();
        assert!(error.contains(word), "`{error}` instead of `{word}`");
    }
}

#[test]
fn a_shape_fault_names_node_and_operator() {
    let mut broken = graph();
    broken.nodes[0].inputs.pop();
    let error = broken.validate().unwrap_err();
    assert!(matches!(&error, GraphError::Shape { node, op: "Add", .. } if node == "sum"), "{error}");
}
