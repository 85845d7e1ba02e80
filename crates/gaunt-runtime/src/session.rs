//! Running a network.

use alloc::{string::String, vec::Vec};

use gaunt_graph::Graph;

use crate::{
    RuntimeError, View,
    kernel::Operands,
    plan::{Place, Plan},
    program::{Program, Step},
    view::{ViewMut, broadcast_strides, strided_copy},
};

/// Bytes that activations and work space of a session may take, unless told otherwise: 1 GiB.
pub const DEFAULT_MEMORY_LIMIT: usize = 1 << 30;

/// A network ready to run.
///
/// Weights are converted once. Buffers are laid out for one batch size and kept; another batch size lays them out anew.
pub struct Session {
    program: Program,
    input_names: Vec<String>,
    memory_limit: usize,
    workspace: Workspace,
}

/// What a [`Session`] keeps in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Peak of the activations: the buffers that values share by turns. Inputs are the caller's and do not count.
    pub activations: usize,
    /// Work space, the largest that a single node needs.
    pub scratch: usize,
    /// Weights and other parameters.
    pub weights: usize,
}

/// The results of [`Session::run`], in the order of the graph's outputs.
#[derive(Clone, Copy)]
pub struct Outputs<'a>(Operands<'a>);

impl Session {
    /// Prepares a graph, with buffers for one image.
    ///
    /// # Errors
    /// If the graph contradicts itself, uses an operator in a way that is not supported (the error names the node), or
    /// needs more memory than [`DEFAULT_MEMORY_LIMIT`].
    pub fn new(graph: &Graph) -> Result<Self, RuntimeError> {
        Self::with_memory_limit(graph, DEFAULT_MEMORY_LIMIT)
    }

    /// [`Session::new`] with another limit, in bytes, on what activations and work space may take at any batch size.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn with_memory_limit(graph: &Graph, memory_limit: usize) -> Result<Self, RuntimeError> {
        let program = Program::new(graph, memory_limit)?;
        let input_names = graph.inputs.iter().map(|&id| graph.value(id).name.clone()).collect();
        let workspace = Workspace::new(Plan::new(&program, 1, memory_limit)?)?;
        Ok(Self { program, input_names, memory_limit, workspace })
    }

    /// Decodes and prepares a `.gaunt` file.
    ///
    /// # Errors
    /// If the file is damaged, or for the reasons of [`Session::new`].
    pub fn from_bytes(file: &[u8]) -> Result<Self, RuntimeError> {
        Self::new(&gaunt_format::Model::from_bytes(file)?.graph)
    }

    /// Runs `batch` images. Each input is row-major, images one after the other.
    ///
    /// Nothing is allocated if the previous run had the same batch size.
    ///
    /// # Errors
    /// If an input is missing, superfluous or of the wrong size, or the batch exceeds the memory limit.
    pub fn run<'a>(&'a mut self, inputs: &'a [&'a [f32]], batch: usize) -> Result<Outputs<'a>, RuntimeError> {
        if batch == self.workspace.plan.batch {
            self.check_inputs(inputs, &self.workspace.plan)?;
        } else {
            let plan = Plan::new(&self.program, batch, self.memory_limit)?;
            self.check_inputs(inputs, &plan)?;
            self.workspace = Workspace::new(plan)?;
        }
        let Self { program, workspace, .. } = self;
        for step in &program.steps {
            workspace.run_step(step, &program.parameters, inputs);
        }
        let Workspace { plan, slots, .. } = workspace;
        Ok(Outputs(Operands { ids: &program.outputs, plan, parameters: &program.parameters, slots, inputs }))
    }

    /// Memory that the present batch size takes: one image at first, then that of the last run.
    pub fn memory(&self) -> Memory {
        let (activations, scratch) = self.workspace.plan.bytes();
        Memory { activations, scratch, weights: self.program.weight_bytes() }
    }

    fn check_inputs(&self, inputs: &[&[f32]], plan: &Plan) -> Result<(), RuntimeError> {
        let (expected, found) = (self.program.inputs.len(), inputs.len());
        if expected != found {
            return Err(RuntimeError::InputCount { expected, found });
        }
        for ((&id, input), name) in self.program.inputs.iter().zip(inputs).zip(&self.input_names) {
            let (expected, found, batch) = (plan.len(id), input.len(), plan.batch);
            if expected != found {
                return Err(RuntimeError::InputSize { name: name.clone(), expected, found, batch });
            }
        }
        Ok(())
    }
}

/// The buffers of one batch size.
struct Workspace {
    plan: Plan,
    slots: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

impl Workspace {
    fn new(plan: Plan) -> Result<Self, RuntimeError> {
        let buffer = |len: usize| {
            let mut buffer = Vec::new();
            let failed = |_| RuntimeError::OutOfMemory { bytes: len * size_of::<f32>() };
            buffer.try_reserve_exact(len).map_err(failed)?;
            buffer.resize(len, 0.0);
            Ok(buffer)
        };
        let slots = plan.slots.iter().map(|&len| buffer(len)).collect::<Result<_, RuntimeError>>()?;
        let scratch = buffer(plan.scratch)?;
        Ok(Self { plan, slots, scratch })
    }

    /// Computes the output of a step. Its buffer is taken out of the others meanwhile, so that they can be read.
    fn run_step(&mut self, step: &Step, parameters: &[Vec<f32>], inputs: &[&[f32]]) {
        let Self { plan, slots, scratch } = self;
        let place = plan.place(step.output);
        let Place::Slot(slot) = place else { return };
        let mut buffer = core::mem::take(&mut slots[slot]);
        let operands = Operands { ids: &step.operands, plan, parameters, slots, inputs };
        let shape = plan.shape(step.output);
        let data = &mut buffer[..plan.len(step.output)];
        if step.kernel.in_place() && plan.place(step.operands[0]) != place {
            let x = operands.get(0);
            strided_copy(x.data, 0, broadcast_strides(x.shape, shape.len()), ViewMut { shape, data: &mut *data });
        }
        step.kernel.run(&operands, ViewMut { shape, data }, scratch);
        slots[slot] = buffer;
    }
}

impl<'a> Outputs<'a> {
    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the network computes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The output of this index, if there is one.
    pub fn get(&self, index: usize) -> Option<View<'a>> {
        (index < self.len()).then(|| self.0.get(index))
    }

    /// All outputs.
    pub fn iter(&self) -> impl Iterator<Item = View<'a>> {
        let operands = self.0;
        (0..operands.len()).map(move |index| operands.get(index))
    }
}
