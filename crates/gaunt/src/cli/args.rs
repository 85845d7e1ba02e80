//! What the command line takes: plain values, without side effects.

use std::{fmt, num::NonZeroUsize, path::PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use gaunt_compress::{ByteSize, Effort, Method, UnknownMethod};
use gaunt_data::{Augment, Source, Split};
use gaunt_graph::zoo::Arch;
use gaunt_train::Precision;
use serde::Serialize;

/// Makes trained neural networks thin: one small file that runs.
#[derive(Debug, Parser)]
#[command(name = "gaunt", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  gaunt demo
      Trains, compresses and checks a small network on embedded images, in under three minutes.
  gaunt compress resnet20.onnx --data cifar10:DIR --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
      --target-ratio 12 -o resnet20.gaunt
      One file, at most a twelfth of the network's size.
  gaunt compress model.pth --arch resnet18 --data folder:photos --max-drop 1.0 -o model.gaunt
      As small as it gets within one point of accuracy on the validation split.
  gaunt inspect resnet20.gaunt
      Sparsity, bits and bytes of every layer.

Exit status: 0 done, 1 a failure that the message explains, 2 wrong usage, 3 a budget that could not be met.";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train, compress and check a small network on embedded images
    Demo(Demo),
    /// Train a network of the zoo from scratch
    Train(Train),
    /// Compress a trained network to a budget
    Compress(Compress),
    /// Measure the accuracy of a network on a data set
    Eval(Eval),
    /// Show what a .gaunt file holds, layer by layer
    Inspect(Inspect),
    /// Write a network as .onnx or .safetensors
    Export(Export),
    /// Check a .gaunt file: checksums, structure, and its golden input against its golden output
    Verify(Verify),
    /// Run a .gaunt file on one input
    Run(Run),
    /// Plot a file, a run, or results side by side
    Report(Report),
    /// Measure the speed of this machine
    #[command(subcommand)]
    Bench(Bench),
}

/// `gaunt demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Folder for what the demo writes [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub machine: Machine,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Where and how to compute; shared by the verbs that train or evaluate.
#[derive(Clone, Debug, Args)]
pub struct Machine {
    /// Threads to use; results do not depend on it [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Device that trains and evaluates
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
}

/// Devices that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// The processor, with kernels of our own
    Cpu,
    /// A GPU through Vulkan, Metal, DirectX or WebGPU
    #[cfg(feature = "wgpu")]
    Wgpu,
}

/// A data set and how its images are presented.
#[derive(Clone, Debug, Args)]
pub struct Data {
    /// Data set: cifar10:DIR, folder:DIR, idx:DIR, or digits (embedded)
    #[arg(long, value_name = "SPEC")]
    pub data: Source,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub input: Input,
}

/// Normalisation and size of images, where the model file does not say.
#[derive(Clone, Debug, Default, Args)]
pub struct Input {
    /// Mean of each channel, on values scaled to 0..1 [default: the model file's, or the data set's]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', requires = "std")]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, on values scaled to 0..1
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', requires = "mean")]
    pub std: Option<Vec<f32>>,
    /// Side of the square images, in pixels [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub size: Option<u32>,
}

/// A network in a file.
#[derive(Clone, Debug, Args)]
pub struct Model {
    /// Network: .onnx, .gaunt, or .safetensors / .pth together with --arch
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Architecture of a state dict
    #[arg(long, value_name = "NAME", value_parser = arch)]
    pub arch: Option<Arch>,
}

