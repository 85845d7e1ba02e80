//! `gaunt bench train`: steps of training, and where their time goes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use gaunt_compress::{Budget, ByteSize, Effort, Method, Observer, Options, Overrides, Run, TrainingData};
use gaunt_data::{Augment, Batch, Dataset, Normalization};
use gaunt_format::Metadata;
use gaunt_graph::{Graph, zoo};
use gaunt_train::{
    Device, Distillation, Isa, Network, Step, Teacher,
    optim::{Algorithm, Optimizer},
};
use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};
use serde::Serialize;

use super::{
    super::{
        args::{BenchTrain, PrecisionName},
        machine, print,
        table::table,
    },
    clock::{Clock, OpReport},
    peak_rss_bytes,
};

/// Decides weights and images.
const SEED: u64 = 0;
/// Channels of the images.
const CHANNELS: usize = 3;
/// Batches that plain steps take in turn.
const BATCHES: usize = 4;
/// What steps go by; the numbers do not change their cost.
const STEP: Step = Step {
    rate: 1e-3,
    weight_decay: 5e-4,
    smoothing: 0.0,
    distillation: Distillation { temperature: Teacher::TEMPERATURE, weight: 1.0 },
};
/// How small a compression makes the network, and so how many of its codes are zero.
const RATIO: f64 = 12.0;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    arch: String,
    /// Trainable ones.
    parameters: usize,
    mode: Mode,
    batch: u32,
    precision: PrecisionName,
    /// The instructions of the kernels.
    kernels: String,
    threads: usize,
    steps: u32,
    images_per_s: f64,
    step_ms: f64,
    peak_rss_bytes: Option<u64>,
    ops: Vec<OpReport>,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Forward, backward, SGD: what `gaunt train` does.
    Plain,
    /// A teacher of the same architecture, and AdamW: what a compression does, without its own.
    Teacher,
    /// The same with the quantiser and the rate model of a joint compression.
    Compress,
}

/// Measures and prints.
pub fn train(args: &BenchTrain) -> Result<()> {
    let device = machine::set_up(&args.machine)?;
    let report = measure(args, &device)?;
    print(&if args.json { serde_json::to_string(&report)? } else { text(&report) })
}

fn measure(args: &BenchTrain, device: &Device) -> Result<Report> {
    let mode = match (args.teacher, args.compress) {
        (_, true) => Mode::Compress,
        (true, _) => Mode::Teacher,
        _ => Mode::Plain,
    };
    let side = args.size as usize;
    let graph = zoo::build(args.arch, args.classes as usize, [CHANNELS, side, side], SEED)?;
    let network_of = || -> Result<Network> {
        Ok(Network::new(&graph, device)?.with_precision(args.precision.resolve(args.machine.device)))
    };
    let network = network_of()?;
    let lengths: Vec<usize> =
        network.parameters().iter().map(|parameter| network.parameter(parameter.value).len()).collect();
    let parameters = lengths.iter().sum();
    let clock = match mode {
        Mode::Plain => plain_steps(args, network, None, lengths)?,
        Mode::Teacher => plain_steps(args, network, Some(network_of()?), lengths)?,
        Mode::Compress => compressing_steps(args, &graph, device)?,
    };
    let step = clock.median().as_secs_f64();
    Ok(Report {
        arch: args.arch.to_string(),
        parameters,
        mode,
        batch: args.batch,
        precision: args.precision.resolved(args.machine.device),
        kernels: Isa::detect().to_string(),
        threads: rayon::current_num_threads(),
        steps: args.steps,
        images_per_s: f64::from(args.batch) / step,
        step_ms: 1e3 * step,
        peak_rss_bytes: peak_rss_bytes(),
        ops: clock.ops(),
    })
}

/// Steps on batches that lie ready.
fn plain_steps(
    args: &BenchTrain,
    mut network: Network,
    mut teacher: Option<Network>,
    lengths: Vec<usize>,
) -> Result<Clock> {
    let data = noise(args, BATCHES)?;
    let batches: Vec<Batch> = data.batches(args.batch as usize, &normalization()?)?.collect();
    let algorithm = if teacher.is_some() { Algorithm::ADAM_W } else { Algorithm::SGD };
    let mut optimizer = Optimizer::new(algorithm, lengths);
    let mut clock = Clock::start(args.steps as usize);
    for batch in batches.iter().cycle().take(clock.steps()) {
        let loss =
            STEP.take(&mut network, teacher.as_mut().map(|teacher| (teacher, batch)), &mut optimizer, batch)?.loss;
        ensure!(loss.is_finite(), "the loss stopped being a number, and steps without an update do not count");
        clock.tick();
    }
    Ok(clock)
}

/// Steps of a joint compression, which has its own loader and its own teacher.
fn compressing_steps(args: &BenchTrain, graph: &Graph, device: &Device) -> Result<Clock> {
    let mut clock = Clock::start(args.steps as usize);
    let data = TrainingData { train: Arc::new(noise(args, clock.steps())?), validation: Arc::new(noise(args, 1)?) };
    let options = Options {
        budget: Budget { ratio: Some(RATIO), ..Budget::default() },
        method: Method::Joint,
        overrides: Overrides::default(),
        epochs: 1,
        effort: Effort::default(),
        batch: args.batch as usize,
        precision: args.precision.resolve(args.machine.device),
        seed: SEED,
        normalization: normalization()?,
        augment: Augment { pad_crop: args.size as usize / 8, flip: true, ..Augment::NONE },
        views: None,
        metadata: Metadata::default(),
    };
    let mut run = Run::new(graph, &data, &options, device, &mut clock)?;
    run.train(&mut clock)?;
    Ok(clock)
}

impl Observer for Clock {
    fn stepped(&mut self, _: u64, _: u64, _: f64) {
        self.tick();
    }
}

/// Batches of random images with random classes.
fn noise(args: &BenchTrain, batches: usize) -> Result<Dataset> {
    let (side, images) = (args.size as usize, batches * args.batch as usize);
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut pixels = vec![0; images * CHANNELS * side * side];
    random.fill_bytes(&mut pixels);
    let labels = (0..images).map(|_| random.next_u32() as usize % args.classes as usize).collect();
    let classes: Vec<String> = (0..args.classes).map(|class| class.to_string()).collect();
    Ok(Dataset::new(pixels, [CHANNELS, side, side], labels, classes)?)
}

fn normalization() -> Result<Normalization> {
    Ok(Normalization::new(vec![0.5; CHANNELS], vec![0.25; CHANNELS])?)
}

/// The result for people.
fn text(report: &Report) -> String {
    let mut ops = table(&["operator", "ms", "share", "calls"]);
    for OpReport { op, ms, share, calls } in &report.ops {
        ops.add_row([op.to_string(), format!("{ms:.2}"), format!("{:.1} %", 100.0 * share), format!("{calls:.0}")]);
    }
    let memory = report.peak_rss_bytes.map_or(String::new(), |peak| format!(", {} at most", ByteSize(peak)));
    let Report { arch, parameters, batch, kernels, threads, steps, images_per_s, step_ms, .. } = report;
    format!(
        "{ops}\n\n{arch}, {parameters} parameters, batch {batch}, {kernels}, {threads} threads: {images_per_s:.1} images/s, \
         {step_ms:.1} ms a step (median of {steps}){memory}"
    )
}
