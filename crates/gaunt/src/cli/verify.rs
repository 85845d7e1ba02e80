//! `gaunt verify`: is a file whole, and does this machine compute what its maker's did.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gaunt_format::{Golden, Model};
use gaunt_graph::Graph;
use gaunt_runtime::Session;
use serde::Serialize;

use super::{args::Verify, model, print};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    ok: bool,
    /// Golden outputs that were compared; none if the file has none.
    golden_outputs: Option<usize>,
}

/// Verifies and prints.
pub fn verify(args: &Verify) -> Result<()> {
    let report = verify_file(&args.file)?;
    print(&if args.json { serde_json::to_string(&report)? } else { text(&report) })
}

/// Reads a file, which checks its checksums and its structure, and computes its golden outputs again.
pub fn verify_file(path: &Path) -> Result<Report> {
    let model = model::load_gaunt(path)?;
    let golden_outputs = check(&model).with_context(|| format!("{}", path.display()))?;
    Ok(Report { ok: true, golden_outputs })
}

/// The result for people.
pub fn text(report: &Report) -> String {
    match report.golden_outputs {
        Some(outputs) => {
            format!("ok: checksums and structure hold, {outputs} golden outputs are equal to the last bit")
        }
        None => "ok: checksums and structure hold; the file has no golden output".to_string(),
    }
}

/// Compares golden outputs; returns how many there are.
fn check(model: &Model) -> Result<Option<usize>> {
    let Some(golden) = &model.metadata.golden else { return Ok(None) };
    let outputs = golden_outputs(&model.graph, golden.seed)?;
    if outputs.len() != golden.outputs.len() {
        bail!("the network gives {} outputs, but {} golden ones are stored", outputs.len(), golden.outputs.len());
    }
    let different = outputs.iter().zip(&golden.outputs).position(|(found, stored)| found.to_bits() != stored.to_bits());
    if let Some(index) = different {
        bail!(
            "output {index} is {}, but {} is stored: this machine computes otherwise",
            outputs[index],
            golden.outputs[index]
        );
    }
    Ok(Some(outputs.len()))
}

/// What the runtime gives for the golden input of a seed.
pub fn golden_outputs(graph: &Graph, seed: u32) -> Result<Vec<f32>> {
    let inputs = graph.inputs.iter().map(|&input| {
        let len = graph.value(input).shape.iter().map(|dim| dim.at(1)).product();
        Golden::input(seed, len)
    });
    let inputs: Vec<Vec<f32>> = inputs.collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut session = Session::new(graph)?;
    let outputs = session.run(&inputs, 1)?;
    Ok(outputs.iter().flat_map(|output| output.data.iter().copied()).collect())
}
