//! `.safetensors`, in and out.

use std::{collections::HashMap, string::String, vec::Vec};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    StateDict, WeightsError,
    floats::{Format, floats},
};
use crate::{Graph, Tensor};

pub(super) fn read(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    let malformed = |error: safetensors::SafeTensorError| WeightsError::Malformed(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let mut state = StateDict::default();
    state.metadata.extend(header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    for (name, view) in tensors.iter() {
        if let Some(format) = format(view.dtype()) {
            state.insert(name, Tensor::new(view.shape().to_vec(), floats(view.data(), format)))?;
        }
    }
    Ok(state)
}

/// The format of floating-point tensors; none for others.
fn format(dtype: Dtype) -> Option<Format> {
    match dtype {
        Dtype::F64 => Some(Format::F64),
        Dtype::F32 => Some(Format::F32),
        Dtype::F16 => Some(Format::F16),
        Dtype::BF16 => Some(Format::Bf16),
        _ => None,
    }
}

/// The parameters of a network as a `.safetensors` file of `F32` tensors, with one metadata entry `(key, value)` if
/// given. Integer codes are multiplied by their scales. The same network gives the same bytes.
///
/// # Errors
/// If the header exceeds what the format allows.
pub fn write_safetensors(graph: &Graph, metadata: Option<(&str, &str)>) -> Result<Vec<u8>, WeightsError> {
    let malformed = |error: safetensors::SafeTensorError| WeightsError::Malformed(error.to_string());
    let contents = graph.parameters().map(|(id, tensor)| {
        let bytes: Vec<u8> = tensor.to_floats().into_iter().flat_map(f32::to_le_bytes).collect();
        (graph.value(id).name.as_str(), tensor.shape(), bytes)
    });
    let contents: Vec<_> = contents.collect();
    let views =
        contents.iter().map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    // With more than one entry, the order of a hash map would leak into the bytes.
    let metadata = metadata.map(|(key, value)| HashMap::from([(String::from(key), String::from(value))]));
    safetensors::serialize(views, metadata).map_err(malformed)
}
