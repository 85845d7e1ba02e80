//! What a training step of VGG-16 costs, on images of 32x32, before and after its empty channels have left, with the dense network's
//! predictions in each step and with predictions that are kept. Seven tenths of the channels are empty, or the share that is given.
//!
//! ```text
//! cargo run --release -p gaunt-compress --example compaction
//! cargo run --release -p gaunt-compress --example compaction -- 0.8
//! ```

use std::{num::NonZeroUsize, sync::Arc, time::Instant};

use gaunt_compress::{Budget, Effort, Method, Observer, Options, Overrides, Run, TrainingData};
use gaunt_data::{Augment, Dataset, Normalization};
use gaunt_format::Metadata;
use gaunt_graph::{
    Graph, Tensor,
    zoo::{Arch, build},
};
use gaunt_train::{Device, Precision};

const BATCH: usize = 128;

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

impl Observer for Clock {
    fn stepped(&mut self, _: u64, _: u64, _: f64) {
        self.tick();
    }
    fn notice(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

/// Steps of an epoch: evaluations are 10 steps apart, and channels leave at the second.
const STEPS: usize = 20;

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
    let share = std::env::args().nth(1).map_or(Ok(0.7), |share| share.parse())?;
    let mut graph = build(Arch::Vgg16, 10, [3, 32, 32], 0)?;
    empty(&mut graph, share)?;
    println!("                    all channels   those alive");
    for (name, views) in [("predicting", None), ("with predictions", NonZeroUsize::new(1))] {
        let [before, after] = steps(&graph, views)?;
        println!("{name:16}  {:11.1} ms {:10.1} ms   {:.2} times faster", 1e3 * before, 1e3 * after, before / after);
    }
    Ok(())
}

/// Median step of the first epoch and of the second, in seconds.
fn steps(graph: &Graph, views: Option<NonZeroUsize>) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    let data = TrainingData { train: Arc::new(noise(BATCH * STEPS)?), validation: Arc::new(noise(BATCH)?) };
    let options = Options {
        budget: Budget { ratio: Some(150.0), ..Budget::default() },
        method: Method::Joint,
        overrides: Overrides::default(),
        epochs: 2,
        effort: Effort::default(),
        batch: BATCH,
        precision: Precision::Fp32,
        seed: 0,
        normalization: Normalization::new(vec![0.5; 3], vec![0.25; 3])?,
        augment: Augment { pad_crop: 4, flip: true, ..Augment::NONE },
        views,
        metadata: Metadata::default(),
    };
    let mut clock = Clock::default();
    Run::new(graph, &data, &options, &Device::flex(), &mut clock)?.train(&mut clock)?;
    Ok([&clock.steps[..STEPS - 1], &clock.steps[STEPS..]].map(|steps| median(steps.to_vec())))
}

/// Empties the last filters of every convolution, and what reads them.
fn empty(graph: &mut Graph, share: f64) -> Result<(), Box<dyn std::error::Error>> {
    for weight in graph.weights() {
        let value = &mut graph.values[weight.value.index()];
        let Some(tensor) = &value.tensor else { continue };
        let &[outputs, inputs, ref taps @ ..] = tensor.shape() else { continue };
        let taps: usize = taps.iter().product();
        // Neither classes nor colours go.
        let left = |channels: usize| if channels <= 10 { channels } else { ((1.0 - share) * channels as f64) as usize };
        let alive = |i: usize| i / taps / inputs < left(outputs) && i / taps % inputs < left(inputs);
        let floats = tensor.to_floats().into_iter().enumerate().map(|(i, w)| if alive(i) { w } else { 0.0 });
        value.tensor = Some(Tensor::new(tensor.shape().to_vec(), floats.collect())?);
    }
    Ok(())
}
