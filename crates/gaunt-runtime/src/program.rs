//! A graph as a list of kernels, for any batch size.

use alloc::{boxed::Box, format, vec, vec::Vec};

use gaunt_graph::{Dim, Graph, Node, Op, Shape, SliceAxis, Value};

use crate::{
    MAX_RANK, RuntimeError,
    kernel::{self, Kernel, Site},
    ops::layout::SliceKernel,
    plan::shape_at,
};

/// The compiled graph. Values keep the indices that they have in it.
pub(crate) struct Program {
    pub shapes: Vec<Shape>,
    pub sources: Vec<Source>,
    pub steps: Vec<Step>,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    /// For each value that owns its storage: the last step that reads it, or that makes it if none does;
    /// `usize::MAX` for outputs of the network.
    pub last_use: Vec<usize>,
    /// Elements of the parameters that are read at run time; empty for all other values.
    pub parameters: Vec<Vec<f32>>,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Source {
    /// The input of this index.
    Input(usize),
    /// A tensor of the graph.
    Parameter,
    /// A step makes it.
    Step,
    /// The elements of another value, under another shape.
    Alias(usize),
}

/// One kernel that makes one value.
pub(crate) struct Step {
    pub kernel: Box<dyn Kernel>,
    pub operands: Vec<usize>,
    pub output: usize,
}

impl Program {
    /// Compiles a graph.
    ///
    /// # Errors
    /// If the graph contradicts itself or holds something that the runtime cannot execute, such as an activation of
    /// more than `memory_limit` bytes.
    pub fn new(graph: &Graph, memory_limit: usize) -> Result<Self, RuntimeError> {
        graph.validate()?;
        check_limits(graph, memory_limit)?;
        let index = |ids: &[gaunt_graph::ValueId]| ids.iter().map(|id| id.index()).collect();
        let mut program = Self {
            shapes: graph.values.iter().map(|value| value.shape.clone()).collect(),
            sources: sources(graph),
            steps: vec![],
            inputs: index(&graph.inputs),
            outputs: index(&graph.outputs),
            last_use: vec![],
            parameters: vec![],
        };
        for node in &graph.nodes {
            program.push_node(graph, node)?;
        }
        program.find_last_uses();
        program.swap_operands();
        program.parameters = program.load_parameters(graph);
        Ok(program)
    }

    /// The value that owns the storage of a value.
    pub fn root(&self, id: usize) -> usize {
        match self.sources[id] {
            Source::Alias(root) => root,
            _ => id,
        }
    }

    /// Bytes of all weights and parameters as they are kept in memory.
    pub fn weight_bytes(&self) -> usize {
        let parameters: usize = self.parameters.iter().map(|floats| size_of_val(&floats[..])).sum();
        parameters + self.steps.iter().map(|step| step.kernel.weight_bytes()).sum::<usize>()
    }

    fn push_node(&mut self, graph: &Graph, node: &Node) -> Result<(), RuntimeError> {
        let inputs: Vec<usize> = node.inputs.iter().map(|id| id.index()).collect();
        let outputs: Vec<usize> = node.outputs.iter().map(|id| id.index()).collect();
        match &node.op {
            Op::Reshape { .. } => self.sources[outputs[0]] = Source::Alias(self.root(inputs[0])),
            Op::Split { axis, sizes } => {
                let mut start = 0;
                for (&output, &len) in outputs.iter().zip(sizes) {
                    let axes = vec![SliceAxis { axis: *axis, start, step: 1, len }];
                    self.push_step(Box::new(SliceKernel { axes }), &inputs, output);
                    start += len;
                }
            }
            op => {
                let values: Vec<&Value> = inputs.iter().map(|&id| &graph.values[id]).collect();
                let site = Site { inputs: &values, output: &graph.values[outputs[0]] };
                let unsupported = |reason| RuntimeError::Unsupported { node: node.name.clone(), op: op.name(), reason };
                let kernel = kernel::compile(op, &site).map_err(unsupported)?;
                self.push_step(kernel, &inputs, outputs[0]);
            }
        }
        Ok(())
    }

    fn push_step(&mut self, kernel: Box<dyn Kernel>, inputs: &[usize], output: usize) {
        let read = inputs.iter().enumerate().filter(|&(index, _)| kernel.reads(index));
        let operands = read.map(|(_, &id)| id).collect();
        self.steps.push(Step { kernel, operands, output });
    }

    fn find_last_uses(&mut self) {
        let mut last_use = vec![0; self.shapes.len()];
        for (index, step) in self.steps.iter().enumerate() {
            last_use[step.output] = index;
            step.operands.iter().for_each(|&id| last_use[self.root(id)] = index);
        }
        self.outputs.iter().for_each(|&id| last_use[self.root(id)] = usize::MAX);
        self.last_use = last_use;
    }

    /// Puts the operand first whose buffer can become the output's, where the order of operands does not matter.
    fn swap_operands(&mut self) {
        for index in 0..self.steps.len() {
            let step = &self.steps[index];
            let reusable = |id: usize| {
                let root = self.root(id);
                let full = self.shapes[id] == self.shapes[step.output];
                (full, self.sources[root] == Source::Step && self.last_use[root] == index)
            };
            if let [a, b] = step.operands[..]
                && step.kernel.commutes()
                && reusable(b) > reusable(a)
            {
                self.steps[index].operands.swap(0, 1);
            }
        }
    }

    /// The elements of the parameters that steps read or that are outputs.
    fn load_parameters(&self, graph: &Graph) -> Vec<Vec<f32>> {
        let mut needed = vec![false; self.shapes.len()];
        let operands = self.steps.iter().flat_map(|step| &step.operands);
        operands.chain(&self.outputs).for_each(|&id| needed[self.root(id)] = true);
        let tensors = graph.values.iter().zip(needed).map(|(value, needed)| value.tensor.as_ref().filter(|_| needed));
        tensors.map(|tensor| tensor.map(|tensor| tensor.to_floats()).unwrap_or_default()).collect()
    }
}

fn sources(graph: &Graph) -> Vec<Source> {
    let source = |value: &Value| if value.tensor.is_some() { Source::Parameter } else { Source::Step };
    let mut sources: Vec<Source> = graph.values.iter().map(source).collect();
    graph.inputs.iter().enumerate().for_each(|(index, id)| sources[id.index()] = Source::Input(index));
    sources
}

/// The limits of the runtime, beyond what makes a graph valid.
fn check_limits(graph: &Graph, memory_limit: usize) -> Result<(), RuntimeError> {
    for Value { name, shape, tensor } in &graph.values {
        let refuse = |reason| Err(RuntimeError::Value { value: name.clone(), reason });
        if shape.len() > MAX_RANK {
            return refuse(format!("has {} axes, but at most {MAX_RANK} are supported", shape.len()));
        }
        if shape.iter().any(|dim| matches!(dim, Dim::Fixed(0) | Dim::Batch(0))) {
            return refuse("has no elements, but at least 1 is needed".into());
        }
        let elements = shape_at(shape, 1).map(|sizes| sizes.iter().product::<usize>());
        if tensor.is_none() && elements.is_none_or(|elements| elements > memory_limit / size_of::<f32>()) {
            return refuse(format!("alone exceeds the memory limit of {memory_limit} bytes; raise the limit"));
        }
    }
    Ok(())
}