/// `gaunt train`
#[derive(Debug, Args)]
pub struct Train {
    /// Architecture
    #[arg(long, value_name = "NAME", value_parser = arch)]
    pub arch: Arch,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// Passes over the training split
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub epochs: u32,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=65_536))]
    pub batch: u32,
    /// Peak learning rate
    #[arg(long, value_name = "X", default_value_t = 0.2, value_parser = positive)]
    pub rate: f32,
    /// Share of the steps in which the rate rises to its peak; in the others it falls to nothing
    #[arg(long, value_name = "X", default_value_t = 0.3, value_parser = share)]
    pub warm_up: f64,
    /// Weight decay
    #[arg(long, value_name = "X", default_value_t = 5e-4, value_parser = not_negative)]
    pub decay: f32,
    /// Label smoothing: share of the target that is spread over all classes
    #[arg(long, value_name = "X", default_value_t = 0.1, value_parser = share)]
    pub smoothing: f64,
    /// Side of the images of the first epoch, in pixels; they grow to their size over 70 % of the epochs, which are cheaper for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub first_size: Option<u32>,
    /// Side of a square that is blanked in each training image, in pixels; guards long trainings against learning by heart
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=4096))]
    pub cutout: u32,
    /// Share of the training images that is kept for validation; 0 trains on all of them, once everything is chosen
    #[arg(long, value_name = "X", default_value_t = 0.1, value_parser = share)]
    pub validation: f64,
    /// Start from these weights instead of random ones (.gaunt, .safetensors or .pth); a classifier of other classes is learnt anew
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Learn from the predictions of this network too (.onnx, .gaunt, or .safetensors of `gaunt train`); the normalisation that its file says is taken over
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,
    /// Share of the teacher in the loss; the rest is the labels'
    #[arg(long, value_name = "X", default_value_t = 0.9, value_parser = share_or_all, requires = "teacher")]
    pub teacher_share: f64,
    /// File to write (.safetensors)
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunOptions,
}

/// What every long run takes.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Seed of everything random; which images are kept for validation does not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Go on from the checkpoint in the run directory
    #[arg(long)]
    pub resume: bool,
    /// Turn training images by random right angles: for pictures from above, which have no upper side
    #[arg(long)]
    pub turns: bool,
    /// Operands of convolutions and linear layers while training; sums and all else are single precision
    #[arg(long, value_enum, default_value_t = PrecisionName::Auto)]
    pub precision: PrecisionName,
    /// Folder of config, metrics and checkpoint [default: the output's name with .run]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Overwrite the output and forget an unfinished run
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub machine: Machine,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

impl RunOptions {
    /// How training images of `source`, the shorter side of which has `side` pixels, are varied.
    pub fn augment(&self, source: &Source, side: usize) -> Augment {
        Augment { turn: self.turns, ..source.default_augment(side) }
    }
}

/// `gaunt compress`
#[derive(Debug, Args)]
pub struct Compress {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: Model,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// Largest file, such as 200KiB or 0.5MB
    #[arg(long, value_name = "SIZE")]
    pub target_size: Option<ByteSize>,
    /// Smallest ratio of the original's bytes (4 for each parameter) to the file's
    #[arg(long, value_name = "X", value_parser = positive_f64)]
    pub target_ratio: Option<f64>,
    /// Largest loss of accuracy on the validation split, in points
    #[arg(long, value_name = "POINTS", value_parser = not_negative_f64)]
    pub max_drop: Option<f64>,
    /// Passes over the training split
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub epochs: u32,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=65_536))]
    pub batch: u32,
    /// How long to look for the final codes: as trained or rounded, refined once, or refined in several ways, each of which costs an evaluation
    #[arg(long, value_enum, default_value_t = EffortName::Normal)]
    pub effort: EffortName,
    /// How layers share the budget: joint, uniform (a control), or int8 (no training, 8 bits each, no budget: a dense network as a
    /// file)
    #[arg(long, value_name = "NAME", default_value = "joint", value_parser = preset)]
    pub method: Preset,
    /// Learn from the predictions of this network too, in the mean with the network's own (.onnx, .gaunt, or .safetensors of `gaunt train`)
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,
    /// Views of each training image, which come back after as many epochs; teachers predict each once, which makes later steps
    /// faster [default: new ones in each epoch]
    #[arg(long, value_name = "N")]
    pub views: Option<NonZeroUsize>,
    /// Wishes for single layers, in TOML (keep dense, floor the bits)
    #[arg(long, value_name = "FILE")]
    pub layers: Option<PathBuf>,
    /// File to write (.gaunt)
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunOptions,
}

