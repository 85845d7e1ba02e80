//! `gaunt bench infer`: how fast a file runs, and in how much memory.

use std::time::{Duration, Instant};

use anyhow::Result;
use gaunt_format::Golden;
use gaunt_graph::Graph;
use gaunt_runtime::Session;
use serde::Serialize;

use super::{
    super::{args::BenchInfer, model, print, table::table},
    peak_rss_bytes,
};

/// Decides the input.
const SEED: u32 = 1;
/// Runs before those that count: memory is laid out, and the processor reaches its speed.
const WARM_UP: usize = 3;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    batch: u32,
    runs: u32,
    /// Time to make a session of the file, once it is read.
    open_ms: f64,
    /// Of the runs, on one thread.
    median_ms: f64,
    fastest_ms: f64,
    slowest_ms: f64,
    images_per_s: f64,
    /// Weights that are not zero, with their places, and biases.
    weight_bytes: usize,
    /// Maps and work space.
    activation_bytes: usize,
    peak_rss_bytes: Option<u64>,
}

/// Measures and prints.
pub fn infer(args: &BenchInfer) -> Result<()> {
    let report = measure(args)?;
    print(&if args.json { serde_json::to_string(&report)? } else { text(&report) })
}

fn measure(args: &BenchInfer) -> Result<Report> {
    let graph = model::load_gaunt(&args.file)?.graph;
    let inputs = inputs(&graph, args.batch as usize);
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let (session, open) = timed(|| Session::new(&graph));
    let mut session = session?;
    let mut times = Vec::new();
    for _ in 0..WARM_UP + args.runs as usize {
        let (outputs, time) = timed(|| session.run(&inputs, args.batch as usize).map(|_| ()));
        outputs?;
        times.push(time);
    }
    times.drain(..WARM_UP);
    times.sort();
    let median = times[times.len() / 2];
    let memory = session.memory();
    Ok(Report {
        file: args.file.display().to_string(),
        batch: args.batch,
        runs: args.runs,
        open_ms: millis(open),
        median_ms: millis(median),
        fastest_ms: millis(times[0]),
        slowest_ms: millis(times[times.len() - 1]),
        images_per_s: f64::from(args.batch) / median.as_secs_f64(),
        weight_bytes: memory.weights,
        activation_bytes: memory.activations + memory.scratch,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// Numbers for every input of the network.
fn inputs(graph: &Graph, batch: usize) -> Vec<Vec<f32>> {
    let numbers = |id| graph.value(id).shape.iter().map(|dim| dim.at(batch)).product();
    graph.inputs.iter().map(|&id| Golden::input(SEED, numbers(id))).collect()
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

fn millis(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

/// The result for people.
fn text(report: &Report) -> String {
    let mut lines = table(&[&format!("batch {}", report.batch), "one thread"]);
    let mut row = |name: &str, value: String| {
        lines.add_row([name.to_string(), value]);
    };
    row("opened in", format!("{:.2} ms", report.open_ms));
    row("a batch, median", format!("{:.3} ms", report.median_ms));
    row("fastest, slowest", format!("{:.3}, {:.3} ms", report.fastest_ms, report.slowest_ms));
    row("images a second", format!("{:.1}", report.images_per_s));
    row("weights in memory", format!("{} bytes", report.weight_bytes));
    row("maps and work space", format!("{} bytes", report.activation_bytes));
    format!("{lines}\n\n{}: {} runs", report.file, report.runs)
}
