//! One compression: from a dense graph to the graph of codes, step by step.

use std::sync::Arc;

use gaunt_data::{Batch, Dataset};
use gaunt_graph::{Graph, ValueId, rewrite::Survivors};
use gaunt_train::{
    Checkpoint, Device, Network, Target, Teacher, evaluate,
    optim::{Algorithm, Optimizer},
    profile,
    schedule::Schedule,
};

use crate::{
    CompressError, Method, Observer, Options, Snapshot, compact,
    controller::{Approach, Controller},
    feedback::Feedback,
    options::*,
    pull::{Pull, SPARSE, STEP_RANGE},
    quantizer::Layer,
    size::SizeModel,
    start,
    teachers::Teachers,
};

/// Images to train on and images to steer by.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Training split.
    pub train: Arc<Dataset>,
    /// Validation split; nothing is chosen on any other.
    pub validation: Arc<Dataset>,
}

/// What one evaluation saw; one line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Metrics {
    /// Steps done.
    pub step: u64,
    /// Passes over the training split.
    pub epoch: f64,
    /// Mean training loss since the last evaluation.
    pub loss: f64,
    /// Estimated bytes of the file.
    pub bytes: u64,
    /// Accuracy on the validation split with the codes as weights, in per cent.
    pub validation: f64,
    /// Points lost against the dense network.
    pub drop: f64,
    /// Share of zero codes.
    pub sparsity: f64,
    /// Global step of the quantiser.
    pub global_step: f64,
    /// Loss that a bit costs where weights shrink; 0 where steps grow.
    pub pull: f64,
}

/// A running compression: [`Run::new`], then [`Run::train`], then [`Run::finish`](crate::finish).
pub struct Run<'a> {
    pub(crate) options: &'a Options,
    pub(crate) data: &'a TrainingData,
    pub(crate) device: Device,
    pub(crate) network: Network,
    pub(crate) teachers: Teachers,
    pub(crate) layers: Vec<Layer>,
    /// Of each layer, once it is measured for the file of a network that is not trained.
    pub(crate) feedback: Vec<Option<Feedback>>,
    /// Trainable parameters that are not quantised while training.
    pub(crate) others: Vec<ValueId>,
    pub(crate) optimizer: Optimizer,
    /// Channels of the dense network that are left.
    pub(crate) survivors: Survivors,
    /// Those that lived at the last evaluation.
    pub(crate) living: Survivors,
    controller: Controller,
    pub(crate) size: SizeModel,
    /// Global step of the quantiser.
    pub(crate) step_size: f32,
    pull: Pull,
    will_pull: bool,
    step: u64,
    /// Step of the last evaluation.
    evaluated: Option<u64>,
    /// Learning rates are multiplied by this; halved when the loss diverges.
    rate_factor: f32,
    losses: Losses,
    pub(crate) dense_accuracy: f64,
    pub(crate) parameters: usize,
    /// State to go back to when the loss diverges.
    last_good: Option<Checkpoint>,
    /// Smallest size so far, in bytes, at which accuracy was in budget, with its state.
    pub(crate) best: Option<(f64, Checkpoint)>,
}

/// Times that one run may go back before it gives up.
const MAX_ROLLBACKS: u32 = 8;

