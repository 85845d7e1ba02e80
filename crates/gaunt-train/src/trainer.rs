//! Training a network from a data set: epochs, checkpoints, resume, and a way back when the loss explodes.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use gaunt_data::{Augment, Batch, Dataset, Epoch, Loader, LoaderOptions, Normalization};

use crate::{
    Checkpoint, Growth, Network, Parameter, Step, StepOutcome, TrainError, evaluate,
    optim::{Algorithm, Optimizer},
    schedule::Schedule,
};

/// Steps between the states in memory that a diverged run returns to. They also are the only states that are written
/// to disk, so that what happens never depends on the clock.
const SNAPSHOT_STEPS: usize = 50;

/// How often the rate is halved before the run is given up.
const MAX_ROLLBACKS: u64 = 8;

/// How a network is trained.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images in a batch.
    pub batch_size: usize,
    /// How gradients become steps.
    pub algorithm: Algorithm,
    /// The peak of the learning rate.
    pub rate: f32,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Decoupled weight decay, on weights only; see [`optim`](crate::optim).
    pub weight_decay: f32,
    /// Label smoothing, in `0..1`.
    pub smoothing: f32,
    /// How much a teacher counts, if there is one.
    pub distillation: Distillation,
    /// Decides the order of the images and their augmentation.
    pub seed: u64,
    /// Means and deviations of the images' channels.
    pub normalization: Normalization,
    /// How training images are varied.
    pub augment: Augment,
    /// Whether training images are small at first.
    pub growth: Option<Growth>,
    /// Where and when the state is written.
    pub checkpoints: Option<Checkpoints>,
}

/// How a student follows its teacher; see [`Teacher`](crate::Teacher).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// Softness of both distributions.
    pub temperature: f32,
    /// Share of the distillation in the loss.
    pub weight: f32,
}

/// Where and when the state of a run is written.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// Least time between two writes within an epoch. The end of an epoch always writes.
    pub interval: Duration,
    /// Continue from the file if it is there.
    pub resume: bool,
}

/// Hears of progress, and may ask to stop.
pub trait Progress {
    /// A step is done: its number from 1, how many there are, its loss in nats.
    fn on_step(&mut self, step: u64, total: u64, loss: f64) {
        let _ = (step, total, loss);
    }

    /// An epoch is done.
    fn on_epoch(&mut self, metrics: &EpochMetrics) {
        let _ = metrics;
    }

    /// The loss at `from` stopped being a number; the run goes on from `to` with this share of the planned rate.
    fn on_rollback(&mut self, from: u64, to: u64, rate_share: f32) {
        let _ = (from, to, rate_share);
    }

    /// Asked after every step. A stopped run has written its state and can be resumed.
    fn should_stop(&self) -> bool {
        false
    }
}

/// Silence.
impl Progress for () {}

/// What an epoch brought.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochMetrics {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean training loss, in nats.
    pub loss: f64,
    /// Training images that were classified correctly when they were seen, in per cent.
    pub train_top1: f64,
    /// Accuracy on the validation images, in per cent, if there are any.
    pub validation_top1: Option<f64>,
    /// The learning rate of the last step.
    pub rate: f32,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutcome {
    /// Whether [`Progress::should_stop`] ended it before its last step.
    pub stopped: bool,
    /// Steps that are behind the network, counted over all resumed parts.
    pub steps: u64,
    /// The epochs of this part of the run.
    pub epochs: Vec<EpochMetrics>,
}

