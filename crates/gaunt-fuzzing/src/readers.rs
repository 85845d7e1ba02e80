//! The readers and what each must hold to.

use gaunt_format::{File, FormatError, Limits, Model, Row, decode_codes, encode_codes};
use gaunt_graph::{Dim, Graph, ValueId, onnx::read as import};
use gaunt_runtime::Session;

/// Reads a file, as it is and with checksums that hold. A file that is read must be written and read again as the same.
pub fn container(bytes: &[u8]) {
    let _ = Model::from_bytes(bytes);
    let bytes = sealed(bytes);
    let layout = Model::layout(&bytes);
    if let Ok(model) = Model::from_bytes(&bytes) {
        assert_eq!(layout.expect("what can be read has a layout").file, bytes.len());
        check_comes_back(&model);
    }
    check_rows(&bytes);
}

/// Decodes the rest of the input as codes of the shape at its start; then takes it for codes, which must come back.
pub fn codes(bytes: &[u8]) {
    let mut input = Input(bytes);
    let shape = input.shape();
    if let Ok(codes) = decode_codes(input.0, &shape) {
        assert_eq!(codes.len(), shape.iter().product::<usize>());
        check_codes_come_back(&codes, &shape);
    }
    let inner = shape.iter().skip(1).try_fold(1usize, |count, &size| count.checked_mul(size));
    let Some(inner) = inner.filter(|inner| (1..=input.0.len()).contains(inner)) else { return };
    let mut codes: Vec<i32> = core::iter::from_fn(|| (!input.0.is_empty()).then(|| input.code())).collect();
    codes.truncate(codes.len() / inner * inner);
    let shape = [&[codes.len() / inner][..], shape.get(1..).unwrap_or_default()].concat();
    check_codes_come_back(&codes, &shape);
}

/// Imports a network, which must hold together and survive a file of ours.
pub fn onnx(bytes: &[u8]) {
    let Ok(graph) = import(bytes) else { return };
    graph.validate().expect("an imported graph is valid");
    let model = Model { graph, ..Model::default() };
    // A file has limits that ONNX has not.
    if let Ok(model) = model.to_bytes().and_then(|file| Model::from_bytes(&file)) {
        check_comes_back(&model);
    }
}

/// Runs the network of a file on zeros, if it is tiny.
pub fn runtime(bytes: &[u8]) {
    const TINY: usize = 1 << 14;
    let limits = Limits { elements: TINY, nodes: 256, tensors: 256, description: TINY, ..Limits::default() };
    let Ok(Model { graph, .. }) = Model::from_bytes_with(&sealed(bytes), &limits) else { return };
    let lengths = graph.inputs.iter().map(|&input| length(&graph, input));
    let Some(lengths) = lengths.collect::<Option<Vec<usize>>>() else { return };
    if lengths.iter().any(|&length| length > TINY) {
        return;
    }
    let Ok(mut session) = Session::with_memory_limit(&graph, 4 * TINY) else { return };
    let inputs: Vec<Vec<f32>> = lengths.into_iter().map(|length| vec![0.0; length]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let outputs = session.run(&inputs, 1).expect("a session runs inputs of the right size");
    assert_eq!(outputs.len(), graph.outputs.len());
    for (output, &id) in outputs.iter().zip(&graph.outputs) {
        assert_eq!(Some(output.data.len()), length(&graph, id));
    }
}

/// Elements of a value for one image, if they can be counted.
fn length(graph: &Graph, id: ValueId) -> Option<usize> {
    graph.value(id).shape.iter().try_fold(1usize, |count, dim: &Dim| count.checked_mul(dim.at(1)))
}

/// The bytes with checksums that hold, as far as the reader gets: mutations would hardly pass otherwise. The reader itself says which
/// checksum it found and which it wants, so that nothing here depends on the format.
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..8 {
        let Err(FormatError::Checksum { found, expected, .. }) = Model::layout(&bytes) else { break };
        let stored = expected.to_le_bytes();
        // What comes after a checksum does not count for it, so that a wrong place does no harm there.
        let Some(place) = bytes.windows(stored.len()).rposition(|window| window == stored) else { break };
        bytes[place..place + stored.len()].copy_from_slice(&found.to_le_bytes());
    }
    bytes
}

/// Written and read again, a model is the same. (Bytes are compared as well: a NaN equals nothing.)
fn check_comes_back(model: &Model) {
    let bytes = model.to_bytes().expect("what was read can be written");
    let again = Model::from_bytes(&bytes).expect("what was written can be read");
    assert_eq!(again.to_bytes().as_ref(), Ok(&bytes));
    assert_eq!(format!("{again:?}"), format!("{model:?}"));
}

/// Row by row a tensor is read as far as it is sound, and then it is what it is as a whole.
fn check_rows(bytes: &[u8]) {
    let Ok(file) = File::open(bytes, &Limits::default()) else { return };
    for &id in file.parameters() {
        let whole = file.tensor(id);
        let Ok(mut rows) = file.rows(id) else {
            assert!(whole.is_err());
            continue;
        };
        let mut elements = Vec::new();
        let end = loop {
            match rows.next_row() {
                Ok(Some(Row::Floats(floats))) => elements.extend(floats),
                Ok(Some(Row::Codes { codes, scales })) => {
                    elements.extend(codes.iter().zip(scales.iter().cycle()).map(|(&code, scale)| code as f32 * scale));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(end.is_ok(), whole.is_ok(), "{end:?}");
        if let Ok(whole) = whole {
            let bits = |elements: Vec<f32>| elements.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            assert_eq!(bits(elements), bits(whole.to_floats()));
        }
    }
}

fn check_codes_come_back(codes: &[i32], shape: &[usize]) {
    let decoded = decode_codes(&encode_codes(codes, shape), shape);
    assert_eq!(decoded.as_deref(), Ok(codes));
}

/// The bytes that are left of an input; zeros follow them.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    /// Up to four axes, mostly short. The others are so long that they must be refused, or have no elements.
    fn shape(&mut self) -> Vec<usize> {
        let axes = self.byte() % 5;
        let axis = |byte: u8| match byte {
            0xf0.. => usize::MAX >> (byte & 7),
            _ => usize::from(byte % 14),
        };
        (0..axes).map(|_| axis(self.byte())).collect()
    }

    /// A code: half of the bytes are a zero, most others a small one, the last ones announce one of any size.
    fn code(&mut self) -> i32 {
        match self.byte() {
            ..0x80 => 0,
            byte @ ..0xe0 => i32::from(byte) - 0xb0,
            _ => i32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }
}