impl<'a> Run<'a> {
    /// Measures the dense network and its sensitivities, and quantises it to the size at which training starts.
    ///
    /// # Errors
    /// If the network has nothing to compress, cannot run on the data, or overrides name unknown layers.
    pub fn new(
        graph: &Graph,
        data: &'a TrainingData,
        options: &'a Options,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Self, CompressError> {
        let mut teacher = Network::new(graph, device)?;
        observer.phase("evaluating the dense network");
        let dense = evaluate(&mut teacher, &data.validation, &options.normalization)?;
        observer.phase("measuring sensitivities");
        let layers = start::layers(graph, data, options, device)?;
        teacher.set_precision(options.precision);
        let network = Network::new(graph, device)?.with_precision(options.precision);
        let quantised: Vec<ValueId> = layers.iter().map(|layer| layer.weight).collect();
        let others = network.parameters().iter().map(|parameter| parameter.value);
        let others: Vec<ValueId> = others.filter(|value| !quantised.contains(value)).collect();
        let optimizer = optimizer(&network, &layers, &others);
        let parameters = graph.parameter_count();
        let start = start::bytes(&options.budget, parameters);
        let will_pull = will_pull(options, parameters, &layers);
        let views = options.views.map_or(0, |views| views.get().min(options.epochs as usize));
        let approach = if will_pull { Approach::BY_PULL } else { Approach::BY_STEPS };
        let mut run = Self {
            options,
            data,
            device: device.clone(),
            network,
            teachers: Teachers::new(teacher, views, data.train.len()),
            layers,
            others,
            optimizer,
            survivors: Survivors::default(),
            living: Survivors::default(),
            controller: Controller::new(&options.budget, parameters, start, approach),
            size: SizeModel { overhead: start::overhead(graph, &options.metadata)?, calibration: 1.0 },
            step_size: 1.0,
            pull: Pull::default(),
            will_pull,
            feedback: Vec::new(),
            step: 0,
            evaluated: None,
            rate_factor: 1.0,
            losses: Losses::default(),
            dense_accuracy: dense.top1,
            parameters,
            last_good: None,
            best: None,
        };
        if will_pull {
            run.layers.iter_mut().for_each(|layer| layer.limit_step(STEP_RANGE));
        }
        // Without training there is no way to go: the first size is the last.
        let target =
            if options.epochs == 0 { run.controller.target(1.0, 0.0) } else { run.controller.target(0.0, 1.0) };
        run.solve(target);
        Ok(run)
    }

    /// Lets the network learn from another one too: from the mean of its logits and those of the dense network.
    ///
    /// # Errors
    /// If the other network cannot run. [`train`](Self::train) fails if it does not tell as many classes apart.
    pub fn learn_from(&mut self, graph: &Graph) -> Result<(), CompressError> {
        self.teachers.join(Network::new(graph, &self.device)?.with_precision(self.options.precision));
        Ok(())
    }

    /// Top-1 of the dense network on the validation split, in per cent.
    pub fn dense_accuracy(&self) -> f64 {
        self.dense_accuracy
    }