/// Trains `network` on `training`, with `teacher` if there is one, and looks at `validation` after each epoch. While images grow the teacher
/// sees them at their own size, for which it was trained.
///
/// The outcome is a function of network, data and options: the number of threads, interruptions and resumes leave no
/// trace in it. If the loss stops being a finite number, the run returns to a state at most 50 steps back and goes
/// on with half the learning rate.
///
/// # Errors
/// If options, data and network do not fit together, a checkpoint cannot be written or belongs to another run, or
/// the loss diverges whatever the rate.
pub fn train(
    network: &mut Network,
    teacher: Option<&mut Network>,
    training: &Arc<Dataset>,
    validation: Option<&Dataset>,
    options: &TrainOptions,
    progress: &mut dyn Progress,
) -> Result<TrainOutcome, TrainError> {
    let mut run = Run::new(network, teacher, training, options)?;
    run.resume()?;
    let mut outcome = TrainOutcome { stopped: false, steps: 0, epochs: Vec::new() };
    while !outcome.stopped && run.epoch() < options.epochs {
        match run.train_epoch(progress)? {
            Pass::Complete(metrics) => {
                let metrics = EpochMetrics { validation_top1: run.validate(validation)?, ..metrics };
                progress.on_epoch(&metrics);
                outcome.epochs.push(metrics);
                outcome.stopped = progress.should_stop() && run.epoch() < options.epochs;
            }
            Pass::Diverged => run.roll_back(progress)?,
            Pass::Stopped => outcome.stopped = true,
        }
    }
    run.full_grown()?;
    outcome.steps = run.state.step;
    Ok(outcome)
}

/// How a pass over the images ended.
enum Pass {
    Complete(EpochMetrics),
    Diverged,
    Stopped,
}

/// What a checkpoint holds besides the network and the optimiser.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Steps done.
    step: u64,
    /// How often the rate has been halved.
    rollbacks: u64,
    sums: Sums,
}

/// Over the images of the epoch so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    loss: f64,
    images: u64,
    correct: u64,
}

/// Height and width of the images of a data set.
fn full_size(dataset: &Dataset) -> [usize; 2] {
    let [_, height, width] = dataset.shape();
    [height, width]
}

/// Batches of the training images at a size; smaller images move by fewer pixels and lose fewer.
fn loader(training: &Arc<Dataset>, options: &TrainOptions, size: [usize; 2]) -> Result<Loader, TrainError> {
    let full = full_size(training);
    let images = if size == full { training.clone() } else { Arc::new(training.resized(size)?) };
    let scaled = |pixels: usize| (pixels * size[0]).div_ceil(full[0].max(1));
    let Augment { pad_crop, cutout, .. } = options.augment;
    let options = LoaderOptions {
        batch_size: options.batch_size,
        seed: options.seed,
        normalization: options.normalization.clone(),
        augment: Augment { pad_crop: scaled(pad_crop), cutout: scaled(cutout), ..options.augment },
        views: None,
        drop_last: training.len() > options.batch_size,
    };
    Ok(Loader::new(&images, options)?)
}

/// Fails if the network cannot take a size that images will have: an hour later would be too late.
fn check_growth(network: &mut Network, growth: Growth, epochs: usize, full: [usize; 2]) -> Result<(), TrainError> {
    let mut sizes: Vec<[usize; 2]> = (0..epochs).map(|epoch| growth.size(epoch, epochs, full)).collect();
    sizes.dedup();
    let fits = sizes.into_iter().try_for_each(|[height, width]| {
        network.resize_images([height, width]).map_err(|error| {
            let first = growth.first;
            TrainError::Options(format!(
                "images that grow from {first} pixels come to {height}x{width}, which the network does not take ({error}); begin at another size"
            ))
        })
    });
    network.resize_images(full)?;
    fits
}

struct Run<'a> {
    network: &'a mut Network,
    teacher: Option<&'a mut Network>,
    options: &'a TrainOptions,
    training: &'a Arc<Dataset>,
    /// Of the images at the size of the epoch.
    loader: Loader,
    size: [usize; 2],
    optimizer: Optimizer,
    state: State,
    /// What a diverged run returns to, and what is written.
    snapshot: Checkpoint,
    written: Instant,
}

impl<'a> Run<'a> {
    fn new(
        network: &'a mut Network,
        teacher: Option<&'a mut Network>,
        training: &'a Arc<Dataset>,
        options: &'a TrainOptions,
    ) -> Result<Self, TrainError> {
        let size = full_size(training);
        if let Some(growth) = options.growth {
            check_growth(network, growth, options.epochs, size)?;
        }
        let loader = loader(training, options, size)?;
        let lengths = network.parameters().iter().map(|parameter| network.parameter(parameter.value).len());
        let optimizer = Optimizer::new(options.algorithm, lengths);
        if loader.steps() == 0 {
            return Err(TrainError::Options("there are no images to train on".into()));
        }
        let (state, snapshot, written) = (State::default(), Checkpoint::new(), Instant::now());
        let mut run = Self { network, teacher, options, training, loader, size, optimizer, state, snapshot, written };
        run.snapshot = run.checkpoint();
        Ok(run)
    }

