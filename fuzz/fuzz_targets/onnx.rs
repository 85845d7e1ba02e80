#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaunt_fuzzing::onnx(bytes));
