//! What is done with hostile bytes: one function for each reader, which panics where the reader breaks its promises.
//!
//! The fuzz targets in `fuzz/` call these functions with inputs that a fuzzer makes up; a test of this crate calls them with
//! the inputs that are kept there. `docs/security.md` lists the promises.

mod readers;
mod seeds;

use std::path::PathBuf;

pub use readers::{codes, container, onnx, runtime, sealed};
pub use seeds::{Seed, seeds};

/// A reader under attack.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the fuzz target and of its folders.
    pub name: &'static str,
    /// What is done with an input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target { name: "container", run: container },
    Target { name: "codes", run: codes },
    Target { name: "onnx", run: onnx },
    Target { name: "runtime", run: runtime },
];

/// Where the inputs of the targets lie: `corpus` to start from, `regressions` that once broke a promise.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
