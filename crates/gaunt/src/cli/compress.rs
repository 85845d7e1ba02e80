//! `gaunt compress`: from a trained network to one small file within a budget.

use std::{fs, num::NonZeroUsize, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result, bail};
use gaunt_compress::{
    Budget, CompressError, Method, Metrics, Observer, Options, Outcome, Overrides, Run, Snapshot, TrainingData,
};
use gaunt_data::{Dataset, Normalization, Split};
use gaunt_format::{Golden, Metadata, Model, Provenance};
use gaunt_graph::Graph;
use gaunt_train::{Checkpoint, CheckpointError, Device};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    Ending,
    args::{Compress, EffortName, PrecisionName, Preset},
    data,
    inspect::{self, Report as FileReport},
    interrupt, machine,
    model::{self, Loaded},
    output, print, progress,
    run_dir::{Resumed, RunDir},
    table::table,
    teacher, verify,
};

/// Which golden input files get.
const GOLDEN_SEED: u32 = 1;

/// Everything that decides the bytes of the result; kept in the run directory.
#[derive(Debug, Serialize)]
struct Config {
    version: &'static str,
    model: String,
    model_bytes: u64,
    data: String,
    mean: Vec<f32>,
    std: Vec<f32>,
    target_size: Option<u64>,
    target_ratio: Option<f64>,
    max_drop: Option<f64>,
    epochs: u32,
    batch: u32,
    effort: EffortName,
    method: String,
    teacher: Option<String>,
    teacher_bytes: Option<u64>,
    views: Option<NonZeroUsize>,
    layers: String,
    turns: bool,
    precision: PrecisionName,
    seed: u64,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The file.
    pub out: String,
    /// Whether the budget holds.
    pub met: bool,
    /// Whether anything was trained.
    pub trained: bool,
    /// Accuracy on the validation split: the original, merely rounded to this size, and trained.
    pub validation: Validation,
    /// Accuracy on the test split: the original, and the written file read back.
    pub test: Test,
    /// What `gaunt inspect` says of the file.
    #[serde(flatten)]
    pub file: FileReport,
    /// Wall time of this part of the run.
    pub seconds: f64,
}

/// Accuracies on the validation split, in per cent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Validation {
    /// Of the original network.
    pub original: f64,
    /// Of the original rounded to the same size, without fine-tuning.
    pub before_tuning: f64,
    /// Of the file.
    pub after_tuning: f64,
}

/// Accuracies on the test split, in per cent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Test {
    /// Of the original network.
    pub original: f64,
    /// Of the file.
    pub file: f64,
}

/// Compresses, writes, checks and prints.
pub fn compress(args: &Compress) -> Result<Ending> {
    let device = machine::set_up(&args.run.machine)?;
    interrupt::listen();
    let loaded = model::load(&args.model, &args.data.input)?;
    let report = compress_to_file(args, &loaded, &device)?;
    print(&if args.run.json { serde_json::to_string(&report)? } else { text(&report) })?;
    Ok(if report.met { Ending::Done } else { Ending::OverBudget })
}