    /// Goes through all steps that are left.
    ///
    /// # Errors
    /// If the run is interrupted, diverges again and again, or a checkpoint cannot be written.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<(), CompressError> {
        let loader = self.options.loader(self.data)?;
        let per_epoch = self.steps_per_epoch();
        let total = self.total_steps();
        let mut rollbacks = 0;
        while self.step < total {
            let (epoch, first) = ((self.step / per_epoch) as usize, (self.step % per_epoch) as usize);
            if !self.teachers.look_ahead(&loader, epoch, observer)? {
                self.keep(observer)?;
                return Err(CompressError::Interrupted);
            }
            for batch in loader.epoch(epoch, first) {
                if self.step.is_multiple_of(RESIZE_STEPS) {
                    self.look_around(observer)?;
                }
                let loss = self.learn(&batch, loader.view(epoch))?;
                if self.losses.diverges(loss) {
                    rollbacks += 1;
                    self.roll_back(rollbacks, observer)?;
                    break;
                }
                self.losses.add(loss);
                self.step += 1;
                observer.stepped(self.step, total, loss);
            }
        }
        self.quantize();
        Ok(())
    }

    /// Everything that happens between steps: evaluation, snapshots, and the size.
    fn look_around(&mut self, observer: &mut dyn Observer) -> Result<(), CompressError> {
        let _timer = profile::timer("size control");
        let interrupted = observer.interrupted();
        let due = self.step > 0 && self.step.is_multiple_of(self.steps_per_evaluation());
        if due && self.evaluated != Some(self.step) {
            self.evaluate(observer)?;
            self.compact(observer)?;
        }
        if interrupted || self.last_good.is_none() || self.step.is_multiple_of(SNAPSHOT_STEPS) || due {
            self.keep(observer)?;
        }
        if interrupted {
            return Err(CompressError::Interrupted);
        }
        let progress = self.step as f64 / self.total_steps().max(1) as f64;
        let target = self.controller.target(progress, f64::from(self.rate()));
        self.steer(target);
        Ok(())
    }

    /// Keeps the state to go back to, or to go on from.
    fn keep(&mut self, observer: &mut dyn Observer) -> Result<(), CompressError> {
        // Two at a time would be several times the network.
        self.last_good = None;
        let snapshot = self.snapshot();
        if self.step > 0 {
            observer.save(Snapshot::Latest, &snapshot)?;
        }
        self.last_good = Some(snapshot);
        Ok(())
    }

    /// Moves the file towards `target` bytes: by coarser steps, or by a stronger pull once the network is sparse.
    fn steer(&mut self, target: f64) {
        let wanted = self.size.payload_bits(target, &self.layers);
        if self.will_pull && wanted < SPARSE * self.original_weights() as f64 {
            self.round();
            self.layers.iter_mut().for_each(Layer::refit);
            if self.pull.is_released() {
                let global = self.step_size;
                self.layers.iter_mut().for_each(|layer| layer.fix_step(global));
            }
            let error = (self.bits() / wanted).ln();
            self.pull.steer(error);
            if error >= 0.0 || !self.pull.is_slack() {
                return;
            }
        } else {
            self.pull.release();
        }
        for _ in 0..RESIZE_ROUNDS {
            self.round();
            self.resize(target, MAX_RESIZE);
        }
    }

    /// What the rate models expect of all layers.
    fn bits(&self) -> f64 {
        self.layers.iter().map(|layer| layer.rate.bits).sum()
    }

    /// One step of training, with the view of the batch if views come back; returns its loss.
    fn learn(&mut self, batch: &Batch, view: Option<usize>) -> Result<f64, CompressError> {
        self.assign();
        let logits = self.teachers.wanted(batch, view)?;
        let teacher = Teacher { logits: &logits, temperature: Teacher::TEMPERATURE, weight: DISTILLATION };
        let target = Target { labels: &batch.labels, smoothing: 0.0, teacher: Some(teacher) };
        let loss = self.network.gradients(batch, &target)?.loss;
        if loss.is_finite() {
            self.update();
        }
        Ok(loss)
    }

    fn update(&mut self) {
        let _timer = profile::timer("optimiser");
        let factor = self.rate_factor * self.rate();
        self.optimizer.begin_step();
        let pulled = !self.pull.is_released();
        let (mut squares, mut count) = (0.0, 0);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let gradient = self.network.gradient_mut(layer.weight);
            let (price, least_slope) = if pulled {
                // Where ones are the rule a zero costs more, and weights would gather at one.
                (self.pull.price(), layer.rate.unit_cost)
            } else {
                (layer.implied_price(self.step_size), 0.0)
            };
            squares += layer.latent_gradient(self.step_size, price, least_slope, gradient);
            count += gradient.len();
            let peak = if pulled { PULLED_RATE } else { LATENT_RATE };
            let rate = peak * factor * layer.step(self.step_size);
            self.optimizer.update(index, &mut layer.latent, gradient, rate, 0.0);
        }
        self.pull.feel(squares / count.max(1) as f64);
        for (index, &value) in (self.layers.len()..).zip(&self.others) {
            let mut floats = self.network.parameter(value).to_vec();
            self.optimizer.update(index, &mut floats, self.network.gradient(value), OTHER_RATE * factor, 0.0);
            self.network.set_parameter(value, &floats);
        }
    }

    /// The learning rate at this step, as a share of its peak.
    fn rate(&self) -> f32 {
        let schedule = Schedule::WarmupCosine { warmup: WARM_UP.min(self.total_steps() / 10), floor: 0.0 };
        schedule.factor(self.step, self.total_steps())
    }

    /// Gives the network what the latent weights are rounded to; the codes stay those of the last look at the size.
    fn assign(&mut self) {
        let _timer = profile::timer("quantiser");
        for layer in &self.layers {
            layer.write_rounded(self.step_size, self.network.parameter_mut(layer.weight));
        }
    }

    /// Rounds the latent weights and gives the network what they stand for.
    fn quantize(&mut self) {
        let _timer = profile::timer("quantiser");
        self.round();
        self.upload();
    }

    /// Rounds the latent weights.
    pub(crate) fn round(&mut self) {
        let global = self.step_size;
        self.layers.iter_mut().for_each(|layer| layer.quantize(global));
    }

    /// Gives the network the weights that the codes stand for.
    pub(crate) fn upload(&mut self) {
        for layer in &self.layers {
            layer.write_weights(&layer.codes, self.step_size, self.network.parameter_mut(layer.weight));
        }
    }

    /// Moves the quantiser's steps towards those at which the file has `target` bytes, by a factor of at most
    /// `limit`.
    fn resize(&mut self, target: f64, limit: f64) {
        self.layers.iter_mut().for_each(Layer::refit);
        let wanted = self.size.payload_bits(target, &self.layers);
        // Sparse layers lose bits faster than steps grow: the root keeps the loop from swinging.
        let factor = |bits: f64, wanted: f64| (bits / wanted).sqrt().clamp(1.0 / limit, limit) as f32;
        match self.options.method {
            Method::Joint => {
                self.step_size *= factor(self.bits(), wanted);
            }
            Method::Uniform => {
                let weights = self.original_weights();
                for layer in &mut self.layers {
                    let share = wanted * self.teachers.dense.parameter(layer.weight).len() as f64 / weights as f64;
                    layer.step_factor *= factor(layer.rate.bits, share);
                }
            }
        }
    }

    /// Finds the steps at which a file of the latent weights as they are has `bytes` bytes.
    pub(crate) fn solve(&mut self, bytes: f64) {
        for round in 1..=SOLVE_ROUNDS {
            self.round();
            if round % CALIBRATE_ROUNDS == 0 {
                self.layers.iter_mut().for_each(Layer::refit);
                self.size.calibrate(&self.layers);
            }
            self.resize(bytes, 2.0);
        }
        self.round();
    }

    /// Weights that are compressed, dead or alive.
    fn original_weights(&self) -> usize {
        self.layers.iter().map(|layer| self.teachers.dense.parameter(layer.weight).len()).sum()
    }

    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<(), CompressError> {
        self.quantize();
        self.layers.iter_mut().for_each(Layer::refit);
        self.size.calibrate(&self.layers);
        let evaluation = evaluate(&mut self.network, &self.data.validation, &self.options.normalization)?;
        let drop = self.dense_accuracy - evaluation.top1;
        let bytes = self.size.bytes(&self.layers);
        let nonzero: usize = self.layers.iter().map(|layer| layer.rate.nonzero).sum();
        observer.evaluated(&Metrics {
            step: self.step,
            epoch: self.step as f64 / self.steps_per_epoch() as f64,
            loss: self.losses.take_mean(),
            bytes: bytes as u64,
            validation: evaluation.top1,
            drop,
            sparsity: 1.0 - nonzero as f64 / self.original_weights() as f64,
            global_step: f64::from(self.step_size),
            pull: f64::from(self.pull.price()),
        });
        self.controller.observe(drop);
        self.evaluated = Some(self.step);
        let budget = &self.options.budget;
        let smaller = self.best.as_ref().is_none_or(|(best, _)| bytes < *best);
        if budget.max_drop.is_some() && budget.holds(self.parameters, bytes as usize, drop) && smaller {
            let mut snapshot = self.snapshot();
            snapshot.insert(BEST_BYTES, vec![bytes.to_bits()]);
            observer.save(Snapshot::Best, &snapshot)?;
            self.best = Some((bytes, snapshot));
        }
        Ok(())
    }

    fn roll_back(&mut self, rollbacks: u32, observer: &mut dyn Observer) -> Result<(), CompressError> {
        let Some(snapshot) = self.last_good.take().filter(|_| rollbacks <= MAX_ROLLBACKS) else {
            return Err(CompressError::Diverged { step: self.step, rollbacks });
        };
        let (from, rate_factor) = (self.step, 0.5 * self.rate_factor);
        self.restore(snapshot)?;
        self.rate_factor = rate_factor;
        observer.notice(&format!(
            "the loss diverged at step {from}: going on from step {} with {rate_factor} times the learning rate",
            self.step
        ));
        Ok(())
    }

    fn steps_per_epoch(&self) -> u64 {
        ((self.data.train.len() / self.options.batch) as u64).max(1)
    }

    fn steps_per_evaluation(&self) -> u64 {
        (self.steps_per_epoch() / EVALUATIONS_PER_EPOCH).next_multiple_of(RESIZE_STEPS)
    }

    fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.options.epochs)
    }

    /// Everything that decides what the remaining steps do.
    pub(crate) fn snapshot(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        let bits = |x: f64| x.to_bits();
        let scalars = vec![
            self.step,
            self.evaluated.map_or(0, |step| step + 1),
            bits(self.controller.state()),
            bits(self.size.overhead),
            bits(self.size.calibration),
            bits(self.dense_accuracy),
            bits(self.losses.sum),
            self.losses.count,
            bits(self.losses.level),
        ];
        checkpoint.insert("run.scalars", scalars);
        checkpoint.insert("run.steps", vec![self.step_size, self.rate_factor]);
        checkpoint.insert("run.pull", self.pull.state());
        let ranges = self.layers.iter().flat_map(|layer| [layer.step_range.0, layer.step_range.1]);
        checkpoint.insert("run.step_ranges", ranges.collect::<Vec<f32>>());
        checkpoint.insert("run.step_factors", self.layers.iter().map(|layer| layer.step_factor).collect::<Vec<f32>>());
        for (index, layer) in self.layers.iter().enumerate() {
            checkpoint.insert(format!("layer.{index}.latent"), layer.latent.clone());
            checkpoint.insert(format!("layer.{index}.codes"), layer.codes.clone());
        }
        checkpoint.insert("run.survivors", compact::to_integers(&self.survivors));
        checkpoint.insert("run.living", compact::to_integers(&self.living));
        self.network.save(&mut checkpoint);
        self.optimizer.save(&mut checkpoint);
        checkpoint
    }

    /// Takes up the best state that a run had kept when it stopped.
    ///
    /// # Errors
    /// If it is of another kind of run.
    pub fn restore_best(&mut self, checkpoint: Option<Checkpoint>) -> Result<(), CompressError> {
        self.best = match checkpoint {
            Some(checkpoint) => Some((checkpoint_bytes(&checkpoint)?, checkpoint)),
            None => None,
        };
        Ok(())
    }

    /// Takes up what the teachers had predicted when a run stopped.
    ///
    /// # Errors
    /// If it is of other images.
    pub fn restore_predictions(&mut self, checkpoint: Option<Checkpoint>) -> Result<(), CompressError> {
        checkpoint.map_or(Ok(()), |checkpoint| self.teachers.restore(&checkpoint))
    }

    /// Takes up a snapshot, so that the run goes on as if it had never stopped.
    ///
    /// # Errors
    /// If it is of another network or of another kind of run.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), CompressError> {
        let &[step, evaluated, controller, overhead, calibration, dense, sum, count, level] =
            checkpoint.integers("run.scalars")?
        else {
            return Err(CompressError::Mismatch("`run.scalars` has another length".into()));
        };
        let &[step_size, rate_factor] = checkpoint.floats("run.steps")? else {
            return Err(CompressError::Mismatch("`run.steps` has another length".into()));
        };
        let step_factors = checkpoint.floats("run.step_factors")?;
        let step_ranges = checkpoint.floats("run.step_ranges")?;
        if step_factors.len() != self.layers.len() || step_ranges.len() != 2 * self.layers.len() {
            return Err(CompressError::Mismatch("`run.step_factors` or `run.step_ranges` has another length".into()));
        }
        let survivors = compact::from_integers(checkpoint.integers("run.survivors")?)?;
        if survivors != self.survivors {
            self.expand(survivors)?;
        }
        self.living = compact::from_integers(checkpoint.integers("run.living")?)?;
        self.pull = Pull::from_state(checkpoint.integers("run.pull")?)
            .ok_or_else(|| CompressError::Mismatch("`run.pull` has another length".into()))?;
        self.step = step;
        self.evaluated = evaluated.checked_sub(1);
        self.controller.restore(f64::from_bits(controller));
        self.size = SizeModel { overhead: f64::from_bits(overhead), calibration: f64::from_bits(calibration) };
        self.dense_accuracy = f64::from_bits(dense);
        self.losses = Losses { sum: f64::from_bits(sum), count, level: f64::from_bits(level) };
        (self.step_size, self.rate_factor) = (step_size, rate_factor);
        let steps = step_factors.iter().zip(step_ranges.chunks_exact(2));
        for (index, (layer, (&step_factor, range))) in self.layers.iter_mut().zip(steps).enumerate() {
            (layer.step_factor, layer.step_range) = (step_factor, (range[0], range[1]));
            checkpoint.read_into(&format!("layer.{index}.latent"), &mut layer.latent)?;
            let codes = checkpoint.codes(&format!("layer.{index}.codes"))?;
            if codes.len() != layer.codes.len() {
                return Err(CompressError::Mismatch(format!("`layer.{index}.codes` has another length")));
            }
            layer.codes.copy_from_slice(codes);
        }
        self.network.restore(&checkpoint)?;
        self.optimizer.restore(&checkpoint)?;
        self.last_good = Some(checkpoint);
        Ok(())
    }
}