/// Efforts by the names that they have here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EffortName {
    /// The codes as they were trained; without training, rounded
    Low,
    /// One refinement, or the codes as they were trained; without training, weights make good each other's errors
    Normal,
    /// The best of several refinements
    High,
}

impl From<EffortName> for Effort {
    fn from(name: EffortName) -> Self {
        match name {
            EffortName::Low => Self::Low,
            EffortName::Normal => Self::Normal,
            EffortName::High => Self::High,
        }
    }
}

/// What `compress` does with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Codes within a budget.
    Coded(Method),
    /// 8 bits for each weight, whatever that costs.
    Int8,
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coded(method) => method.fmt(f),
            Self::Int8 => f.write_str("int8"),
        }
    }
}

fn preset(name: &str) -> Result<Preset, String> {
    if name == "int8" {
        return Ok(Preset::Int8);
    }
    name.parse().map(Preset::Coded).map_err(|error: UnknownMethod| format!("{error}, int8"))
}

impl Compress {
    /// Whether there is a budget if the method needs one, and training if flags are about it.
    ///
    /// # Errors
    /// What clap would say of a flag that is missing, or of flags that exclude each other.
    pub fn check(&self) -> Result<(), clap::Error> {
        let budget = self.target_size.is_some() || self.target_ratio.is_some() || self.max_drop.is_some();
        if !budget && self.method != Preset::Int8 {
            let text = "a budget is needed: --target-size, --target-ratio or --max-drop, one or several";
            return Err(Cli::command().error(ErrorKind::MissingRequiredArgument, text));
        }
        if (self.teacher.is_some() || self.views.is_some()) && !self.trains() {
            let text = "--teacher and --views are for training, but --method int8 and --epochs 0 train nothing: leave out the one or the other";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        }
        Ok(())
    }

    /// Whether anything is trained.
    pub fn trains(&self) -> bool {
        self.method != Preset::Int8 && self.epochs > 0
    }
}

/// `gaunt eval`
#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: Model,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// Which images
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub split: Split,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub machine: Machine,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `gaunt inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// A .gaunt file
    pub file: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `gaunt export`
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: Model,
    /// File to write; its ending says the format (.onnx or .safetensors)
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Overwrite the output
    #[arg(long)]
    pub force: bool,
}

/// `gaunt verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// A .gaunt file
    pub file: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `gaunt run`
#[derive(Debug, Args)]
pub struct Run {
    /// A .gaunt file
    pub file: PathBuf,
    /// An image (.png, .jpg), or normalised numbers (.npy) of the network's input shape
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `gaunt report`
#[derive(Debug, Args)]
pub struct Report {
    /// A .gaunt file, a run directory, or a .toml file of results
    pub input: PathBuf,
    /// File to write; its ending says the format (.svg or .html)
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Overwrite the output
    #[arg(long)]
    pub force: bool,
}

/// `gaunt bench`
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Time steps of training on random images
    Train(BenchTrain),
    /// Time a file on random images
    Infer(BenchInfer),
    /// Time the coder on the codes of a file, and size them by other compressors
    Codec(BenchCodec),
}

