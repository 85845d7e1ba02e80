//! A graph, ready to run and to be trained on a device.

use burn::{
    backend::{AutodiffBackend, Dispatch, ops::FloatTensorOps},
    tensor::Device,
};
use gaunt_data::Batch;
use gaunt_graph::{Graph, Op, Tensor, ValueId};
use gaunt_kernels::{Precision, profile};

use crate::{
    TrainError,
    checkpoint::{Checkpoint, CheckpointError},
    execute::{Executor, Mode},
    flow::Flow,
    loss::{Loss, Target},
    ops::image::BatchStatistics,
    parameters::{self, Parameter},
    plain::{self, Plain},
    plan::{Plan, flowing_inputs},
};

/// Share of the batch's statistics that goes into the running ones at each step, PyTorch's default.
const MOMENTUM: f32 = 0.1;

/// A graph compiled for a device, with its parameters, their gradients and the running statistics.
///
/// The host owns all numbers: parameters and gradients are slices, by [`ValueId`]. Devices get copies when they need
/// them.
#[derive(Debug)]
pub struct Network {
    graph: Graph,
    device: Device,
    precision: Precision,
    plan: Plan,
    parameters: Vec<Parameter>,
    /// Every constant of the graph, by value.
    floats: Vec<Vec<f32>>,
    /// Gradients of the trainable ones, by value.
    gradients: Vec<Vec<f32>>,
    /// Copies of constants on the device, by value; absent when stale or never used.
    tensors: Vec<Option<Plain>>,
}

/// What a training step saw. The gradients stay in the [`Network`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean loss over the batch, in nats. Not finite if the network has diverged.
    pub loss: f64,
    /// Images of the batch that were classified correctly.
    pub correct: usize,
}

impl Network {
    /// Compiles a graph for a device.
    ///
    /// # Errors
    /// If the graph is not valid, or has a batch norm whose parameters are not constants.
    pub fn new(graph: &Graph, device: &Device) -> Result<Self, TrainError> {
        graph.validate()?;
        let count = graph.values.len();
        let floats = graph.values.iter().map(|value| value.tensor.as_ref().map(Tensor::to_floats).unwrap_or_default());
        let mut network = Self {
            graph: graph.clone(),
            device: device.clone(),
            precision: Precision::Fp32,
            plan: Plan::new(graph)?,
            parameters: parameters::trainable(graph),
            floats: floats.collect(),
            gradients: vec![Vec::new(); count],
            tensors: vec![None; count],
        };
        for parameter in &network.parameters {
            let value = parameter.value.index();
            network.gradients[value] = vec![0.0; network.floats[value].len()];
        }
        Ok(network)
    }