/// Whether training may have to go where weights shrink instead of steps growing.
fn will_pull(options: &Options, parameters: usize, layers: &[Layer]) -> bool {
    let weights: usize = layers.iter().map(|layer| layer.latent.len()).sum();
    let bits = options.budget.bytes(parameters).map(|bytes| 8.0 * bytes / weights as f64);
    options.method == Method::Joint && options.epochs > 0 && bits.is_none_or(|bits| bits < SPARSE)
}

/// Moments of all that is trained: of the layers' latent weights first.
pub(crate) fn optimizer(network: &Network, layers: &[Layer], others: &[ValueId]) -> Optimizer {
    let algorithm = Algorithm::AdamW { beta1: BETAS.0, beta2: BETAS.1, epsilon: 1e-12 };
    let lengths = layers.iter().map(|layer| layer.latent.len());
    Optimizer::new(algorithm, lengths.chain(others.iter().map(|&value| network.parameter(value).len())))
}

/// Entry of the estimated size in the snapshot of the best state.
const BEST_BYTES: &str = "run.best_bytes";

fn checkpoint_bytes(checkpoint: &Checkpoint) -> Result<f64, CompressError> {
    Ok(f64::from_bits(checkpoint.scalar(BEST_BYTES)?))
}

/// Watches the training loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Losses {
    /// Sum and number since the last evaluation.
    sum: f64,
    count: u64,
    /// Slow average; 0 before the first step.
    level: f64,
}

