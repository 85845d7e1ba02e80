//! A small file makes no reader take much memory or time, whatever it claims.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicIsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gaunt_format::{File, FormatError, Limits, Model, Rows, decode_codes, encode_codes};
use gaunt_graph::{Dim, Graph, Op, Tensor, Unary, log_scale, onnx};

/// What a file of a kilobyte may take at most.
const MEMORY: isize = 16 << 20;
const TIME: Duration = Duration::from_secs(2);

/// Counts what all threads have allocated: readers may have several.
struct Counting;

static TAKEN: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as isize;
        PEAK.fetch_max(TAKEN.fetch_add(size, Relaxed) + size, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by each test, so that none counts what another allocates.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something that must be modest; also says what it took.
fn modestly<T>(what: &str, work: impl FnOnce() -> T) -> (T, isize) {
    let (before, start) = (TAKEN.load(Relaxed), Instant::now());
    PEAK.store(before, Relaxed);
    let result = work();
    let (memory, time) = (PEAK.load(Relaxed) - before, start.elapsed());
    assert!(memory <= MEMORY, "{what} takes {memory} bytes");
    assert!(time <= TIME, "{what} takes {time:?}");
    (result, memory)
}

/// Reads the file of a model, if a writer lets it be one; a reader may refuse it.
fn read_modestly(what: &str, model: &Model) {
    let Ok(bytes) = model.to_bytes() else { return };
    let _ = modestly(&format!("{what} in {} bytes", bytes.len()), || Model::from_bytes(&bytes));
}

/// A network of one linear layer whose weights are zero.
fn zeros(inputs: usize, outputs: usize) -> Model {
    let mut graph = Graph::new("zeros");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(inputs)]);
    let codes = Tensor::from_codes(vec![outputs, inputs], vec![0; inputs * outputs], vec![1.0]).unwrap();
    let weight = graph.add_parameter("fc.weight", codes);
    let y = graph.add_node("fc", Op::Linear, &[x, weight]).unwrap();
    graph.outputs.push(y);
    Model { graph, ..Model::default() }
}

#[test]
fn the_allocator_counts() {
    let _alone = alone();
    // The thread that runs the tests may free a little meanwhile, so that not all of it is seen.
    let (_, memory) = modestly("a vector", || vec![1u8; 2 << 20]);
    assert!(memory >= 1 << 20, "only {memory} bytes");
}

#[test]
fn a_network_of_zeros_is_as_small_as_its_file_allows() {
    let _alone = alone();
    let model = zeros(700, 700);
    let bytes = model.to_bytes().unwrap();
    assert!(bytes.len() < 1024, "{} bytes", bytes.len());
    assert_eq!(modestly("490,000 zeros", || Model::from_bytes(&bytes)).0.as_ref(), Ok(&model));
    assert!(matches!(zeros(4000, 4000).to_bytes(), Err(FormatError::Limit { what: "elements", .. })));
}

/// Who has no room for a tensor reads it row by row.
#[test]
fn rows_take_less_memory_than_their_tensor() {
    let _alone = alone();
    let mut graph = Graph::new("wide");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(512)]);
    let codes = (0..2048 * 512).map(|i| i * 31 % 7 - 3).collect();
    let weight = graph.add_parameter("fc.weight", Tensor::from_codes(vec![2048, 512], codes, vec![0.5]).unwrap());
    let y = graph.add_node("fc", Op::Linear, &[x, weight]).unwrap();
    graph.outputs.push(y);
    let bytes = Model { graph, ..Model::default() }.to_bytes().unwrap();
    let file = File::open(&bytes, &Limits::default()).unwrap();
    let count = |mut rows: Rows| -> Result<usize, FormatError> {
        let mut count = 0;
        while rows.next_row()?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    let (rows, memory) = modestly("a tensor of four megabytes", || count(file.rows(file.parameters()[0])?));
    assert_eq!(rows, Ok(2048));
    assert!(memory < 64 << 10, "{memory} bytes");
}

#[test]
fn lengths_in_a_header_are_not_believed() {
    let _alone = alone();
    let good = zeros(7, 7).to_bytes().unwrap();
    let (magic, rest) = good.split_at(6);
    let huge: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    for skipped in 0..rest.len() {
        let bytes = [magic, &rest[..skipped], huge, &rest[skipped..]].concat();
        modestly("a file with a huge number", || gaunt_fuzzing::container(&bytes));
        let bytes = [magic, &rest[..skipped], huge, rest.get(skipped + 1..).unwrap_or_default()].concat();
        modestly("a file with a huge number in place of a byte", || gaunt_fuzzing::container(&bytes));
    }
}

