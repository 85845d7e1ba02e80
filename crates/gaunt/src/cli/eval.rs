//! `gaunt eval`: accuracy of a network on a data set.

use std::time::Instant;

use anyhow::Result;
use gaunt_train::{Device, Network, evaluate};
use serde::Serialize;

use super::{args::Eval, data, machine, model, model::Loaded, print, progress};
use gaunt_data::{Dataset, Normalization, Split};

#[derive(Serialize)]
struct Report {
    top1: f64,
    images: usize,
    split: String,
    file_bytes: u64,
    parameters: usize,
    file_ratio: f64,
    seconds: f64,
}

/// Evaluates and prints.
pub fn eval(args: &Eval) -> Result<()> {
    let device = machine::set_up(&args.machine)?;
    let started = Instant::now();
    let loaded = model::load(&args.model, &args.data.input)?;
    let shape = data::input_shape(&loaded.graph)?;
    let normalization =
        data::normalization(&args.data.input, loaded.normalization.as_ref(), &args.data.data, shape[0], || {
            data::read(&args.data.data, Split::Train, shape)
        })?;
    let dataset = data::read(&args.data.data, args.split, shape)?;
    data::check_classes(&dataset, &loaded.graph, &args.data.data)?;
    let predictions = predictions(&loaded, &dataset, &normalization, &device)?;
    let report = Report {
        top1: gaunt_compress::accuracy(&predictions, &dataset),
        images: dataset.len(),
        split: args.split.to_string(),
        file_bytes: loaded.file_bytes,
        parameters: loaded.original_parameters(),
        file_ratio: 4.0 * loaded.original_parameters() as f64 / loaded.file_bytes as f64,
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.json {
        return print(&serde_json::to_string(&report)?);
    }
    print(&format!(
        "top-1 {:.2} % of {} {} images; {} bytes, {:.2}x smaller than {} parameters of 4 bytes; {:.1} s",
        report.top1,
        report.images,
        report.split,
        report.file_bytes,
        report.file_ratio,
        report.parameters,
        report.seconds
    ))
}

/// The class of each image: by the runtime for a `.gaunt` file, whose accuracy its arithmetic defines, by the
/// training device for anything else.
fn predictions(
    loaded: &Loaded,
    dataset: &Dataset,
    normalization: &Normalization,
    device: &Device,
) -> Result<Vec<usize>> {
    if loaded.is_gaunt() {
        let bar = progress::bar(dataset.len() as u64, "evaluating");
        let predictions =
            gaunt_compress::predict(&loaded.graph, dataset, normalization, &|done| bar.set_position(done as u64));
        bar.finish_and_clear();
        return Ok(predictions?);
    }
    let spinner = progress::spinner("evaluating");
    let mut network = Network::new(&loaded.graph, device)?;
    let evaluation = evaluate(&mut network, dataset, normalization);
    spinner.finish_and_clear();
    Ok(evaluation?.predictions)
}