    /// Takes operands of convolutions and linear layers in another precision, in all passes and in inference; parameters,
    /// gradients, statistics and losses stay `f32`.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// The same network after [`Network::set_precision`].
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.set_precision(precision);
        self
    }

    /// The precision of operands; single at first.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Makes the network take images of another height and width; all numbers stay.
    ///
    /// # Errors
    /// If it cannot; see [`Graph::resize_images`].
    pub fn resize_images(&mut self, size: [usize; 2]) -> Result<(), TrainError> {
        self.graph.resize_images(size)?;
        self.plan = Plan::new(&self.graph)?;
        Ok(())
    }

    /// The trainable parameters, in the order of their ids: all but running statistics and constants of arithmetic.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The numbers of any constant: trainable, statistic or other; nothing for other values.
    ///
    /// # Panics
    /// If the id belongs to another graph.
    pub fn parameter(&self, value: ValueId) -> &[f32] {
        &self.floats[value.index()]
    }

    /// Replaces the numbers of a constant.
    ///
    /// # Panics
    /// If the id belongs to another graph or the length differs.
    pub fn set_parameter(&mut self, value: ValueId, floats: &[f32]) {
        self.parameter_mut(value).copy_from_slice(floats);
    }

    /// The numbers of any constant, to change.
    ///
    /// # Panics
    /// If the id belongs to another graph.
    pub fn parameter_mut(&mut self, value: ValueId) -> &mut [f32] {
        self.tensors[value.index()] = None;
        &mut self.floats[value.index()]
    }

    /// The gradient of a trainable parameter after [`gradients`](Self::gradients); nothing for other values.
    ///
    /// # Panics
    /// If the id belongs to another graph.
    pub fn gradient(&self, value: ValueId) -> &[f32] {
        &self.gradients[value.index()]
    }

    /// The gradient of a trainable parameter, to change.
    ///
    /// # Panics
    /// If the id belongs to another graph.
    pub fn gradient_mut(&mut self, value: ValueId) -> &mut [f32] {
        &mut self.gradients[value.index()]
    }

    /// Calls `change(index, parameter, numbers, gradient)` for every trainable parameter: what an optimiser needs.
    pub fn update(&mut self, mut change: impl FnMut(usize, &Parameter, &mut [f32], &[f32])) {
        let _timer = profile::timer("optimiser");
        for (index, parameter) in self.parameters.iter().enumerate() {
            let value = parameter.value.index();
            self.tensors[value] = None;
            change(index, parameter, &mut self.floats[value], &self.gradients[value]);
        }
    }

    /// Runs the batch in training mode, and computes the loss and the gradients of all trainable parameters.
    ///
    /// Batch norms use the statistics of the batch, and the running statistics move towards them (the variance's
    /// unbiased, as in PyTorch). If the loss is not finite, gradients are zero and statistics stay.
    ///
    /// # Errors
    /// If the batch or the target does not fit the network, or the device fails.
    pub fn gradients(&mut self, batch: &Batch, target: &Target) -> Result<StepOutcome, TrainError> {
        self.upload(Mode::Training);
        let mut tensors = self.tensors.clone();
        for parameter in &self.parameters {
            if let Some(tensor) = &mut tensors[parameter.value.index()] {
                let leaf = <Dispatch as AutodiffBackend>::from_inner(tensor.clone());
                *tensor = Dispatch::float_set_require_grad(leaf, true);
            }
        }
        let images = vec![batch.images.as_slice()];
        let (logits, statistics) = self.forward(&tensors, &images, batch.labels.len(), Mode::Training)?;
        let loss = Loss::new(&self.download(logits.clone(), "the logits")?, target)?;
        if loss.value.is_finite() {
            self.backward(&tensors, logits, &loss.gradient)?;
            self.move_statistics(statistics)?;
        } else {
            self.gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
        }
        Ok(StepOutcome { loss: loss.value, correct: loss.correct })
    }

    /// The logits of a batch in inference mode, `[batch, classes]`, row-major. A softmax at the end of the network is
    /// left out. `images` is `[batch, C, H, W]`, row-major.
    ///
    /// # Errors
    /// If the batch does not fit the network, or the device fails.
    pub fn logits(&mut self, images: &[f32], batch: usize) -> Result<Vec<f32>, TrainError> {
        self.upload(Mode::Inference);
        let (logits, _) = self.forward(&self.tensors, &[images], batch, Mode::Inference)?;
        self.download(logits, "the logits")
    }

    /// What convolutions and linear layers get as input on the way to the logits, in inference mode, by their weight.
    ///
    /// # Errors
    /// If the batch does not fit the network, or the device fails.
    pub fn layer_inputs(&mut self, images: &[f32], batch: usize) -> Result<Vec<(ValueId, Tensor)>, TrainError> {
        self.upload(Mode::Inference);
        let mut executor = self.executor(&self.tensors, &[images], batch, Mode::Inference)?;
        executor.layer_inputs = Some(Vec::new());
        executor.run(&self.plan.stages[..self.plan.stages_to_logits()])?;
        let inputs = executor.layer_inputs.unwrap_or_default().into_iter().map(|(weight, input)| {
            let shape = plain::shape(&input);
            Ok((weight, Tensor::new(shape, self.download(input, "the input of a layer")?)?))
        });
        inputs.collect()
    }

    /// All outputs for all inputs, in inference mode; the batch is the first axis of the first input.
    ///
    /// # Errors
    /// If the inputs do not fit the network, or the device fails.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
        self.upload(Mode::Inference);
        let batch = self.batch_of(inputs)?;
        let floats: Vec<Vec<f32>> = inputs.iter().map(Tensor::to_floats).collect();
        let floats: Vec<&[f32]> = floats.iter().map(Vec::as_slice).collect();
        let mut executor = self.executor(&self.tensors, &floats, batch, Mode::Inference)?;
        executor.run(&self.plan.stages)?;
        let output = |&id: &ValueId| {
            let value = self.graph.value(id);
            let shape = value.shape.iter().map(|dim| dim.at(batch)).collect();
            let numbers = self.download(executor.take(id, false)?.plain(), &value.name)?;
            Ok(Tensor::new(shape, numbers)?)
        };
        self.graph.outputs.iter().map(output).collect()
    }

    /// Replaces the running statistics of batch norms by the average over the given batches, forward only: for
    /// networks whose weights have changed since their statistics were gathered. Without batches nothing changes.
    ///
    /// # Errors
    /// If a batch does not fit the network, or the device fails.
    pub fn reestimate_statistics(&mut self, batches: impl IntoIterator<Item = Batch>) -> Result<(), TrainError> {
        self.upload(Mode::Training);
        let mut sums: Vec<Vec<f64>> = self.floats.iter().map(|_| Vec::new()).collect();
        let mut count = 0.0;
        for batch in batches {
            let images = [batch.images.as_slice()];
            let (_, statistics) = self.forward(&self.tensors, &images, batch.labels.len(), Mode::Training)?;
            for (value, numbers) in self.host_statistics(statistics)? {
                let sum = &mut sums[value.index()];
                sum.resize(numbers.len(), 0.0);
                sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += f64::from(number));
            }
            count += 1.0;
        }
        for (index, sum) in sums.iter().enumerate().filter(|(_, sum)| !sum.is_empty()) {
            self.tensors[index] = None;
            self.floats[index].iter_mut().zip(sum).for_each(|(float, sum)| *float = (sum / count) as f32);
        }
        Ok(())
    }

    /// The graph with the present parameters and statistics. Parameters that still equal the codes they came from
    /// stay codes.
    pub fn to_graph(&self) -> Graph {
        let mut graph = self.graph.clone();
        for (value, floats) in graph.values.iter_mut().zip(&self.floats) {
            if let Some(tensor) = &mut value.tensor
                && tensor.to_floats() != *floats
                && let Ok(changed) = Tensor::new(tensor.shape().to_vec(), floats.clone())
            {
                *tensor = changed;
            }
        }
        graph
    }

    /// Writes parameters and statistics into a checkpoint, under names that start with `network.`.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        for (id, _) in self.graph.parameters() {
            let name = format!("network.{}", self.graph.value(id).name);
            checkpoint.insert(name, self.floats[id.index()].clone());
        }
    }

    /// Reads parameters and statistics back.
    ///
    /// # Errors
    /// If one is missing or has another length: the checkpoint is of another network.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        for (id, _) in self.graph.parameters() {
            let name = format!("network.{}", self.graph.value(id).name);
            checkpoint.read_into(&name, &mut self.floats[id.index()])?;
            self.tensors[id.index()] = None;
        }
        Ok(())
    }

    /// Brings stale constants to the device: those that nodes read, but for what batch norms take from the host.
    fn upload(&mut self, mode: Mode) {
        let _timer = profile::timer("upload weights");
        for node in &self.graph.nodes {
            let read = match (&node.op, mode) {
                (Op::BatchNorm { .. }, Mode::Training) => &node.inputs[..3],
                _ => flowing_inputs(node),
            };
            for &id in read {
                let (value, slot) = (self.graph.value(id), &mut self.tensors[id.index()]);
                if let (Some(tensor), None) = (&value.tensor, &slot) {
                    *slot = Some(plain::upload(&self.floats[id.index()], tensor.shape(), self.device.as_dispatch()));
                }
            }
        }
    }

    /// Runs up to the logits.
    fn forward(
        &self,
        tensors: &[Option<Plain>],
        inputs: &[&[f32]],
        batch: usize,
        mode: Mode,
    ) -> Result<(Plain, Vec<(usize, BatchStatistics)>), TrainError> {
        let mut executor = self.executor(tensors, inputs, batch, mode)?;
        executor.run(&self.plan.stages[..self.plan.stages_to_logits()])?;
        let logits = executor.take(self.plan.logits, true)?.plain();
        Ok((logits, executor.statistics))
    }

    fn executor<'a>(
        &'a self,
        tensors: &'a [Option<Plain>],
        inputs: &[&[f32]],
        batch: usize,
        mode: Mode,
    ) -> Result<Executor<'a>, TrainError> {
        if inputs.len() != self.graph.inputs.len() {
            let (name, expected, found) = (&self.graph.name, self.graph.inputs.len(), inputs.len());
            return Err(TrainError::Network(format!(
                "network `{name}` takes {expected} inputs, but {found} were given"
            )));
        }
        let _timer = profile::timer("upload images");
        let mut flows: Vec<Option<Flow>> = vec![None; self.graph.values.len()];
        for (&id, &numbers) in self.graph.inputs.iter().zip(inputs) {
            let value = self.graph.value(id);
            let shape: Vec<usize> = value.shape.iter().map(|dim| dim.at(batch)).collect();
            let (expected, found) = (shape.iter().product(), numbers.len());
            if expected != found || found == 0 {
                return Err(TrainError::Input { name: value.name.clone(), batch, expected, found });
            }
            flows[id.index()] = Some(Flow::Plain(plain::upload(numbers, &shape, self.device.as_dispatch())));
        }
        let (graph, floats, device) = (&self.graph, &self.floats, self.device.as_dispatch());
        let precision = self.precision;
        Ok(Executor {
            graph,
            floats,
            tensors,
            device,
            mode,
            precision,
            batch,
            flows,
            statistics: Vec::new(),
            layer_inputs: None,
        })
    }

    /// Differentiates `(logits * gradient).sum()`, whose gradient by the logits is the loss's.
    fn backward(&mut self, tensors: &[Option<Plain>], logits: Plain, gradient: &[f32]) -> Result<(), TrainError> {
        let _timer = profile::timer("backward, plain operators");
        let weights = plain::upload(gradient, &plain::shape(&logits), self.device.as_dispatch());
        let mut gradients = Dispatch::backward(Dispatch::float_sum(Dispatch::float_mul(logits, weights)));
        for parameter in &self.parameters {
            let index = parameter.value.index();
            let found = tensors[index].as_ref().and_then(|leaf| Dispatch::grad_remove(leaf, &mut gradients));
            match found {
                // The memory that is there takes the numbers: fresh memory would cost as much again.
                Some(gradient) => {
                    let _timer = profile::timer("download");
                    plain::download_into(gradient, &mut self.gradients[index])
                        .ok_or_else(|| TrainError::Device(parameter.name.clone()))?;
                }
                None => self.gradients[index].fill(0.0),
            }
        }
        Ok(())
    }

    fn move_statistics(&mut self, statistics: Vec<(usize, BatchStatistics)>) -> Result<(), TrainError> {
        let _timer = profile::timer("running statistics");
        for (value, numbers) in self.host_statistics(statistics)? {
            for (running, number) in self.parameter_mut(value).iter_mut().zip(numbers) {
                *running = (1.0 - MOMENTUM) * *running + MOMENTUM * number;
            }
        }
        Ok(())
    }

    /// Means and unbiased variances on the host, with the values that hold the running ones.
    fn host_statistics(
        &self,
        statistics: Vec<(usize, BatchStatistics)>,
    ) -> Result<Vec<(ValueId, Vec<f32>)>, TrainError> {
        let mut found = Vec::with_capacity(2 * statistics.len());
        for (node, BatchStatistics { mean, variance, count, bias }) in statistics {
            let node = &self.graph.nodes[node];
            let unbias = count as f32 / (count.max(2) - 1) as f32;
            let mut means = self.download(mean, &node.name)?;
            if let Some(bias) = bias {
                means.iter_mut().zip(&self.floats[bias.index()]).for_each(|(mean, bias)| *mean += bias);
            }
            found.push((node.inputs[3], means));
            let variances = self.download(variance, &node.name)?;
            found.push((node.inputs[4], variances.into_iter().map(|variance| variance * unbias).collect()));
        }
        Ok(found)
    }

    fn download(&self, tensor: Plain, what: &str) -> Result<Vec<f32>, TrainError> {
        let _timer = profile::timer("download");
        plain::download(tensor).ok_or_else(|| TrainError::Device(what.into()))
    }

    /// The batch size that makes the first input's shape.
    fn batch_of(&self, inputs: &[Tensor]) -> Result<usize, TrainError> {
        let shape = self.graph.inputs.first().map(|&id| &self.graph.value(id).shape);
        let dims = shape.into_iter().flatten().zip(inputs.first().map(Tensor::shape).unwrap_or_default());
        let mut sizes = dims.filter_map(|(dim, &size)| match dim {
            gaunt_graph::Dim::Batch(times) => size.checked_div(*times),
            gaunt_graph::Dim::Fixed(_) => None,
        });
        Ok(sizes.next().unwrap_or(1))
    }
}
