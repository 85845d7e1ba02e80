//! PyTorch's `.pth` and `.pt`.

use std::{
    collections::BTreeMap,
    path::Path,
    string::{String, ToString},
    vec::Vec,
};

use pytorch_reader::{DType, PytorchReader};

use super::{
    StateDict, WeightsError,
    floats::{Format, floats},
};
use crate::Tensor;

/// Where training scripts put the state dict of the network, the most specific first.
const SECTIONS: [&str; 4] = ["state_dict.", "model_state_dict.", "model.", "net."];

/// Bytes of tensors for each byte of the file. Views may repeat a storage, and half precision becomes twice as long;
/// a file that claims more wants memory, not weights.
const MAX_GROWTH: u64 = 8;

pub(super) fn read(path: &Path, file_bytes: u64) -> Result<StateDict, WeightsError> {
    let malformed = |reason: String| WeightsError::Malformed(reason);
    let reader = PytorchReader::new(path).map_err(|error| malformed(error.to_string()))?;
    let tensors = section(reader.into_tensors().into_iter().collect());
    let tensors: Vec<_> = tensors.iter().filter_map(|(name, x)| Some((name, x, format(x.dtype())?))).collect();
    check_memory(tensors.iter().map(|(_, tensor, _)| tensor.num_elements()), file_bytes)?;
    let mut state = StateDict::default();
    for (name, tensor, format) in tensors {
        let bytes = tensor.read().map_err(|error| malformed(error.to_string()))?;
        state.insert(name, Tensor::new(tensor.shape().to_vec(), floats(&bytes, format)))?;
    }
    Ok(state)
}

/// The part of a checkpoint that holds the network, without its key.
fn section<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    while let Some(section) = SECTIONS.iter().find(|&&section| tensors.keys().any(|name| name.starts_with(section))) {
        let inside =
            tensors.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(section)?.into(), tensor)));
        tensors = inside.collect();
    }
    tensors
}

fn check_memory(elements: impl Iterator<Item = usize>, file_bytes: u64) -> Result<(), WeightsError> {
    let total = elements
        .fold(0u64, |total, count| total.saturating_add((count as u64).saturating_mul(size_of::<f32>() as u64)));
    if total > file_bytes.saturating_mul(MAX_GROWTH) {
        return Err(WeightsError::Malformed(std::format!(
            "its tensors would take {total} bytes, more than {MAX_GROWTH} times the file's {file_bytes}; save a plain state_dict"
        )));
    }
    Ok(())
}

/// The format of floating-point tensors; none for others.
fn format(dtype: DType) -> Option<Format> {
    match dtype {
        DType::F64 => Some(Format::F64),
        DType::F32 => Some(Format::F32),
        DType::F16 => Some(Format::F16),
        DType::BF16 => Some(Format::Bf16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_section_is_found() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["conv1.weight", "fc.bias"], &["conv1.weight", "fc.bias"]),
            (&["net.conv1.weight", "acc"], &["conv1.weight"]),
            (&["model.state_dict.fc.bias", "optimizer.state.0.momentum_buffer"], &["fc.bias"]),
            (&["state_dict.model.fc.bias", "model.other"], &["fc.bias"]),
        ];
        for (names, wanted) in cases {
            let found = section(names.iter().map(|&name| (String::from(name), ())).collect());
            assert!(found.keys().eq(wanted), "{names:?} became {:?}", found.keys());
        }
    }

    #[test]
    fn tensors_much_larger_than_their_file_are_refused() {
        check_memory([10, 10].into_iter(), 100).unwrap();
        assert!(check_memory([usize::MAX, 10].into_iter(), 100).unwrap_err().to_string().contains("100"));
    }
}