    fn total_steps(&self) -> u64 {
        (self.options.epochs * self.loader.steps()) as u64
    }

    /// Epochs done.
    fn epoch(&self) -> usize {
        self.state.step as usize / self.loader.steps()
    }

    fn rate_share(&self) -> f32 {
        0.5f32.powi(self.state.rollbacks as i32)
    }

    fn rate(&self) -> f32 {
        let factor = self.options.schedule.factor(self.state.step, self.total_steps());
        self.options.rate * factor * self.rate_share()
    }

    /// From where the run is to the end of the epoch.
    fn train_epoch(&mut self, progress: &mut dyn Progress) -> Result<Pass, TrainError> {
        let (epoch, steps) = (self.epoch(), self.loader.steps());
        self.grow(epoch)?;
        let first = self.state.step as usize - epoch * steps;
        let mut views = self.views(epoch, first)?;
        for (step, batch) in (first + 1..).zip(self.loader.epoch(epoch, first)) {
            let rate = self.rate();
            let view = views.as_mut().and_then(Iterator::next);
            let Some(loss) = self.step(&batch, view.as_ref(), rate)? else { return Ok(Pass::Diverged) };
            progress.on_step(self.state.step, self.total_steps(), loss);
            if step == steps {
                let metrics = self.finish_epoch(epoch + 1, rate);
                return self.keep(true).map(|sound| if sound { Pass::Complete(metrics) } else { Pass::Diverged });
            }
            if step.is_multiple_of(SNAPSHOT_STEPS) && !self.keep(false)? {
                return Ok(Pass::Diverged);
            }
            if progress.should_stop() {
                self.write()?;
                return Ok(Pass::Stopped);
            }
        }
        Ok(Pass::Stopped)
    }

    /// The batches of an epoch at the images' own size, for the teacher, while the network's are smaller.
    fn views(&self, epoch: usize, first: usize) -> Result<Option<Epoch>, TrainError> {
        let full = full_size(self.training);
        if self.teacher.is_none() || self.size == full {
            return Ok(None);
        }
        Ok(Some(loader(self.training, self.options, full)?.epoch(epoch, first)))
    }

    /// One step of training, of which the teacher sees `view` if there is one; its loss, or nothing if it is not a finite number.
    fn step(&mut self, batch: &Batch, view: Option<&Batch>, rate: f32) -> Result<Option<f64>, TrainError> {
        let TrainOptions { weight_decay, smoothing, distillation, .. } = *self.options;
        let step = Step { rate, weight_decay, smoothing, distillation };
        let teacher = self.teacher.as_deref_mut().map(|teacher| (teacher, view.unwrap_or(batch)));
        let StepOutcome { loss, correct } = step.take(self.network, teacher, &mut self.optimizer, batch)?;
        if !loss.is_finite() {
            return Ok(None);
        }
        self.state.step += 1;
        self.state.sums.loss += loss * batch.len() as f64;
        self.state.sums.images += batch.len() as u64;
        self.state.sums.correct += correct as u64;
        Ok(Some(loss))
    }

    fn finish_epoch(&mut self, epoch: usize, rate: f32) -> EpochMetrics {
        let Sums { loss, images, correct } = std::mem::take(&mut self.state.sums);
        let images = images.max(1) as f64;
        EpochMetrics {
            epoch,
            loss: loss / images,
            train_top1: 100.0 * correct as f64 / images,
            validation_top1: None,
            rate,
        }
    }

    /// Brings network and batches to the size of the images of an epoch. Batches stay as they are while that does.
    fn grow(&mut self, epoch: usize) -> Result<(), TrainError> {
        let Some(growth) = self.options.growth else { return Ok(()) };
        let size = growth.size(epoch, self.options.epochs, full_size(self.training));
        self.network.resize_images(size)?;
        if size != self.size {
            self.loader = loader(self.training, self.options, size)?;
            self.size = size;
        }
        Ok(())
    }

