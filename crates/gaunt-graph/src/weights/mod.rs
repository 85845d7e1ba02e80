//! State dicts: parameters by name, read from `.safetensors` and PyTorch's `.pth`, and written as `.safetensors`.
//!
//! ```no_run
//! use gaunt_graph::{weights, zoo};
//!
//! let mut graph = zoo::build(zoo::Arch::Resnet20, 10, [3, 32, 32], 0)?;
//! let state = weights::read("resnet20.pth".as_ref())?;
//! weights::load_into(&mut graph, &state)?;
//! std::fs::write("resnet20.safetensors", weights::write_safetensors(&graph, None)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Tensors of `F64`, `F32`, `F16` and `BF16` become `f32`; integers, such as batch norm's `num_batches_tracked`, are
//! left out. A checkpoint that keeps its state dict under `state_dict`, `model_state_dict`, `model` or `net` is opened
//! there, and the prefixes that `DataParallel` (`module.`) and `torch.compile` (`_orig_mod.`) add are removed.
//!
//! Files are not trusted: whatever they claim is checked, memory stays within a small multiple of their size, and
//! pickled code is never run.

mod floats;
mod nearest;
mod pytorch;
mod safetensors;

use std::{
    borrow::ToOwned,
    collections::{BTreeMap, btree_map::Entry},
    format,
    path::{Path, PathBuf},
    string::{String, ToString},
    vec::Vec,
};

use nearest::nearest;
pub use safetensors::write_safetensors;

use crate::{Graph, Op, Tensor, TensorError, ValueId};

/// Parameters by name, as a file holds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    /// The floating-point tensors.
    pub tensors: BTreeMap<String, Tensor>,
    /// Free text that came along; empty for `.pth`.
    pub metadata: BTreeMap<String, String>,
}

/// Why weights could not be read, loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file whose name says neither format.
    #[error("`{}` is neither .safetensors nor .pth or .pt; rename it to what it is", .0.display())]
    Extension(PathBuf),
    /// Not what the format prescribes.
    #[error("not a valid file of weights: {0}")]
    Malformed(String),
    /// A parameter of the network that the file lacks.
    #[error("the file has no tensor `{name}`{}; is it of another architecture?", hint(.nearest))]
    Missing {
        /// The parameter.
        name: String,
        /// The most similar name that the file has and the network lacks.
        nearest: Option<String>,
    },
    /// A tensor of the file that the network lacks.
    #[error("the network has no parameter `{name}`{}; is the file of another architecture?", hint(.nearest))]
    Unexpected {
        /// The tensor.
        name: String,
        /// The most similar name that the network has.
        nearest: Option<String>,
    },
    /// A tensor whose shape is not that of the parameter.
    #[error("tensor `{name}` has shape {found:?}, but the network wants {wanted:?}; check classes and input size")]
    Shape {
        /// Its name.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape in the network.
        wanted: Vec<usize>,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| format!(" (the nearest is `{nearest}`)"))
}

/// Prefixes that wrappers of a module leave in its state dict.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

impl StateDict {
    /// Adds a tensor under its name without wrappers.
    fn insert(&mut self, name: &str, tensor: Result<Tensor, TensorError>) -> Result<(), WeightsError> {
        let mut bare = name;
        while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| bare.strip_prefix(wrapper)) {
            bare = rest;
        }
        let tensor = tensor.map_err(|error| WeightsError::Malformed(format!("tensor `{name}`: {error}")))?;
        match self.tensors.entry(bare.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(tensor);
                Ok(())
            }
            Entry::Occupied(_) => Err(WeightsError::Malformed(format!("two tensors are named `{bare}`"))),
        }
    }
}

impl From<&Graph> for StateDict {
    /// The parameters of a network, coded ones decoded.
    fn from(graph: &Graph) -> Self {
        let tensors = graph.parameters().map(|(id, tensor)| (graph.value(id).name.clone(), tensor.decoded()));
        Self { tensors: tensors.collect(), metadata: BTreeMap::new() }
    }
}

