//! Networks from files.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use gaunt_data::Normalization;
use gaunt_format::{Metadata, Model as GauntModel};
use gaunt_graph::{Graph, onnx, weights, zoo};
use serde::{Deserialize, Serialize};

use super::{
    args::{Input, Model},
    output,
};

/// Largest file that is read as a whole.
pub const MAX_BYTES: u64 = 1 << 30;
/// Side of the images of a state dict that does not say.
const DEFAULT_SIDE: usize = 32;

/// A network and what its file says about it.
pub struct Loaded {
    /// The network.
    pub graph: Graph,
    /// Normalisation of its input, if the file says.
    pub normalization: Option<Normalization>,
    /// Metadata of a `.gaunt` file.
    pub gaunt: Option<Metadata>,
    /// Bytes of the file.
    pub file_bytes: u64,
}

impl Loaded {
    /// Whether it comes from a `.gaunt` file.
    pub fn is_gaunt(&self) -> bool {
        self.gaunt.is_some()
    }

    /// Parameters of the network that the file stands for.
    pub fn original_parameters(&self) -> usize {
        let original = self.gaunt.as_ref().map_or(0, |metadata| metadata.provenance.parameters as usize);
        if original > 0 { original } else { self.graph.parameter_count() }
    }
}

/// What a state dict of ours says about itself: its architecture, and how images become its input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateDictInfo {
    /// Name of the architecture.
    pub arch: String,
    /// Shape of an image, `[C, H, W]`.
    pub input: [usize; 3],
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

/// Key of [`StateDictInfo`] in the metadata of a `.safetensors` file.
pub const INFO_KEY: &str = "gaunt";

/// Reads a network of any format.
pub fn load(model: &Model, input: &Input) -> Result<Loaded> {
    let path = model.model.as_path();
    let at = || format!("{}", path.display());
    let file_bytes = fs::metadata(path).with_context(|| format!("{}: cannot be read", path.display()))?.len();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "onnx" => {
            let graph = onnx::read_file(path).with_context(at)?;
            Ok(Loaded { graph, normalization: None, gaunt: None, file_bytes })
        }
        "gaunt" => {
            let model = load_gaunt(path)?;
            let normalization = normalization(&model.metadata)?;
            Ok(Loaded { graph: model.graph, normalization, gaunt: Some(model.metadata), file_bytes })
        }
        "safetensors" | "pth" | "pt" => load_state_dict(model, input, file_bytes).with_context(at),
        _ => bail!("{}: not a network that is known; give .onnx, .gaunt, .safetensors or .pth", path.display()),
    }
}

/// Reads a `.gaunt` file.
pub fn load_gaunt(path: &Path) -> Result<GauntModel> {
    let bytes = output::read(path, MAX_BYTES)?;
    GauntModel::from_bytes(&bytes).with_context(|| format!("{}", path.display()))
}

/// Parameters by name, of a state dict or of a `.gaunt` file.
pub fn state_dict(path: &Path) -> Result<weights::StateDict> {
    if path.extension().is_some_and(|extension| extension == "gaunt") {
        return Ok((&load_gaunt(path)?.graph).into());
    }
    Ok(weights::read(path)?)
}

/// The normalisation that a `.gaunt` file holds.
pub fn normalization(metadata: &Metadata) -> Result<Option<Normalization>> {
    if metadata.mean.is_empty() {
        return Ok(None);
    }
    Ok(Some(Normalization::new(metadata.mean.clone(), metadata.std.clone())?))
}

fn load_state_dict(model: &Model, input: &Input, file_bytes: u64) -> Result<Loaded> {
    let state = weights::read(&model.model)?;
    let info: Option<StateDictInfo> = match state.metadata.get(INFO_KEY) {
        Some(text) => Some(serde_json::from_str(text).context("the metadata of the file cannot be read")?),
        None => None,
    };
    let arch = match (model.arch, &info) {
        (Some(arch), _) => arch,
        (None, Some(info)) => info.arch.parse()?,
        (None, None) => bail!("the file holds weights only; name the architecture with --arch"),
    };
    let classes =
        last_linear_outputs(&state).context("no weight of a last linear layer [classes, features] is in the file")?;
    let channels = first_channels(&state).unwrap_or(3);
    let shape = match (input.size, &info) {
        (Some(size), _) => [channels, size as usize, size as usize],
        (None, Some(info)) => info.input,
        (None, None) => [channels, DEFAULT_SIDE, DEFAULT_SIDE],
    };
    let mut graph = zoo::build(arch, classes, shape, 0)?;
    weights::load_into(&mut graph, &state)?;
    let normalization = info.map(|info| Normalization::new(info.mean, info.std)).transpose()?;
    Ok(Loaded { graph, normalization, gaunt: None, file_bytes })
}

/// Rows of the matrix with the fewest: class scores are the narrowest linear layer of every architecture here.
fn last_linear_outputs(state: &weights::StateDict) -> Option<usize> {
    let matrices = state.tensors.values().filter(|tensor| tensor.shape().len() == 2);
    matrices.map(|tensor| tensor.shape()[0]).min()
}

/// Channels of the images: the first convolution has the fewest that are not depthwise.
fn first_channels(state: &weights::StateDict) -> Option<usize> {
    let kernels = state.tensors.iter().filter(|(_, tensor)| tensor.shape().len() == 4);
    let first =
        kernels.min_by_key(|(name, _)| (!(name.starts_with("conv1.") || name.starts_with("features.0.")), name.len()));
    first.map(|(_, tensor)| tensor.shape()[1])
}
