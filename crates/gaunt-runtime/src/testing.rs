//! Helpers of the unit tests.

use alloc::{format, vec::Vec};

use gaunt_graph::{Dim, Graph, Op, Tensor};

use crate::Session;

/// Runs a single operator on inputs of fixed shapes, followed by parameters, and returns all its outputs.
pub fn evaluate_all(op: Op, inputs: &[(&[usize], &[f32])], parameters: &[Tensor], outputs: usize) -> Vec<Vec<f32>> {
    let mut graph = Graph::new("test");
    let mut ids = Vec::new();
    for (i, (shape, _)) in inputs.iter().enumerate() {
        ids.push(graph.add_input(format!("x{i}"), shape.iter().map(|&size| Dim::Fixed(size)).collect()));
    }
    for (i, tensor) in parameters.iter().enumerate() {
        ids.push(graph.add_parameter(format!("w{i}"), tensor.clone()));
    }
    let names: Vec<_> = (0..outputs).map(|i| format!("y{i}")).collect();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    graph.outputs = graph.add_node_outputs("node", op, &ids, &names).unwrap();
    let data: Vec<&[f32]> = inputs.iter().map(|input| input.1).collect();
    let mut session = Session::new(&graph).unwrap();
    session.run(&data, 1).unwrap().iter().map(|output| output.data.to_vec()).collect()
}

/// [`evaluate_all`] for an operator with one output.
pub fn evaluate(op: Op, inputs: &[(&[usize], &[f32])], parameters: &[Tensor]) -> Vec<f32> {
    evaluate_all(op, inputs, parameters, 1).remove(0)
}

/// Numbers without a pattern, between -1 and 1.
pub fn noise(len: usize, seed: u32) -> Vec<f32> {
    let scramble = |i: u32| (i + 1).wrapping_mul(2_654_435_761).wrapping_add(seed).wrapping_mul(2_246_822_519) >> 8;
    (0..len as u32).map(|i| scramble(i) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// The numbers from zero up.
pub fn count(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32).collect()
}
