//! `gaunt bench`: how fast things are on this machine.

mod clock;
mod codec;
mod infer;
mod train;

use anyhow::Result;

use super::args::Bench;

/// Measures and prints.
pub fn bench(args: &Bench) -> Result<()> {
    match args {
        Bench::Train(args) => train::train(args),
        Bench::Infer(args) => infer::infer(args),
        Bench::Codec(args) => codec::codec(args),
    }
}

/// The most memory that the process has held at once, in bytes, where the system tells: on Linux.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
