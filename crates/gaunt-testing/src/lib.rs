//! Operator fixtures: small networks with inputs, and the outputs that onnxruntime computes from them.
//!
//! Every executor of Gaunt runs the same cases, in a test of one line:
//!
//! ```no_run
//! # fn execute(graph: &gaunt_graph::Graph, inputs: &[gaunt_graph::Tensor]) -> Vec<gaunt_graph::Tensor> { vec![] }
//! gaunt_testing::run_cases(|case| Ok(execute(&case.graph, &case.inputs)));
//! ```
//!
//! The cases lie in `tests/operators/` of the repository; `scripts/operator_cases.py` generates them.

use std::{fs, path::Path};

use gaunt_graph::{Graph, Tensor, onnx};
use safetensors::SafeTensors;

/// One network with inputs and the outputs they give.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name of its files.
    pub name: String,
    /// The imported network.
    pub graph: Graph,
    /// One for each input of the graph.
    pub inputs: Vec<Tensor>,
    /// What the outputs of the graph must be, up to rounding.
    pub outputs: Vec<Tensor>,
}

/// Largest difference that [`compare`] takes for rounding: this much, plus this share of the expected number.
pub const TOLERANCE: f32 = 1e-4;

/// Names and bytes of all ONNX files among the fixtures, sorted by name.
///
/// # Panics
/// If they cannot be read.
pub fn operator_models() -> Vec<(String, Vec<u8>)> {
    let folder = folder();
    let mut models = Vec::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display())) {
        let path = entry.expect("the folder can be listed").path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            models.push((name, read(&path)));
        }
    }
    assert!(!models.is_empty(), "there are no cases in {}", folder.display());
    models.sort();
    models
}

/// All cases, sorted by name.
///
/// # Panics
/// If a case cannot be read or imported.
pub fn operator_cases() -> Vec<Case> {
    operator_models().into_iter().map(|(name, model)| load(name, &model)).collect()
}

/// Runs every case to the end; then fails if some gave wrong outputs, and lists them.
///
/// `execute` returns the outputs of the case's graph for its inputs, or says why it cannot.
///
/// # Panics
/// If a case fails, or cannot be read.
pub fn run_cases(mut execute: impl FnMut(&Case) -> Result<Vec<Tensor>, String>) {
    let cases = operator_cases();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let result = execute(case).and_then(|outputs| compare(&outputs, &case.outputs, TOLERANCE));
            result.err().map(|reason| format!("  {}: {reason}", case.name))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Compares outputs with those that are expected.
///
/// Numbers may differ by `tolerance * (1 + |expected|)`.
///
/// # Errors
/// The first output whose shape or numbers differ; for numbers, with the largest difference.
pub fn compare(found: &[Tensor], expected: &[Tensor], tolerance: f32) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} outputs instead of {}", found.len(), expected.len()));
    }
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        if found.shape() != expected.shape() {
            return Err(format!("output {index} has shape {:?} instead of {:?}", found.shape(), expected.shape()));
        }
        let (found, expected) = (found.to_floats(), expected.to_floats());
        let excess = |found: f32, expected: f32| {
            let difference = (found - expected).abs();
            if difference.is_nan() { f32::INFINITY } else { difference / (1.0 + expected.abs()) }
        };
        let pairs = found.iter().zip(&expected).map(|(&found, &expected)| (found, expected));
        let worst = pairs.enumerate().max_by(|(_, a), (_, b)| excess(a.0, a.1).total_cmp(&excess(b.0, b.1)));
        if let Some((place, (found, expected))) = worst.filter(|(_, (a, b))| excess(*a, *b) > tolerance) {
            let difference = (found - expected).abs();
            let place = format!("output {index}, element {place}");
            return Err(format!("{place} is {found} instead of {expected}, a difference of {difference:e}"));
        }
    }
    Ok(())
}

fn load(name: String, model: &[u8]) -> Case {
    let graph = onnx::read(model).unwrap_or_else(|error| panic!("{name}: {error}"));
    let path = folder().join(format!("{name}.safetensors"));
    let bytes = read(&path);
    let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let inputs = numbered(&tensors, "input");
    let outputs = numbered(&tensors, "output");
    assert_eq!(inputs.len(), graph.inputs.len(), "{name}: inputs of file and graph");
    assert_eq!(outputs.len(), graph.outputs.len(), "{name}: outputs of file and graph");
    Case { name, graph, inputs, outputs }
}

/// The tensors `prefix.0`, `prefix.1` and so on.
fn numbered(tensors: &SafeTensors<'_>, prefix: &str) -> Vec<Tensor> {
    let views = (0..).map_while(|index| tensors.tensor(&format!("{prefix}.{index}")).ok());
    let tensor = |view: safetensors::tensor::TensorView<'_>| {
        let floats = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Tensor::new(view.shape().to_vec(), floats).expect("fixtures hold 32-bit floats")
    };
    views.map(tensor).collect()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/operators")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use gaunt_graph::Dim;

    use super::*;

    fn vector(floats: &[f32]) -> Vec<Tensor> {
        vec![Tensor::new(vec![floats.len()], floats.to_vec()).unwrap()]
    }

    #[test]
    fn every_case_loads_and_its_shapes_agree() {
        for case in operator_cases() {
            for (ids, tensors) in [(&case.graph.inputs, &case.inputs), (&case.graph.outputs, &case.outputs)] {
                for (&id, tensor) in ids.iter().zip(tensors) {
                    let batch = case.inputs[0].shape()[0];
                    let dims: Vec<usize> = case.graph.value(id).shape.iter().map(|dim: &Dim| dim.at(batch)).collect();
                    assert_eq!(dims, tensor.shape(), "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn comparison_allows_rounding_only() {
        assert!(compare(&vector(&[1.0, 100.0]), &vector(&[1.0001, 100.005]), TOLERANCE).is_ok());
        assert!(compare(&vector(&[1.0, 100.0]), &vector(&[1.0, 100.1]), TOLERANCE).is_err());
        assert!(compare(&vector(&[f32::NAN]), &vector(&[1.0]), TOLERANCE).is_err());
        assert!(compare(&vector(&[1.0]), &vector(&[1.0, 1.0]), TOLERANCE).is_err());
        assert!(compare(&[], &vector(&[1.0]), TOLERANCE).is_err());
    }

    #[test]
    #[should_panic(expected = "cases fail")]
    fn a_wrong_executor_is_told_which_cases_fail() {
        run_cases(|_| Err("does nothing".into()));
    }
}
