//! The order of work: a graph's nodes with activations fused into what comes before them, and the moment at which
//! each value can be forgotten.

use gaunt_graph::{Binary, Graph, Node, Op, Unary, ValueId};

use gaunt_kernels::Activation;

use crate::TrainError;

/// What is executed, in order.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub stages: Vec<Stage>,
    /// The value that the loss looks at: the first output, or what goes into a softmax that makes it.
    pub logits: ValueId,
}

/// A node, perhaps with the activation after it.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Index of the node in the graph.
    pub node: usize,
    /// Applied to its output.
    pub activation: Activation,
    /// What is made: the node's outputs, or the activation's.
    pub outputs: Vec<ValueId>,
    /// For each of the [`flowing_inputs`] of the node, whether nobody needs it afterwards.
    pub last_use: Vec<bool>,
    /// The bias of a convolution and of the batch norm behind it, which takes it off again when it trains: the convolution
    /// leaves it out then, and the batch norm adds it to the mean that it reports.
    pub cancelled_bias: Option<ValueId>,
}

impl Plan {
    /// # Errors
    /// If the graph has no input or output, or a batch norm without constant parameters.
    pub fn new(graph: &Graph) -> Result<Self, TrainError> {
        let Some(&output) = graph.outputs.first() else {
            return Err(TrainError::Network(format!("network `{}` has no output", graph.name)));
        };
        if graph.inputs.is_empty() {
            return Err(TrainError::Network(format!("network `{}` has no input", graph.name)));
        }
        graph.nodes.iter().try_for_each(|node| check_batch_norm(graph, node))?;
        let logits = logits(graph, output);
        let mut plan = Self { stages: fuse(graph, logits), logits };
        plan.mark_last_uses(graph);
        Ok(plan)
    }

    /// Number of stages until the logits are there.
    pub fn stages_to_logits(&self) -> usize {
        let maker = self.stages.iter().position(|stage| stage.outputs.contains(&self.logits));
        maker.map_or(0, |index| index + 1)
    }

    fn mark_last_uses(&mut self, graph: &Graph) {
        let mut needed = vec![false; graph.values.len()];
        graph.outputs.iter().chain([&self.logits]).for_each(|output| needed[output.index()] = true);
        for stage in self.stages.iter_mut().rev() {
            let inputs = flowing_inputs(&graph.nodes[stage.node]);
            stage.last_use = vec![false; inputs.len()];
            for (last_use, input) in stage.last_use.iter_mut().zip(inputs).rev() {
                *last_use = !std::mem::replace(&mut needed[input.index()], true);
            }
        }
    }
}

/// The inputs that an operator takes as tensors: all, but for the parameters of a batch norm, which takes them from
/// wherever its mode wants them.
pub(crate) fn flowing_inputs(node: &Node) -> &[ValueId] {
    if matches!(node.op, Op::BatchNorm { .. }) { &node.inputs[..1] } else { &node.inputs }
}

/// Folds activations into batch norms and additions whose only reader they are.
fn fuse(graph: &Graph, logits: ValueId) -> Vec<Stage> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|input| readers[input.index()].push(index));
    }
    let mut fused = vec![false; graph.nodes.len()];
    let mut stages = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        if fused[index] {
            continue;
        }
        let (mut activation, mut outputs) = (Activation::None, node.outputs.clone());
        if let (true, &[output]) = (takes_activation(graph, node), node.outputs.as_slice()) {
            let observed = output == logits || graph.outputs.contains(&output);
            if let (false, &[reader]) = (observed, readers[output.index()].as_slice())
                && let Some(found) = activation_of(&graph.nodes[reader].op)
            {
                (activation, outputs) = (found, graph.nodes[reader].outputs.clone());
                fused[reader] = true;
            }
        }
        let cancelled_bias = cancelled_bias(graph, &readers, index);
        stages.push(Stage { node: index, activation, outputs, last_use: Vec::new(), cancelled_bias });
    }
    stages
}

/// The constant bias of a convolution that only a batch norm reads: asked for either of them.
fn cancelled_bias(graph: &Graph, readers: &[Vec<usize>], index: usize) -> Option<ValueId> {
    let node = &graph.nodes[index];
    let conv = match node.op {
        Op::BatchNorm { .. } => graph.nodes.iter().find(|conv| conv.outputs.contains(&node.inputs[0]))?,
        _ => node,
    };
    let (Op::Conv(_), &[_, _, bias], &[output]) = (&conv.op, conv.inputs.as_slice(), conv.outputs.as_slice()) else {
        return None;
    };
    let &[reader] = readers[output.index()].as_slice() else { return None };
    let normalised = matches!(graph.nodes[reader].op, Op::BatchNorm { .. }) && graph.nodes[reader].inputs[0] == output;
    let constant = graph.value(bias).tensor.is_some();
    (normalised && constant && !graph.outputs.contains(&output)).then_some(bias)
}

fn takes_activation(graph: &Graph, node: &Node) -> bool {
    matches!(node.op, Op::BatchNorm { .. }) || adds_maps(graph, node)
}

/// Whether a node adds two values of the same shape `[N, C, H, W]`.
pub(crate) fn adds_maps(graph: &Graph, node: &Node) -> bool {
    let mut shapes = node.inputs.iter().map(|&input| &graph.value(input).shape);
    match (&node.op, shapes.next(), shapes.next()) {
        (Op::Binary(Binary::Add), Some(a), Some(b)) => a.len() == 4 && a == b,
        _ => false,
    }
}

/// The kernels' name of an operator, if it is an activation that they know.
pub(crate) fn activation_of(op: &Op) -> Option<Activation> {
    match *op {
        Op::Unary(Unary::Relu) => Some(Activation::Relu),
        Op::Unary(Unary::Clip { min: 0.0, max: 6.0 }) => Some(Activation::Relu6),
        _ => None,
    }
}

/// Looks through a final softmax: the loss has its own.
fn logits(graph: &Graph, output: ValueId) -> ValueId {
    let maker = graph.nodes.iter().find(|node| node.outputs.contains(&output));
    match maker {
        Some(Node { op: Op::Softmax { axis: 1 }, inputs, .. }) if graph.value(output).shape.len() == 2 => inputs[0],
        _ => output,
    }
}

fn check_batch_norm(graph: &Graph, node: &Node) -> Result<(), TrainError> {
    let constant = |&input: &ValueId| graph.value(input).tensor.is_some();
    if matches!(node.op, Op::BatchNorm { .. }) && !node.inputs.iter().skip(1).all(constant) {
        let reason =
            format!("batch norm `{}` has a scale, bias or statistic that is computed; give it constants", node.name);
        return Err(TrainError::Network(reason));
    }
    Ok(())
}
