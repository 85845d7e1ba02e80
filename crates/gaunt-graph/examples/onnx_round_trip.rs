//! Imports ONNX models and writes them again, for `scripts/check_export.py` to compare.
//!
//! ```text
//! cargo run -p gaunt-graph --example onnx_round_trip -- OUTPUT_FOLDER MODEL.onnx...
//! ```

use std::{env, error::Error, fs, path::PathBuf};

use gaunt_graph::onnx;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("usage: onnx_round_trip OUTPUT_FOLDER MODEL.onnx...")?;
    fs::create_dir_all(&folder)?;
    for model in arguments {
        let name = model.file_name().ok_or("a model must be a file")?;
        let graph = onnx::read_file(&model).map_err(|error| format!("{}: {error}", model.display()))?;
        let bytes = onnx::write(&graph).map_err(|error| format!("{}: {error}", model.display()))?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
