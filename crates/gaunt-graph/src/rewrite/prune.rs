//! Removing what does not reach an output.

use alloc::{vec, vec::Vec};

use crate::{Graph, Value, ValueId};

/// Drops nodes and values that reach no output, and renumbers the rest. Inputs of the network stay.
pub fn prune_unused(graph: &mut Graph) {
    let mut needed = vec![false; graph.values.len()];
    graph.outputs.iter().chain(&graph.inputs).for_each(|id| needed[id.index()] = true);
    let mut kept_nodes = Vec::with_capacity(graph.nodes.len());
    for node in core::mem::take(&mut graph.nodes).into_iter().rev() {
        if node.outputs.iter().any(|output| needed[output.index()]) {
            node.inputs.iter().chain(&node.outputs).for_each(|id| needed[id.index()] = true);
            kept_nodes.push(node);
        }
    }
    kept_nodes.reverse();
    graph.nodes = kept_nodes;

    let mut renumbered = vec![ValueId(0); needed.len()];
    let mut values: Vec<Value> = Vec::with_capacity(needed.len());
    for ((value, needed), new) in core::mem::take(&mut graph.values).into_iter().zip(&needed).zip(&mut renumbered) {
        if *needed {
            *new = ValueId(values.len() as u32);
            values.push(value);
        }
    }
    graph.values = values;
    let nodes = graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs));
    for id in nodes.chain(&mut graph.inputs).chain(&mut graph.outputs) {
        *id = renumbered[id.index()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dim, Op, Tensor, Unary};

    #[test]
    fn only_what_reaches_an_output_stays() {
        let mut graph = Graph::new("test");
        let unused = graph.add_parameter("unused", Tensor::full(vec![3], 1.0));
        let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(3)]);
        graph.add_node("dead", Op::Unary(Unary::Relu), &[unused]).unwrap();
        let y = graph.add_node("alive", Op::Unary(Unary::Tanh), &[x]).unwrap();
        graph.outputs.push(y);
        prune_unused(&mut graph);
        assert_eq!(graph.values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(), ["x", "alive"]);
        assert_eq!(graph.nodes.len(), 1);
        graph.validate().unwrap();
    }
}