/// `gaunt bench infer`
#[derive(Debug, Args)]
pub struct BenchInfer {
    /// A .gaunt file
    pub file: PathBuf,
    /// Images in a run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: u32,
    /// Runs whose median counts; a few run before
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub runs: u32,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `gaunt bench codec`
#[derive(Debug, Args)]
pub struct BenchCodec {
    /// A .gaunt file
    pub file: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `gaunt bench train`
#[derive(Debug, Args)]
pub struct BenchTrain {
    /// Architecture
    #[arg(long, value_name = "NAME", value_parser = arch)]
    pub arch: Arch,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=65_536))]
    pub batch: u32,
    /// Operands of convolutions and linear layers
    #[arg(long, value_enum, default_value_t = PrecisionName::Fp32)]
    pub precision: PrecisionName,
    /// Steps whose median counts; a few run before and after
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: u32,
    /// Side of the square images, in pixels
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=2048))]
    pub size: u32,
    /// Classes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub classes: u32,
    /// Steps of distillation: a teacher of the same architecture, and AdamW
    #[arg(long, conflicts_with = "compress")]
    pub teacher: bool,
    /// Steps of a joint compression: those of distillation, with quantiser and rate model
    #[arg(long)]
    pub compress: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub machine: Machine,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Precisions that training knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionName {
    /// bfloat16 on processors with instructions for it, otherwise single
    Auto,
    /// Single precision throughout
    Fp32,
    /// Rounded to bfloat16 where that is faster; without native instructions it is not
    Bf16,
}

impl PrecisionName {
    /// The precision that is meant on a device.
    pub fn resolve(self, device: DeviceName) -> Precision {
        match self {
            Self::Auto if device == DeviceName::Cpu => Precision::auto(),
            // Other devices would round and gain nothing.
            Self::Auto | Self::Fp32 => Precision::Fp32,
            Self::Bf16 => Precision::Bf16,
        }
    }

    /// The same without a choice left open, for a record of what was done.
    pub fn resolved(self, device: DeviceName) -> Self {
        match self.resolve(device) {
            Precision::Fp32 => Self::Fp32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

fn arch(text: &str) -> Result<Arch, String> {
    text.parse().map_err(|error: <Arch as std::str::FromStr>::Err| error.to_string())
}

fn in_range(text: &str, holds: impl Fn(f64) -> bool, wanted: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if number.is_finite() && holds(number) { Ok(number) } else { Err(format!("must be {wanted}")) }
}

fn positive_f64(text: &str) -> Result<f64, String> {
    in_range(text, |x| x > 0.0, "positive")
}

fn not_negative_f64(text: &str) -> Result<f64, String> {
    in_range(text, |x| x >= 0.0, "zero or positive")
}

fn share(text: &str) -> Result<f64, String> {
    in_range(text, |x| (0.0..1.0).contains(&x), "from 0 to below 1")
}

fn share_or_all(text: &str) -> Result<f64, String> {
    in_range(text, |x| (0.0..=1.0).contains(&x), "from 0 to 1")
}

fn positive(text: &str) -> Result<f32, String> {
    positive_f64(text).map(|x| x as f32)
}

fn not_negative(text: &str) -> Result<f32, String> {
    not_negative_f64(text).map(|x| x as f32)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn compress_needs_a_budget_and_some_flags_need_training() {
        let check = |flags: &[&str]| {
            let line = ["gaunt", "compress", "m.onnx", "--data", "digits", "-o", "m.gaunt"];
            let Verb::Compress(args) = Cli::try_parse_from(line.iter().chain(flags)).unwrap().verb else { panic!() };
            args.check().map_err(|error| error.to_string())
        };
        assert!(check(&[]).unwrap_err().contains("--max-drop"));
        assert!(check(&["--method", "uniform"]).is_err());
        assert_eq!(check(&["--method", "int8"]), Ok(()));
        assert_eq!(check(&["--max-drop", "1"]), Ok(()));
        for of_training in [["--teacher", "t.onnx"], ["--views", "4"]] {
            let with = |flags: [&str; 2]| check(&[&["--max-drop", "1"], &of_training[..], &flags].concat());
            assert_eq!(with(["--epochs", "1"]), Ok(()));
            assert!(with(["--epochs", "0"]).unwrap_err().contains("train nothing"));
            assert!(with(["--method", "int8"]).unwrap_err().contains("train nothing"));
        }
    }
}