/// Reads a state dict. The extension says the format: `.safetensors`, or `.pth` or `.pt` for PyTorch.
///
/// # Errors
/// If the file cannot be read or is not what its extension says.
pub fn read(path: &Path) -> Result<StateDict, WeightsError> {
    let io = |source| WeightsError::Io { path: path.to_owned(), source };
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("safetensors") => safetensors::read(&std::fs::read(path).map_err(io)?),
        Some("pth" | "pt") => pytorch::read(path, std::fs::metadata(path).map_err(io)?.len()),
        _ => Err(WeightsError::Extension(path.to_owned())),
    }
}

/// As [`load_into`], for a network that shall learn other classes: where the file has another number of them, the
/// last linear layer stays as it is in the network. Returns whether it does.
///
/// # Errors
/// As [`load_into`].
pub fn transfer_into(graph: &mut Graph, state: &StateDict) -> Result<bool, WeightsError> {
    let Some(classifier) = classifier_of_others(graph, state) else {
        load_into(graph, state)?;
        return Ok(false);
    };
    let mut state = state.clone();
    state.tensors.extend(classifier);
    load_into(graph, &state)?;
    Ok(true)
}

/// The parameters of the network's last linear layer, if those of the file differ from them in the number of classes alone.
fn classifier_of_others(graph: &Graph, state: &StateDict) -> Option<Vec<(String, Tensor)>> {
    let last = graph.nodes.iter().rfind(|node| node.op == Op::Linear)?;
    let parameters = last.inputs[1..].iter().map(|&id| graph.value(id));
    let classifier: Vec<(String, Tensor)> =
        parameters.filter_map(|value| Some((value.name.clone(), value.tensor.clone()?))).collect();
    let of_others = |(name, tensor): &(String, Tensor)| {
        // A file may hold a tensor without axes.
        let found = state.tensors.get(name).and_then(|found| found.shape().split_first());
        let wanted = tensor.shape().split_first();
        found.zip(wanted).is_some_and(|(found, wanted)| found.0 != wanted.0 && found.1 == wanted.1)
    };
    classifier.iter().all(of_others).then_some(classifier)
}

/// Replaces every parameter of a network by the tensor of its name. Counters that batch norm keeps for training
/// (`num_batches_tracked`) are ignored. The network stays as it is if anything does not fit.
///
/// # Errors
/// If a parameter is missing, a tensor is unknown, or a shape differs.
pub fn load_into(graph: &mut Graph, state: &StateDict) -> Result<(), WeightsError> {
    let parameters: BTreeMap<String, ValueId> =
        graph.parameters().map(|(id, _)| (graph.value(id).name.clone(), id)).collect();
    let weights = state.tensors.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    let (known, unknown): (Vec<_>, Vec<_>) = weights.partition(|(name, _)| parameters.contains_key(*name));
    let of = |name: Option<&str>| name.map(ToString::to_string);

    if let Some(name) = parameters.keys().find(|name| !state.tensors.contains_key(*name)) {
        let nearest = of(nearest(name, unknown.iter().map(|(name, _)| name.as_str())));
        return Err(WeightsError::Missing { name: name.clone(), nearest });
    }
    if let Some((name, _)) = unknown.first() {
        let nearest = of(nearest(name, parameters.keys().map(String::as_str)));
        return Err(WeightsError::Unexpected { name: (*name).clone(), nearest });
    }
    for (name, tensor) in &known {
        let wanted = graph.value(parameters[*name]).tensor.as_ref().map_or(&[][..], Tensor::shape);
        if tensor.shape() != wanted {
            let (found, wanted) = (tensor.shape().to_vec(), wanted.to_vec());
            return Err(WeightsError::Shape { name: (*name).clone(), found, wanted });
        }
    }
    for (name, tensor) in known {
        graph.values[parameters[name].index()].tensor = Some(tensor.clone());
    }
    Ok(())
}
