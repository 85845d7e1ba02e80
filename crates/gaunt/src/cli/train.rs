//! `gaunt train`: a network of the zoo from scratch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use gaunt_data::{Augment, Dataset, Normalization, OpenOptions, Split, Validation, open_split};
use gaunt_graph::{Graph, weights, zoo};
use gaunt_train::{
    Checkpoints, Device, Distillation, EpochMetrics, Growth, Network, Precision, Progress, Teacher, TrainOptions,
    evaluate, optim::Algorithm, schedule::Schedule,
};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    args::{PrecisionName, Train},
    data, interrupt, machine,
    model::{self, INFO_KEY, Loaded, StateDictInfo},
    output, print, progress,
    run_dir::RunDir,
    teacher,
};

/// Time between checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(120);
/// Share of the epochs in which images grow, if they do.
const GROWING: f64 = 0.7;

#[derive(Serialize)]
struct Config {
    version: &'static str,
    arch: String,
    data: String,
    epochs: u32,
    batch: u32,
    rate: f32,
    warm_up: f64,
    decay: f32,
    smoothing: f64,
    first_size: Option<u32>,
    cutout: u32,
    teacher: Option<String>,
    teacher_bytes: Option<u64>,
    teacher_share: f64,
    turns: bool,
    validation: f64,
    precision: PrecisionName,
    seed: u64,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    out: String,
    parameters: usize,
    /// `null` where no images were kept for validation.
    validation: Option<f64>,
    test: f64,
    seconds: f64,
}

/// Trains, writes and prints.
pub fn train(args: &Train) -> Result<()> {
    let device = machine::set_up(&args.run.machine)?;
    interrupt::listen();
    let report = train_to_file(args, &device)?;
    print(&if args.run.json { serde_json::to_string(&report)? } else { text(&report) })
}

/// The result for people.
pub fn text(report: &Report) -> String {
    let validation = report.validation.map_or(String::new(), |top1| format!("{top1:.2} % on validation, "));
    let Report { out, parameters, test, seconds, .. } = report;
    format!("{out}: {parameters} parameters, {validation}{test:.2} % on test, in {seconds:.0} s")
}