    /// Brings the network back to the size that it came with.
    fn full_grown(&mut self) -> Result<(), TrainError> {
        match self.options.growth {
            Some(_) => self.network.resize_images(full_size(self.training)),
            None => Ok(()),
        }
    }

    fn validate(&mut self, validation: Option<&Dataset>) -> Result<Option<f64>, TrainError> {
        self.full_grown()?;
        let Some(validation) = validation else { return Ok(None) };
        Ok(Some(evaluate(self.network, validation, &self.options.normalization)?.top1))
    }

    /// Keeps the state in memory, and on disk if it is time; false if it is not worth keeping.
    fn keep(&mut self, end_of_epoch: bool) -> Result<bool, TrainError> {
        let parameters = self.network.parameters().iter();
        let finite = |parameter: &Parameter| self.network.parameter(parameter.value).iter().all(|x| x.is_finite());
        if !parameters.clone().all(finite) {
            return Ok(false);
        }
        // Two at a time would be several times the network.
        self.snapshot = Checkpoint::new();
        self.snapshot = self.checkpoint();
        let due = |checkpoints: &Checkpoints| end_of_epoch || self.written.elapsed() >= checkpoints.interval;
        if self.options.checkpoints.as_ref().is_some_and(due) {
            self.write()?;
        }
        Ok(true)
    }

    fn write(&mut self) -> Result<(), TrainError> {
        if let Some(checkpoints) = &self.options.checkpoints {
            self.snapshot.save(&checkpoints.path)?;
            self.written = Instant::now();
        }
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        self.network.save(&mut checkpoint);
        self.optimizer.save(&mut checkpoint);
        let State { step, rollbacks, sums: Sums { loss, images, correct } } = self.state;
        checkpoint.insert("train.state", vec![step, rollbacks, loss.to_bits(), images, correct]);
        checkpoint.insert("train.options", self.fingerprint().into_bytes());
        checkpoint
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let (found, expected) = (checkpoint.bytes("train.options")?, self.fingerprint());
        if found != expected.as_bytes() {
            let found = String::from_utf8_lossy(found);
            let reason =
                format!("the checkpoint is of a run with {found}, but this run has {expected}; remove it or go back");
            return Err(TrainError::Options(reason));
        }
        let &[step, rollbacks, loss, images, correct] = checkpoint.integers("train.state")? else {
            return Err(TrainError::Options("`train.state` of the checkpoint has another length".into()));
        };
        self.state = State { step, rollbacks, sums: Sums { loss: f64::from_bits(loss), images, correct } };
        self.network.restore(checkpoint)?;
        self.optimizer.restore(checkpoint)?;
        Ok(())
    }

    /// Everything that must be the same for a checkpoint to be taken up.
    fn fingerprint(&self) -> String {
        let options = TrainOptions { checkpoints: None, ..self.options.clone() };
        let (steps, teacher, precision) = (self.loader.steps(), self.teacher.is_some(), self.network.precision());
        format!("{steps} steps per epoch, a teacher: {teacher}, {precision:?}, {options:?}")
    }

    fn resume(&mut self) -> Result<(), TrainError> {
        let options = self.options;
        if let Some(checkpoints) = options.checkpoints.as_ref().filter(|file| file.resume && file.path.exists()) {
            let checkpoint = Checkpoint::load(&checkpoints.path)?;
            self.restore(&checkpoint)?;
            self.snapshot = checkpoint;
            log::info!("resumed at step {} of {}", self.state.step, self.total_steps());
        }
        Ok(())
    }

    /// Returns to the last good state, with half the rate.
    fn roll_back(&mut self, progress: &mut dyn Progress) -> Result<(), TrainError> {
        let (from, rollbacks) = (self.state.step + 1, self.state.rollbacks + 1);
        if rollbacks > MAX_ROLLBACKS {
            return Err(TrainError::Diverged { attempts: rollbacks, step: from });
        }
        let snapshot = self.snapshot.clone();
        self.restore(&snapshot)?;
        self.state.rollbacks = rollbacks;
        let to = self.state.step;
        log::warn!("the loss at step {from} is not a number: back to step {to} with {} of the rate", self.rate_share());
        progress.on_rollback(from, to, self.rate_share());
        Ok(())
    }
}
