//! Every operator against onnxruntime, as imported and as read back from a file.

use gaunt_format::{Metadata, Model};
use gaunt_graph::{Dim, Graph, Tensor};
use gaunt_runtime::Session;
use gaunt_testing::{Case, run_cases};

#[test]
fn outputs_are_those_of_onnxruntime() {
    run_cases(|case| execute(case, Session::new(&case.graph).map_err(|error| error.to_string())?));
}

#[test]
fn outputs_of_decoded_files_are_those_of_onnxruntime() {
    run_cases(|case| execute(case, Session::from_bytes(&encode(&case.graph)?).map_err(|error| error.to_string())?));
}

fn encode(graph: &Graph) -> Result<Vec<u8>, String> {
    let model = Model { graph: graph.clone(), metadata: Metadata::default() };
    model.to_bytes().map_err(|error| error.to_string())
}

fn execute(case: &Case, mut session: Session) -> Result<Vec<Tensor>, String> {
    let inputs: Vec<_> = case.inputs.iter().map(Tensor::to_floats).collect();
    let inputs: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
    let outputs = session.run(&inputs, batch(case)).map_err(|error| error.to_string())?;
    outputs
        .iter()
        .map(|output| Tensor::new(output.shape.to_vec(), output.data.to_vec()).map_err(|error| error.to_string()))
        .collect()
}

/// The batch size that the inputs have.
fn batch(case: &Case) -> usize {
    let shapes = case.graph.inputs.iter().map(|&id| &case.graph.value(id).shape);
    let mut axes = shapes.zip(&case.inputs).flat_map(|(dims, tensor)| dims.iter().zip(tensor.shape()));
    let batch = axes.find_map(|(&dim, &size)| match dim {
        Dim::Batch(times) => Some(size / times),
        Dim::Fixed(_) => None,
    });
    batch.unwrap_or(1)
}
