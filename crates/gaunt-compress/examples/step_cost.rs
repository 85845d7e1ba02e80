//! What compression adds to a training step: quantiser, rate model and their optimiser, against plain training with
//! the same teacher, on ResNet-20 with 32x32 images, in turn.
//!
//! ```text
//! cargo run --release -p gaunt-compress --example step_cost
//! ```

use std::{sync::Arc, time::Instant};

use gaunt_compress::{Budget, Method, Metrics, Observer, Options, Overrides, Run, Snapshot, TrainingData};
use gaunt_data::{Augment, Dataset, Normalization};
use gaunt_format::Metadata;
use gaunt_graph::zoo::{Arch, build};
use gaunt_train::{
    Checkpoint, CheckpointError, Device, Distillation, Network, Progress, TrainOptions, optim::Algorithm,
    schedule::Schedule, train,
};

const BATCH: usize = 128;
const STEPS: usize = 12;
const ROUNDS: usize = 3;

/// Times from step to step, in seconds.
#[derive(Default)]
struct Clock {
    last: Option<Instant>,
    steps: Vec<f64>,
}

impl Clock {
    fn tick(&mut self) {
        let now = Instant::now();
        self.steps.extend(self.last.map(|last| (now - last).as_secs_f64()));
        self.last = Some(now);
    }
}

impl Progress for Clock {
    fn on_step(&mut self, _: u64, _: u64, _: f64) {
        self.tick();
    }
}

impl Observer for Clock {
    fn phase(&mut self, _: &str) {}
    fn stepped(&mut self, _: u64, _: u64, _: f64) {
        self.tick();
    }
    fn evaluated(&mut self, _: &Metrics) {}
    fn notice(&mut self, _: &str) {}
    fn save(&mut self, _: Snapshot, _: &Checkpoint) -> Result<(), CheckpointError> {
        Ok(())
    }
    fn interrupted(&self) -> bool {
        false
    }
}

fn noise(images: usize) -> Result<Dataset, Box<dyn std::error::Error>> {
    let pixels = (0..images * 3 * 32 * 32).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let labels = (0..images).map(|i| i % 10).collect();
    let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
    Ok(Dataset::new(pixels, [3, 32, 32], labels, classes)?)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex();
    let graph = build(Arch::Resnet20, 10, [3, 32, 32], 0)?;
    let normalization = Normalization::new(vec![0.5; 3], vec![0.25; 3])?;
    let augment = Augment { pad_crop: 4, flip: true };
    let data = TrainingData { train: Arc::new(noise(BATCH * STEPS)?), validation: Arc::new(noise(BATCH)?) };
    let options = Options {
        budget: Budget { ratio: Some(12.0), ..Budget::default() },
        method: Method::Joint,
        overrides: Overrides::default(),
        epochs: 1,
        batch: BATCH,
        seed: 0,
        normalization: normalization.clone(),
        augment,
        metadata: Metadata::default(),
    };
    let plain_options = TrainOptions {
        epochs: 1,
        batch_size: BATCH,
        algorithm: Algorithm::ADAM_W,
        rate: 5e-4,
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        smoothing: 0.0,
        distillation: Distillation { temperature: 3.0, weight: 1.0 },
        seed: 0,
        normalization,
        augment,
        checkpoints: None,
    };
    let (mut plain, mut compressing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut clock = Clock::default();
        let (mut student, mut teacher) = (Network::new(&graph, &device)?, Network::new(&graph, &device)?);
        train(&mut student, Some(&mut teacher), &data.train, None, &plain_options, &mut clock)?;
        plain.extend(clock.steps);
        let mut clock = Clock::default();
        let mut run = Run::new(&graph, &data, &options, &device, &mut clock)?;
        run.train(&mut clock)?;
        compressing.extend(clock.steps);
    }
    let (plain, compressing) = (median(plain), median(compressing));
    println!("plain step with teacher  {:7.1} ms", 1e3 * plain);
    println!("compressing step         {:7.1} ms, {:+.1} %", 1e3 * compressing, 100.0 * (compressing / plain - 1.0));
    Ok(())
}