/// Trains and writes.
pub fn train_to_file(args: &Train, device: &Device) -> Result<Report> {
    let started = Instant::now();
    if args.out.extension().is_none_or(|extension| extension != "safetensors") {
        bail!("{}: the ending must be .safetensors", args.out.display());
    }
    output::check(&args.out, args.run.force)?;
    let source = &args.data.data;
    let read = |split| -> Result<Dataset> {
        let size = args.data.input.size.map(|size| [size as usize; 2]);
        let validation = Validation::Fraction(args.validation);
        Ok(open_split(source, split, &OpenOptions { size, validation, ..OpenOptions::default() })?)
    };
    let training = Arc::new(read(Split::Train)?);
    let validation = if args.validation > 0.0 { Some(read(Split::Val)?) } else { None };
    let shape = training.shape();
    let teacher = args.teacher.as_deref().map(|path| teacher::load(path, &args.data, &training)).transpose()?;
    let taught = teacher.as_ref().and_then(|teacher| teacher.normalization.as_ref());
    let normalization = data::normalization(&args.data.input, taught, source, shape[0], || Ok(&*training))?;
    if taught.is_some_and(|taught| *taught != normalization) {
        bail!(
            "the teacher was trained with another normalisation than --mean and --std say; leave them out to use its own"
        );
    }
    let graph = initial(args, training.classes().len(), shape)?;
    let images = (&training, validation.as_ref());
    let mut network = train_graph(args, &graph, teacher.as_ref(), images, &normalization, device)?;
    let trained = network.to_graph();
    output::write(&args.out, &state_dict(args, &trained, shape, &normalization)?, args.run.force)?;
    let mut top1 = |images: &Dataset| -> Result<f64> { Ok(evaluate(&mut network, images, &normalization)?.top1) };
    let (validation, test) = (validation.as_ref().map(&mut top1).transpose()?, top1(&read(Split::Test)?)?);
    Ok(Report {
        out: args.out.display().to_string(),
        parameters: trained.parameter_count(),
        validation,
        test,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn initial(args: &Train, classes: usize, shape: [usize; 3]) -> Result<Graph> {
    let mut graph = zoo::build(args.arch, classes, shape, args.run.seed)?;
    if let Some(path) = &args.init {
        let at = || format!("{}", path.display());
        if weights::transfer_into(&mut graph, &model::state_dict(path)?).with_context(at)? {
            eprintln!("{}: its classifier is of other classes, and is learnt anew", path.display());
        }
    }
    Ok(graph)
}

fn train_graph(
    args: &Train,
    graph: &Graph,
    teacher: Option<&Loaded>,
    (training, validation): (&Arc<Dataset>, Option<&Dataset>),
    normalization: &Normalization,
    device: &Device,
) -> Result<Network> {
    let config = Config {
        version: env!("CARGO_PKG_VERSION"),
        arch: args.arch.to_string(),
        data: args.data.data.to_string(),
        epochs: args.epochs,
        batch: args.batch,
        rate: args.rate,
        warm_up: args.warm_up,
        decay: args.decay,
        smoothing: args.smoothing,
        first_size: args.first_size,
        cutout: args.cutout,
        teacher: args.teacher.as_ref().map(|path| path.display().to_string()),
        teacher_bytes: teacher.map(|teacher| teacher.file_bytes),
        teacher_share: args.teacher_share,
        turns: args.run.turns,
        validation: args.validation,
        precision: args.run.precision.resolved(args.run.machine.device),
        seed: args.run.seed,
    };
    let run_dir = RunDir::create(&args.run, &args.out, &config)?;
    let [_, height, width] = training.shape();
    let options = TrainOptions {
        epochs: args.epochs as usize,
        batch_size: args.batch as usize,
        algorithm: Algorithm::SGD,
        rate: args.rate,
        schedule: Schedule::OneCycle { rise: args.warm_up },
        weight_decay: args.decay,
        smoothing: args.smoothing as f32,
        distillation: Distillation { temperature: Teacher::TEMPERATURE, weight: args.teacher_share as f32 },
        seed: args.run.seed,
        normalization: normalization.clone(),
        augment: Augment { cutout: args.cutout as usize, ..args.run.augment(&args.data.data, height.min(width)) },
        growth: args.first_size.map(|first| Growth { first: first as usize, share: GROWING }),
        checkpoints: Some(Checkpoints {
            path: run_dir.latest(),
            interval: CHECKPOINT_INTERVAL,
            resume: args.run.resume,
        }),
    };
    let compiled = |graph| -> Result<Network> {
        Ok(Network::new(graph, device)?.with_precision(args.run.precision.resolve(args.run.machine.device)))
    };
    let (mut network, mut teacher) = (compiled(graph)?, teacher.map(|teacher| compiled(&teacher.graph)).transpose()?);
    let mut terminal = Terminal { bar: progress::spinner("training"), run_dir };
    let outcome = gaunt_train::train(&mut network, teacher.as_mut(), training, validation, &options, &mut terminal)?;
    terminal.bar.finish_and_clear();
    if outcome.stopped {
        bail!("interrupted; the state is saved, go on with the same command and --resume");
    }
    terminal.run_dir.finish()?;
    network.set_precision(Precision::Fp32);
    Ok(network)
}

/// The trained weights under the names of PyTorch's state dicts, with what `eval` and `compress` need to know.
fn state_dict(args: &Train, graph: &Graph, input: [usize; 3], normalization: &Normalization) -> Result<Vec<u8>> {
    let info = StateDictInfo {
        arch: args.arch.to_string(),
        input,
        mean: normalization.mean().to_vec(),
        std: normalization.std().to_vec(),
    };
    Ok(weights::write_safetensors(graph, Some((INFO_KEY, &serde_json::to_string(&info)?)))?)
}

struct Terminal {
    bar: ProgressBar,
    run_dir: RunDir,
}

impl Progress for Terminal {
    fn on_step(&mut self, step: u64, total: u64, loss: f64) {
        if self.bar.length() != Some(total) {
            self.bar.finish_and_clear();
            self.bar = progress::bar(total, "training");
        }
        self.bar.set_position(step);
        self.bar.set_prefix(format!("loss {loss:.3}"));
    }

    fn on_epoch(&mut self, metrics: &EpochMetrics) {
        let validation = metrics.validation_top1.map_or(String::new(), |top1| format!("  validation {top1:.2} %"));
        let EpochMetrics { epoch, loss, train_top1, .. } = metrics;
        self.bar.suspend(|| eprintln!("epoch {epoch:3}  loss {loss:.4}  training {train_top1:.2} %{validation}"));
        let line = EpochLine { epoch: *epoch, loss: *loss, train: *train_top1, validation: metrics.validation_top1 };
        if let Err(error) = self.run_dir.log(&line) {
            self.bar.suspend(|| eprintln!("metrics cannot be kept: {error:#}"));
        }
    }

    fn on_rollback(&mut self, from: u64, to: u64, rate_share: f32) {
        self.bar.suspend(|| {
            eprintln!(
                "the loss diverged at step {from}: going on from step {to} with {rate_share} times the learning rate"
            );
        });
    }

    fn should_stop(&self) -> bool {
        interrupt::asked()
    }
}

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
struct EpochLine {
    epoch: usize,
    loss: f64,
    train: f64,
    validation: Option<f64>,
}
