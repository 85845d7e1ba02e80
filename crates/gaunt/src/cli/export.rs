//! `gaunt export`: out by other doors.

use anyhow::{Context, Result, bail};
use gaunt_graph::{onnx, weights};

use super::{
    args::{Export, Input},
    model, output,
};

/// Writes a network as `.onnx` or `.safetensors`.
pub fn export(args: &Export) -> Result<()> {
    let extension = args.out.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    if !["onnx", "safetensors"].contains(&extension.as_str()) {
        bail!("{}: the ending must be .onnx or .safetensors", args.out.display());
    }
    output::check(&args.out, args.force)?;
    let loaded = model::load(&args.model, &Input::default())?;
    let bytes = match extension.as_str() {
        "onnx" => onnx::write(&loaded.graph).context("the network cannot be written as ONNX")?,
        _ => weights::write_safetensors(&loaded.graph, None)?,
    };
    output::write(&args.out, &bytes, args.force)?;
    eprintln!("wrote {}, {} bytes", args.out.display(), bytes.len());
    Ok(())
}
