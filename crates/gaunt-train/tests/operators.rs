//! Every operator against onnxruntime.

use gaunt_train::{Device, Network};

#[test]
fn operators_agree_with_onnxruntime() {
    gaunt_testing::run_cases(|case| {
        let mut network = Network::new(&case.graph, &Device::flex()).map_err(|error| error.to_string())?;
        network.run(&case.inputs).map_err(|error| error.to_string())
    });
}
