//! `gaunt bench codec`: what the coder makes of the codes in a file, beside common compressors.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use gaunt_format::{Model, decode_codes, encode_codes};
use gaunt_graph::Data;
use serde::Serialize;

use super::super::{args::BenchCodec, model::MAX_BYTES, output, print, table::table};

/// Times that each tensor is coded; the fastest one counts.
const RUNS: usize = 5;
/// The programs to compare with, where they are installed.
const RIVALS: [(&str, &[&str]); 3] =
    [("gzip -9", &["-9", "-c"]), ("xz -9", &["-9", "-c"]), ("zstd -19", &["-19", "-c"])];

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    file_bytes: usize,
    /// Time to read the whole file: checksums, graph, all tensors.
    open_s: f64,
    /// Coded numbers, most of them weights.
    weights: usize,
    /// Bytes of all codes, without their scales.
    payload_bytes: usize,
    bits_per_weight: f64,
    encoded_per_s: f64,
    decoded_per_s: f64,
    rivals: Vec<Rival>,
    layers: Vec<Layer>,
}

/// What another program makes of the same codes, as integers of the fewest bytes that hold all of a tensor.
#[derive(Debug, Serialize)]
struct Rival {
    program: &'static str,
    /// None if it is not installed.
    bytes: Option<usize>,
}

/// One coded tensor.
#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    weights: usize,
    bytes: usize,
    bits_per_weight: f64,
}

/// Measures and prints.
pub fn codec(args: &BenchCodec) -> Result<()> {
    let report = measure(args)?;
    print(&if args.json { serde_json::to_string(&report)? } else { text(&report) })
}

fn measure(args: &BenchCodec) -> Result<Report> {
    let bytes = output::read(&args.file, MAX_BYTES)?;
    let (model, open_s) = fastest(|| Model::from_bytes(&bytes));
    let model = model.with_context(|| format!("{}", args.file.display()))?;
    let (mut layers, mut seconds, mut plain) = (Vec::new(), [0.0; 2], Vec::new());
    for (id, tensor) in model.graph.parameters() {
        let Data::Codes { codes, .. } = tensor.data() else { continue };
        let (coded, encoding) = fastest(|| encode_codes(codes, tensor.shape()));
        let (decoded, decoding) = fastest(|| decode_codes(&coded, tensor.shape()));
        let name = model.graph.value(id).name.clone();
        if decoded.as_ref() != Ok(codes) {
            bail!("{name}: the codes do not come back; this is a bug");
        }
        seconds[0] += encoding;
        seconds[1] += decoding;
        plain.extend(integers(codes));
        layers.push(Layer {
            name,
            shape: tensor.shape().to_vec(),
            weights: codes.len(),
            bytes: coded.len(),
            bits_per_weight: bits(coded.len(), codes.len()),
        });
    }
    let weights: usize = layers.iter().map(|layer| layer.weights).sum();
    let payload_bytes = layers.iter().map(|layer| layer.bytes).sum();
    let rivals =
        RIVALS.iter().map(|&(program, flags)| Ok(Rival { program, bytes: compressed(program, flags, &plain)? }));
    Ok(Report {
        file: args.file.display().to_string(),
        file_bytes: bytes.len(),
        open_s,
        weights,
        payload_bytes,
        bits_per_weight: bits(payload_bytes, weights),
        encoded_per_s: weights as f64 / seconds[0],
        decoded_per_s: weights as f64 / seconds[1],
        rivals: rivals.collect::<Result<_>>()?,
        layers,
    })
}

/// What `run` returns, and the seconds that the fastest of its runs takes.
fn fastest<T>(run: impl Fn() -> T) -> (T, f64) {
    let timed = || {
        let start = Instant::now();
        (run(), start.elapsed().as_secs_f64())
    };
    (1..RUNS).fold(timed(), |best, _| {
        let next = timed();
        if next.1 < best.1 { next } else { best }
    })
}

fn bits(bytes: usize, weights: usize) -> f64 {
    8.0 * bytes as f64 / weights.max(1) as f64
}

/// Codes as little-endian integers of one, two or four bytes.
fn integers(codes: &[i32]) -> Vec<u8> {
    let holds = |low: i32, high: i32| codes.iter().all(|code| (low..=high).contains(code));
    let bytes = match () {
        () if holds(i8::MIN.into(), i8::MAX.into()) => 1,
        () if holds(i16::MIN.into(), i16::MAX.into()) => 2,
        () => 4,
    };
    codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(bytes)).collect()
}

/// Bytes that a program writes for `plain`; none if it is not installed.
fn compressed(program: &str, flags: &[&str], plain: &[u8]) -> Result<Option<usize>> {
    let name = program.split(' ').next().unwrap_or(program);
    let mut command = Command::new(name);
    command.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Ok(None) };
    let mut input = child.stdin.take().context("a pipe is missing")?;
    let output = thread::scope(|scope| {
        // A program that stops reading shows in its status.
        scope.spawn(move || input.write_all(plain));
        child.wait_with_output()
    })?;
    if !output.status.success() {
        bail!("{program} failed: {}", output.status);
    }
    Ok(Some(output.stdout.len()))
}

/// The result for people.
fn text(report: &Report) -> String {
    let mut layers = table(&["layer", "shape", "weights", "bytes", "bits each"]);
    for Layer { name, shape, weights, bytes, bits_per_weight } in &report.layers {
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        layers.add_row([name.clone(), shape, weights.to_string(), bytes.to_string(), format!("{bits_per_weight:.3}")]);
    }
    let mut coders = table(&["coder", "bytes", "ratio"]);
    let ours = [("gaunt", Some(report.payload_bytes))].into_iter();
    for (name, bytes) in ours.chain(report.rivals.iter().map(|rival| (rival.program, rival.bytes))) {
        let cells = match bytes {
            Some(bytes) => [bytes.to_string(), format!("{:.3}", bytes as f64 / report.payload_bytes.max(1) as f64)],
            None => ["not installed".to_string(), String::new()],
        };
        coders.add_row([name.to_string(), cells[0].clone(), cells[1].clone()]);
    }
    format!(
        "{layers}\n\n{coders}\n\n{}: {} weights at {:.3} bits; {:.1} million a second encoded, {:.1} decoded; opened in {:.1} ms",
        report.file,
        report.weights,
        report.bits_per_weight,
        report.encoded_per_s / 1e6,
        report.decoded_per_s / 1e6,
        1e3 * report.open_s
    )
}
