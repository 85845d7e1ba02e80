//! The graph as bytes: inputs, nodes in order with their parameters inline, outputs.
//!
//! Values are numbered as they appear: inputs, then for each node its new parameters and its outputs. A node names an earlier
//! value by how far back it is, and a new parameter by 0. Shapes of made values are not written, since they follow
//! from the operators. Names of nodes and of what they make are not written either: a layer is called after its weight, any other node
//! after its operator and its place.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use gaunt_graph::{Dim, Graph, Op, ValueId};

use crate::{
    FormatError,
    limits::{Limits, check},
    operators,
    wire::{Reader, Writer},
};

const PLACE: &str = "the graph";

/// Writes the graph without its tensors' data; returns also the parameters in the order in which the data follow.
pub(crate) fn write(graph: &Graph) -> Result<(Vec<u8>, Vec<ValueId>), FormatError> {
    graph.validate()?;
    let mut out = Writer::default();
    let mut numbers: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut parameters = Vec::new();
    out.bytes(graph.name.as_bytes());
    out.size(graph.inputs.len());
    for &input in &graph.inputs {
        let value = graph.value(input);
        out.bytes(value.name.as_bytes());
        operators::write_shape(&mut out, &value.shape);
        numbers.insert(input, numbers.len());
    }
    out.size(graph.nodes.len());
    for node in &graph.nodes {
        operators::write(&mut out, &node.op);
        out.size(node.inputs.len());
        for input in &node.inputs {
            write_reference(&mut out, graph, *input, &mut numbers, &mut parameters);
        }
        out.size(node.outputs.len());
        node.outputs.iter().for_each(|&output| {
            numbers.insert(output, numbers.len());
        });
    }
    out.size(graph.outputs.len());
    for output in &graph.outputs {
        write_reference(&mut out, graph, *output, &mut numbers, &mut parameters);
        out.bytes(graph.value(*output).name.as_bytes());
    }
    Ok((out.0, parameters))
}

fn write_reference(
    out: &mut Writer,
    graph: &Graph,
    id: ValueId,
    numbers: &mut BTreeMap<ValueId, usize>,
    parameters: &mut Vec<ValueId>,
) {
    if let Some(number) = numbers.get(&id) {
        return out.size(numbers.len() - number);
    }
    let value = graph.value(id);
    out.size(0);
    out.bytes(value.name.as_bytes());
    operators::write_shape(out, &value.shape);
    numbers.insert(id, numbers.len());
    parameters.push(id);
}

/// Reads a graph whose parameters have no data yet; returns also them, in the order in which the data follow.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<(Graph, Vec<ValueId>), FormatError> {
    let mut input = Reader::new(bytes, PLACE);
    let mut graph = Graph::new(input.string()?);
    let mut parameters = Vec::new();
    let inputs = input.size()?;
    check("inputs", inputs, limits.tensors)?;
    for _ in 0..inputs {
        let name = input.string()?;
        let shape = operators::read_shape(&mut input, limits)?;
        graph.add_input(name, shape);
    }
    let nodes = input.size()?;
    check("nodes", nodes, limits.nodes)?;
    let mut names = 0;
    for place in 0..nodes {
        names += read_node(&mut input, &mut graph, place, &mut parameters, limits, names)?;
    }
    let outputs = input.size()?;
    check("outputs", outputs, limits.tensors)?;
    for _ in 0..outputs {
        let id = read_reference(&mut input, &mut graph, &mut parameters, limits)?;
        graph.values[id.index()].name = input.string()?;
        graph.outputs.push(id);
    }
    input.end()?;
    Ok((graph, parameters))
}

/// Reads a node; returns the bytes of its name and of those of its outputs. `names` are those of the nodes before.
fn read_node(
    input: &mut Reader,
    graph: &mut Graph,
    place: usize,
    parameters: &mut Vec<ValueId>,
    limits: &Limits,
    names: usize,
) -> Result<usize, FormatError> {
    let op = operators::read(input, limits)?;
    let count = input.size()?;
    let inputs = (0..count).map(|_| read_reference(input, graph, parameters, limits));
    let inputs: Vec<ValueId> = inputs.collect::<Result<_, FormatError>>()?;
    let outputs = input.size()?;
    // Inputs and parameters are each as many as tensors at most.
    let values = limits.tensors.saturating_mul(2).saturating_add(limits.nodes);
    check("values", graph.values.len().saturating_add(outputs), values)?;
    let name = node_name(graph, &op, &inputs, place);
    let bytes = name.len().saturating_mul(outputs.saturating_add(1));
    // A layer is called after its weight, which may have a long name and be used by many.
    check("bytes of names", names.saturating_add(bytes), limits.description)?;
    let names: Vec<String> =
        if outputs == 1 { vec![name.clone()] } else { (0..outputs).map(|output| format!("{name}.{output}")).collect() };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for id in graph.add_node_outputs(name, op, &inputs, &names)? {
        check("axes of a value", graph.value(id).shape.len(), limits.rank)?;
    }
    Ok(bytes)
}

/// A layer is called after its weight, any other node after its operator and its place.
fn node_name(graph: &Graph, op: &Op, inputs: &[ValueId], place: usize) -> String {
    if let (Op::Conv(_) | Op::Linear, Some(&weight)) = (op, inputs.get(1)) {
        let name = &graph.value(weight).name;
        return name.strip_suffix(".weight").map_or_else(|| format!("{name}.{}", op.name()), Into::into);
    }
    format!("{}_{place}", op.name())
}

fn read_reference(
    input: &mut Reader,
    graph: &mut Graph,
    parameters: &mut Vec<ValueId>,
    limits: &Limits,
) -> Result<ValueId, FormatError> {
    let back = input.size()?;
    if back > 0 {
        let number = graph.values.len().checked_sub(back).ok_or_else(|| {
            input.invalid(format!("a reference {back} values back, but there are only {}", graph.values.len()))
        })?;
        return Ok(ValueId(number as u32));
    }
    check("tensors", parameters.len() + 1, limits.tensors)?;
    let name = input.string()?;
    let shape = operators::read_shape(input, limits)?;
    if shape.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
        return Err(input.invalid(format!("parameter `{name}` counts in batches")));
    }
    let id = graph.add_value(name, shape);
    parameters.push(id);
    Ok(id)
}
