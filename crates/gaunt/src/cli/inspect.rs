//! `gaunt inspect`: what a `.gaunt` file holds, layer by layer.

use anyhow::{Context, Result};
use gaunt_compress::{ByteSize, bit_width};
use gaunt_format::{Layout, Model};
use gaunt_graph::{Data, Op};
use serde::Serialize;

use super::{args::Inspect, model::MAX_BYTES, output, print, table::table};

/// Everything that is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Parameters of the original network.
    pub parameters: usize,
    /// Four bytes for each of them, over the bytes of the file.
    pub file_ratio: f64,
    /// The same for weights alone: no graph, no biases, no metadata on either side.
    pub payload_ratio: f64,
    /// 32 bits for each weight, over bit-width times nonzero weights: no index cost, as much older work counts.
    pub nominal_ratio: f64,
    /// Program that wrote the file.
    pub tool: String,
    /// How it was made.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// Top-1 of the original and of this network on the validation split, in per cent.
    pub validation_accuracy: Option<[f32; 2]>,
    /// Bytes of graph, metadata and checksums.
    pub overhead_bytes: usize,
    /// Layers in the order of execution.
    pub layers: Vec<LayerReport>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// Called after its weight.
    pub name: String,
    /// Operator.
    pub op: &'static str,
    /// Shape of the weight.
    pub shape: Vec<usize>,
    /// Share of zero weights.
    pub sparsity: f64,
    /// Bits that the largest code needs, sign included; 32 for floats.
    pub bits: u32,
    /// Mean scale of the output channels; 1 for floats.
    pub step: f64,
    /// Bytes of weight and bias in the file.
    pub payload_bytes: usize,
    /// Part of the file.
    pub share: f64,
}

/// Inspects and prints.
pub fn inspect(args: &Inspect) -> Result<()> {
    let bytes = output::read(&args.file, MAX_BYTES)?;
    let report = report(&bytes).with_context(|| format!("{}", args.file.display()))?;
    if args.json {
        return print(&serde_json::to_string(&report)?);
    }
    print(&text(&report))
}

/// Looks into the bytes of a file.
pub fn report(bytes: &[u8]) -> Result<Report> {
    let model = Model::from_bytes(bytes)?;
    let layout = Model::layout(bytes)?;
    let layers = layers(&model, &layout);
    let provenance = &model.metadata.provenance;
    let parameters = match provenance.parameters as usize {
        0 => model.graph.parameter_count(),
        parameters => parameters,
    };
    let (mut present, mut coded_bits, mut nominal_bits) = (0usize, 0.0, 0.0);
    for (layer, payload) in layers.iter().zip(weight_bytes(&model, &layout)) {
        let count: usize = layer.shape.iter().product();
        present += count;
        coded_bits += 8.0 * payload as f64;
        nominal_bits += (1.0 - layer.sparsity) * count as f64 * f64::from(layer.bits);
    }
    // Dead channels are gone from the file, but not from what the original cost.
    let weights = present.max(provenance.weights as usize);
    Ok(Report {
        file_bytes: bytes.len(),
        parameters,
        file_ratio: 4.0 * parameters as f64 / bytes.len() as f64,
        payload_ratio: 32.0 * weights as f64 / coded_bits,
        nominal_ratio: 32.0 * weights as f64 / nominal_bits,
        tool: provenance.tool.clone(),
        recipe: provenance.recipe.clone(),
        seed: provenance.seed,
        validation_accuracy: provenance.accuracy,
        overhead_bytes: layout.header + layout.description + layout.metadata,
        layers,
    })
}

fn layers(model: &Model, layout: &Layout) -> Vec<LayerReport> {
    let graph = &model.graph;
    let layers = graph.weights().into_iter().filter_map(|weight| {
        let node = &graph.nodes[weight.node];
        let value = graph.value(weight.value);
        let tensor = value.tensor.as_ref()?;
        let (zeros, bits, step) = match tensor.data() {
            Data::Floats(floats) => (floats.iter().filter(|&&w| w == 0.0).count(), 32, 1.0),
            Data::Codes { codes, scales } => {
                let mean = scales.iter().map(|&scale| f64::from(scale)).sum::<f64>() / scales.len().max(1) as f64;
                (codes.iter().filter(|&&code| code == 0).count(), bit_width(codes), mean)
            }
        };
        let own = &node.inputs[1..];
        let payload_bytes = layout.tensors.iter().filter(|(id, _)| own.contains(id)).map(|(_, bytes)| bytes).sum();
        Some(LayerReport {
            name: value.name.strip_suffix(".weight").unwrap_or(&value.name).to_string(),
            op: match node.op {
                Op::Conv(_) => "conv",
                _ => "linear",
            },
            shape: tensor.shape().to_vec(),
            sparsity: zeros as f64 / tensor.len().max(1) as f64,
            bits,
            step,
            payload_bytes,
            share: payload_bytes as f64 / layout.file as f64,
        })
    });
    layers.collect()
}

/// Bytes of each layer's weight alone, in the same order.
fn weight_bytes(model: &Model, layout: &Layout) -> Vec<usize> {
    let weights = model.graph.weights();
    let bytes = weights.iter().filter_map(|weight| layout.tensors.iter().find(|(id, _)| *id == weight.value));
    bytes.map(|(_, bytes)| *bytes).collect()
}

/// The report for people.
pub fn text(report: &Report) -> String {
    let mut table = table(&["layer", "op", "shape", "sparsity", "bits", "bytes", "share"]);
    for layer in &report.layers {
        let shape: Vec<String> = layer.shape.iter().map(ToString::to_string).collect();
        table.add_row([
            layer.name.clone(),
            layer.op.to_string(),
            shape.join("x"),
            format!("{:.1} %", 100.0 * layer.sparsity),
            layer.bits.to_string(),
            layer.payload_bytes.to_string(),
            format!("{:.1} %", 100.0 * layer.share),
        ]);
    }
    table.add_row([
        "graph, metadata, checksums".to_string(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        report.overhead_bytes.to_string(),
        format!("{:.1} %", 100.0 * report.overhead_bytes as f64 / report.file_bytes as f64),
    ]);
    let mut text = format!("{table}\n\n");
    text += &format!(
        "file      {} ({}), {:.2}x smaller than {} parameters of 4 bytes\n",
        report.file_bytes,
        ByteSize(report.file_bytes as u64),
        report.file_ratio,
        report.parameters
    );
    text += &format!("payload   {:.2}x, weights alone on both sides\n", report.payload_ratio);
    text +=
        &format!("nominal   {:.2}x, 32 bits over bits times nonzero weights, without any index", report.nominal_ratio);
    if let Some([before, after]) = report.validation_accuracy {
        text += &format!("\naccuracy  {before:.2} % before, {after:.2} % after, on the validation split");
    }
    if !report.tool.is_empty() {
        text += &format!("\nmade by   {}, seed {}, {}", report.tool, report.seed, report.recipe);
    }
    text
}