#[test]
fn shapes_of_codes_are_not_believed() {
    let _alone = alone();
    for shape in [vec![usize::MAX], vec![0, usize::MAX], vec![1 << 40, 1 << 40], vec![usize::MAX, 0], vec![1 << 29]] {
        let (codes, _) = modestly("a huge shape", || decode_codes(&[0x55; 1000], &shape));
        assert!(codes.is_err() || shape.contains(&0), "{shape:?}");
    }
    for shape in [&[700, 700][..], &[490_000], &[1, 490_000], &[1, 1, 490_000], &[490_000, 1], &[1, 49_000, 2, 5]] {
        let bytes = encode_codes(&[0; 490_000], shape);
        modestly("zeros", || decode_codes(&bytes, shape)).0.unwrap();
    }
}

/// Names are written once, but a layer and what it makes are called after its weight.
#[test]
fn a_long_name_is_not_repeated_for_every_layer() {
    let _alone = alone();
    let mut graph = Graph::new("long");
    let mut x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(1)]);
    let weight = graph.add_parameter("w".repeat(50_000), Tensor::full(vec![1, 1], 1.0));
    for layer in 0..1000 {
        x = graph.add_node(format!("fc{layer}"), Op::Linear, &[x, weight]).unwrap();
    }
    graph.outputs.push(x);
    read_modestly("a long name", &Model { graph, ..Model::default() });
}

/// A tensor without elements may have scales.
#[test]
fn scales_count_as_elements() {
    let _alone = alone();
    let mut graph = Graph::new("scales");
    let x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(0)]);
    let channels = 8 << 20;
    let empty = Tensor::from_codes(vec![channels, 0], Vec::new(), vec![log_scale(0); channels]).unwrap();
    let weight = graph.add_parameter("fc.weight", empty);
    let y = graph.add_node("fc", Op::Linear, &[x, weight]).unwrap();
    graph.outputs.push(y);
    read_modestly("eight million scales", &Model { graph, ..Model::default() });
}

#[test]
fn text_that_repeats_itself_does_not_grow_without_bounds() {
    let _alone = alone();
    let mut graph = Graph::new("r".repeat(3 << 20));
    let x = graph.add_input("x", vec![Dim::Batch(1)]);
    graph.outputs.push(x);
    let mut model = Model { graph, ..Model::default() };
    model.metadata.classes = vec![String::new(); 3 << 20];
    read_modestly("repeated text", &model);
}

#[test]
fn nodes_that_repeat_themselves_do_not_grow_without_bounds() {
    let _alone = alone();
    let mut graph = Graph::new("deep");
    let mut x = graph.add_input("x", vec![Dim::Batch(1), Dim::Fixed(1)]);
    for node in 0..1 << 16 {
        x = graph.add_node(format!("n{node}"), Op::Unary(Unary::Relu), &[x]).unwrap();
    }
    graph.outputs.push(x);
    read_modestly("a chain of 65,536 nodes", &Model { graph, ..Model::default() });
}

/// A field of protocol buffers with bytes in it.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 1 << 14);
    let length = [content.len() as u8 | 0x80, (content.len() >> 7) as u8];
    [&[number << 3 | 2][..], &length, content].concat()
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
    field(1, &[inputs, field(2, output.as_bytes()), field(4, op.as_bytes())].concat())
}

/// A constant of `rows * columns` numbers, added to itself over and over.
fn constant_arithmetic(rows: u64, columns: u64, additions: usize) -> Vec<u8> {
    const INT64: [u8; 2] = [2 << 3, 7];
    let sizes = [rows.to_le_bytes(), columns.to_le_bytes()].concat();
    let shape = [&[1 << 3, 2][..], &INT64, &field(8, b"shape"), &field(9, &sizes)].concat();
    let mut graph = [node("ConstantOfShape", &["shape"], "c0"), field(2, b"constants"), field(5, &shape)].concat();
    for place in 0..additions {
        let (from, to) = (format!("c{place}"), format!("c{}", place + 1));
        graph.extend(node("Add", &[&from, &from], &to));
    }
    graph.extend(field(12, &field(1, format!("c{additions}").as_bytes())));
    const OPSET_17: [u8; 2] = [2 << 3, 17];
    [field(8, &OPSET_17), field(7, &graph)].concat()
}

#[test]
fn constants_of_onnx_are_not_computed_without_bounds() {
    let _alone = alone();
    let (graph, _) = modestly("a constant", || onnx::read(&constant_arithmetic(4096, 8, 4)));
    assert_eq!(graph.unwrap().parameter_count(), 4096 * 8);
    for (rows, columns, additions) in
        [(4096, 4096, 0), (1 << 32, 1 << 32, 1), (1 << 62, 0, 1), (512, 512, 3), (512, 512, 4), (4096, 8, 100)]
    {
        let bytes = constant_arithmetic(rows, columns, additions);
        let _ = modestly(&format!("{additions} additions of {rows} by {columns}"), || onnx::read(&bytes));
    }
    assert!(onnx::read(&constant_arithmetic(4096, 8, 100)).is_err());
}