impl Losses {
    fn add(&mut self, loss: f64) {
        self.sum += loss;
        self.count += 1;
        self.level = if self.level == 0.0 { loss } else { 0.95 * self.level + 0.05 * loss };
    }

    fn take_mean(&mut self) -> f64 {
        let mean = self.sum / self.count.max(1) as f64;
        (self.sum, self.count) = (0.0, 0);
        mean
    }

    /// Whether a loss is beyond what noise explains.
    fn diverges(&self, loss: f64) -> bool {
        !loss.is_finite() || (self.level > 0.0 && loss > 20.0 * self.level + 5.0)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use gaunt_graph::zoo::{Arch, build};
    use gaunt_train::CheckpointError;

    use super::*;
    use crate::testing::{Deaf, digits, options};

    /// Stops a run while its teacher is asked about one view too many.
    struct Impatient {
        views: usize,
        state: Option<Checkpoint>,
        predictions: Option<Checkpoint>,
    }

    impl Observer for Impatient {
        fn phase(&mut self, name: &str) {
            self.views = self.views.saturating_sub(usize::from(name.contains("view")));
        }
        fn save(&mut self, which: Snapshot, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
            let to = if which == Snapshot::Predictions { &mut self.predictions } else { &mut self.state };
            *to = Some(checkpoint.clone());
            Ok(())
        }
        fn interrupted(&self) -> bool {
            self.views == 0
        }
    }

    #[test]
    fn a_run_that_was_stopped_while_its_teacher_was_asked_leaves_no_trace() {
        let (data, mut options, device) = (digits(), options(), Device::flex());
        (options.views, options.epochs) = (NonZeroUsize::new(2), 3);
        let graph = build(Arch::Lenet5, 10, [1, 8, 8], 0).unwrap();
        let run = || Run::new(&graph, &data, &options, &device, &mut Deaf).unwrap();
        let mut undisturbed = run();
        undisturbed.train(&mut Deaf).unwrap();

        let mut observer = Impatient { views: 2, state: None, predictions: None };
        let stopped = run().train(&mut observer).unwrap_err();
        assert!(matches!(stopped, CompressError::Interrupted), "{stopped}");
        let (state, predictions) = (observer.state.unwrap(), observer.predictions);
        assert!(predictions.is_some());
        for predictions in [None, predictions] {
            let mut resumed = run();
            resumed.restore(state.clone()).unwrap();
            resumed.restore_predictions(predictions).unwrap();
            assert_eq!(resumed.step, resumed.steps_per_epoch());
            resumed.train(&mut Deaf).unwrap();
            for (resumed, undisturbed) in resumed.layers.iter().zip(&undisturbed.layers) {
                assert_eq!(resumed.latent, undisturbed.latent);
            }
        }
    }

    #[test]
    fn losses_diverge_when_not_finite_or_far_off() {
        let mut losses = Losses::default();
        assert!(!losses.diverges(100.0));
        (0..10).for_each(|_| losses.add(0.5));
        assert!(!losses.diverges(3.0) && losses.diverges(16.0) && losses.diverges(f64::NAN));
        assert_eq!(losses.take_mean(), 0.5);
        assert_eq!(losses.take_mean(), 0.0);
    }
}