/// Compresses a network that is loaded, and reports on the written file.
pub fn compress_to_file(args: &Compress, loaded: &Loaded, device: &Device) -> Result<Report> {
    let started = Instant::now();
    let source = &args.data.data;
    let graph = &loaded.graph;
    let shape = data::input_shape(graph)?;
    // A finished run leaves its output; going on with it is not overwriting it.
    output::check(&args.out, args.run.force)?;
    let train = data::read(source, Split::Train, shape)?;
    data::check_classes(&train, graph, source)?;
    let known = loaded.normalization.as_ref();
    let normalization = data::normalization(&args.data.input, known, source, shape[0], || Ok(&train))?;
    let options = options(args, loaded, &normalization, &train)?;
    let teacher = args.teacher.as_deref().map(|path| second_teacher(path, args, &train, &normalization)).transpose()?;
    let config = config(args, loaded, teacher.as_ref(), &options)?;
    let (run_dir, resumed) = RunDir::open(&args.run, &args.out, &config)?;
    let validation = data::read(source, Split::Val, shape)?;
    let data = TrainingData { train: Arc::new(train), validation: Arc::new(validation) };

    let mut observer = Terminal::new(run_dir);
    let outcome = match args.method {
        Preset::Int8 => gaunt_compress::store(graph, &data, &options, device, &mut observer)?,
        Preset::Coded(_) => train_codes(graph, teacher.as_ref(), (&data, &options), device, resumed, &mut observer)?,
    };
    observer.bar.finish_and_clear();

    let bytes = file(&outcome, &options.metadata)?;
    output::write(&args.out, &bytes, args.run.force)?;
    observer.run_dir.finish()?;
    let test = data::read(source, Split::Test, shape)?;
    let test = evaluate_file(args, loaded, &outcome, &data.validation, &test, &normalization, device)?;
    let file = inspect::report(&bytes)?;
    let Outcome { dense, before_tuning, after_tuning, .. } = outcome;
    Ok(Report {
        out: args.out.display().to_string(),
        met: outcome.holds
            && options.budget.holds(loaded.original_parameters(), bytes.len(), outcome.dense - outcome.after_tuning),
        trained: args.trains(),
        validation: Validation { original: dense, before_tuning, after_tuning },
        test,
        file,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Another network to learn from, which must take images as the first one does.
fn second_teacher(path: &Path, args: &Compress, train: &Dataset, normalization: &Normalization) -> Result<Loaded> {
    let teacher = teacher::load(path, &args.data, train)?;
    if teacher.normalization.as_ref().is_some_and(|own| own != normalization) {
        bail!("teacher {}: was trained with another normalisation than the network", path.display());
    }
    Ok(teacher)
}

/// Trains codes, from a checkpoint if there is one, to the graph of the file.
fn train_codes(
    graph: &Graph,
    teacher: Option<&Loaded>,
    (data, options): (&TrainingData, &Options),
    device: &Device,
    resumed: Option<Resumed>,
    observer: &mut Terminal,
) -> Result<Outcome> {
    let mut run = Run::new(graph, data, options, device, observer)?;
    if let Some(teacher) = teacher {
        run.learn_from(&teacher.graph)?;
    }
    if let Some(resumed) = resumed {
        run.restore(resumed.latest)?;
        run.restore_best(resumed.best)?;
        run.restore_predictions(resumed.predictions)?;
        observer.notice("going on from the checkpoint");
    }
    if let Err(error) = run.train(observer) {
        observer.bar.finish_and_clear();
        return Err(match error {
            CompressError::Interrupted => {
                anyhow::anyhow!("interrupted; the state is saved, go on with the same command and --resume")
            }
            error => error.into(),
        });
    }
    Ok(run.finish(observer)?)
}

fn options(args: &Compress, loaded: &Loaded, normalization: &Normalization, train: &Dataset) -> Result<Options> {
    let overrides = match &args.layers {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
            Overrides::parse(&text).with_context(|| format!("{}", path.display()))?
        }
        None => Overrides::default(),
    };
    let weights =
        loaded.graph.weights().into_iter().filter_map(|weight| loaded.graph.value(weight.value).tensor.as_ref());
    let provenance = Provenance {
        tool: format!("gaunt {}", env!("CARGO_PKG_VERSION")),
        recipe: recipe(args),
        seed: args.run.seed,
        parameters: loaded.original_parameters() as u64,
        weights: weights.map(|tensor| tensor.len() as u64).sum(),
        accuracy: Some([PLANNED; 2]),
    };
    let outputs = loaded
        .graph
        .outputs
        .iter()
        .map(|&id| loaded.graph.value(id).shape.iter().map(|dim| dim.at(1)).product::<usize>());
    let metadata = Metadata {
        mean: normalization.mean().to_vec(),
        std: normalization.std().to_vec(),
        classes: train.classes().to_vec(),
        provenance,
        golden: Some(Golden { seed: GOLDEN_SEED, outputs: planned_outputs(outputs.sum()) }),
    };
    let [_, height, width] = train.shape();
    Ok(Options {
        budget: Budget { size: args.target_size.map(|size| size.0), ratio: args.target_ratio, max_drop: args.max_drop },
        method: if let Preset::Coded(method) = args.method { method } else { Method::default() },
        overrides,
        epochs: args.epochs,
        effort: args.effort.into(),
        batch: args.batch as usize,
        precision: args.run.precision.resolve(args.run.machine.device),
        seed: args.run.seed,
        normalization: normalization.clone(),
        augment: args.run.augment(&args.data.data, height.min(width)),
        views: args.views,
        metadata,
    })
}

/// Stands for a number that is not known yet; its mantissa is as hard to compress as any.
const PLANNED: f32 = 0.709_231_74;

/// Golden outputs that are not known yet, at the bytes that they will cost.
fn planned_outputs(count: usize) -> Vec<f32> {
    Golden::input(GOLDEN_SEED, count).into_iter().map(|x| (x + 0.1) * PLANNED).collect()
}

/// How the file was made, in a few words; it is kept in the file.
fn recipe(args: &Compress) -> String {
    let mut recipe = args.method.to_string();
    if args.method == Preset::Int8 {
        return recipe;
    }
    if let Some(size) = args.target_size {
        recipe += &format!(", size {}", size.0);
    }
    if let Some(ratio) = args.target_ratio {
        recipe += &format!(", ratio {ratio}");
    }
    if let Some(drop) = args.max_drop {
        recipe += &format!(", drop {drop}");
    }
    if args.teacher.is_some() {
        recipe += ", second teacher";
    }
    if let Some(views) = args.views {
        recipe += &format!(", {views} views");
    }
    recipe + &format!(", {} epochs", args.epochs)
}

fn config(args: &Compress, loaded: &Loaded, teacher: Option<&Loaded>, options: &Options) -> Result<Config> {
    Ok(Config {
        version: env!("CARGO_PKG_VERSION"),
        model: args.model.model.display().to_string(),
        model_bytes: loaded.file_bytes,
        data: args.data.data.to_string(),
        mean: options.normalization.mean().to_vec(),
        std: options.normalization.std().to_vec(),
        target_size: options.budget.size,
        target_ratio: options.budget.ratio,
        max_drop: options.budget.max_drop,
        epochs: args.epochs,
        batch: args.batch,
        effort: args.effort,
        method: args.method.to_string(),
        teacher: args.teacher.as_ref().map(|path| path.display().to_string()),
        teacher_bytes: teacher.map(|teacher| teacher.file_bytes),
        views: args.views,
        layers: args.layers.as_ref().map(fs::read_to_string).transpose()?.unwrap_or_default(),
        turns: args.run.turns,
        precision: args.run.precision.resolved(args.run.machine.device),
        seed: args.run.seed,
    })
}

/// The bytes of the file: the metadata that was planned, filled with what came out. Lengths do not change.
fn file(outcome: &Outcome, planned: &Metadata) -> Result<Vec<u8>> {
    let mut metadata = planned.clone();
    metadata.provenance.accuracy = Some([outcome.dense as f32, outcome.after_tuning as f32]);
    metadata.golden = Some(Golden { seed: GOLDEN_SEED, outputs: verify::golden_outputs(&outcome.graph, GOLDEN_SEED)? });
    Ok(Model { graph: outcome.graph.clone(), metadata }.to_bytes()?)
}

/// Reads the file back: it must classify every validation image as the trainer's last evaluation did. Then measures it,
/// and the original, on the test split.
fn evaluate_file(
    args: &Compress,
    loaded: &Loaded,
    outcome: &Outcome,
    validation: &Dataset,
    test: &Dataset,
    normalization: &Normalization,
    device: &Device,
) -> Result<Test> {
    let written: Graph = model::load_gaunt(&args.out)?.graph;
    let again = predict(&written, validation, normalization, "checking the written file")?;
    if let Some(image) = again.iter().zip(&outcome.predictions).position(|(now, then)| now != then) {
        bail!(
            "{}: the file as read back classifies validation image {image} otherwise than the trainer did",
            args.out.display()
        );
    }
    let predictions = predict(&written, test, normalization, "evaluating the written file")?;
    let spinner = progress::spinner("evaluating the original");
    let mut network = gaunt_train::Network::new(&loaded.graph, device)?;
    let original = gaunt_train::evaluate(&mut network, test, normalization)?.top1;
    spinner.finish_and_clear();
    Ok(Test { original, file: gaunt_compress::accuracy(&predictions, test) })
}

fn predict(graph: &Graph, images: &Dataset, normalization: &Normalization, what: &str) -> Result<Vec<usize>> {
    let bar = progress::bar(images.len() as u64, what);
    let predictions = gaunt_compress::predict(graph, images, normalization, &|done| bar.set_position(done as u64));
    bar.finish_and_clear();
    Ok(predictions?)
}

/// The result for people.
pub fn text(report: &Report) -> String {
    let Report { validation, test, file, .. } = report;
    let mut accuracies = table(&["", "bytes", "validation", "test"]);
    let mut row = |name: &str, bytes: usize, validation: f64, test: Option<f64>| {
        let test = test.map_or(String::new(), |test| format!("{test:.2} %"));
        accuracies.add_row([name.to_string(), bytes.to_string(), format!("{validation:.2} %"), test]);
    };
    row("original", 4 * file.parameters, validation.original, Some(test.original));
    if report.trained {
        row("rounded", file.file_bytes, validation.before_tuning, None);
    }
    row(if report.trained { "trained" } else { "rounded" }, file.file_bytes, validation.after_tuning, Some(test.file));
    let mut text = format!("{}\n\n{accuracies}", inspect::text(file));
    text += &format!(
        "\n\n{}: {:.2}x smaller, {:.2} points lost on validation, {:.2} on test, in {:.0} s",
        report.out,
        file.file_ratio,
        validation.original - validation.after_tuning,
        test.original - test.file,
        report.seconds
    );
    if !report.met {
        text += "\nthe budget is not met; this is the best file that was found";
    }
    text
}

/// Shows a run on the terminal and keeps it on disk.
struct Terminal {
    run_dir: RunDir,
    bar: ProgressBar,
    /// What the bar is about.
    phase: String,
}

/// The phase of the steps.
const TRAINING: &str = "compressing";

impl Terminal {
    fn new(run_dir: RunDir) -> Self {
        Self { run_dir, bar: progress::spinner(""), phase: String::new() }
    }

    /// Shows how much of the phase is done, on a bar of its own.
    fn advance(&mut self, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.finish_and_clear();
            self.bar = progress::bar(total, &self.phase);
            self.bar.reset_eta();
        }
        self.bar.set_position(done);
    }
}

impl Observer for Terminal {
    fn phase(&mut self, name: &str) {
        self.bar.finish_and_clear();
        self.bar = progress::spinner(name);
        self.phase = name.to_string();
    }

    fn progressed(&mut self, done: u64, total: u64) {
        self.advance(done, total);
    }

    fn stepped(&mut self, done: u64, total: u64, loss: f64) {
        if self.phase != TRAINING {
            self.phase(TRAINING);
        }
        self.advance(done, total);
        self.bar.set_prefix(format!("loss {loss:.3}"));
    }

    fn evaluated(&mut self, metrics: &Metrics) {
        let line = format!(
            "epoch {:5.1}  loss {:.4}  validation {:.2} % ({:+.2})  sparsity {:.1} %  about {} bytes",
            metrics.epoch,
            metrics.loss,
            metrics.validation,
            -metrics.drop,
            100.0 * metrics.sparsity,
            metrics.bytes
        );
        self.bar.suspend(|| eprintln!("{line}"));
        if let Err(error) = self.run_dir.log(metrics) {
            self.notice(&format!("metrics cannot be kept: {error:#}"));
        }
    }

    fn notice(&mut self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn save(&mut self, which: Snapshot, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        self.run_dir.save(which, checkpoint)
    }

    fn interrupted(&self) -> bool {
        interrupt::asked()
    }
}
