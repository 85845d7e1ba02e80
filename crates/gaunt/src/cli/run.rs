//! `gaunt run`: one input through a `.gaunt` file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gaunt_data::{npy, read_image};
use gaunt_format::Model;
use gaunt_runtime::Session;
use serde::Serialize;

use super::{args::Run, data, model, print};

/// Classes that are shown to people.
const SHOWN: usize = 5;

#[derive(Serialize)]
struct Report {
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    logits: Vec<f32>,
}

/// Runs and prints.
pub fn run(args: &Run) -> Result<()> {
    let model = model::load_gaunt(&args.file)?;
    let input = read_input(&model, &args.input)?;
    let mut session = Session::new(&model.graph)?;
    let inputs = [input.as_slice()];
    let outputs = session.run(&inputs, 1)?;
    let logits = outputs.iter().next().map(|output| output.data.to_vec()).unwrap_or_default();
    let class = gaunt_train::argmax(&logits);
    let name = |class: usize| model.metadata.classes.get(class).cloned();
    if args.json {
        return print(&serde_json::to_string(&Report { class, name: name(class), logits })?);
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let odds: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - logits[class]).exp()).collect();
    let total: f64 = odds.iter().sum();
    let lines = order.into_iter().take(SHOWN).map(|class| {
        let name = name(class).unwrap_or_else(|| format!("class {class}"));
        format!("{:6.2} %  {name}", 100.0 * odds[class] / total)
    });
    print(&lines.collect::<Vec<String>>().join("\n"))
}

fn read_input(model: &Model, path: &Path) -> Result<Vec<f32>> {
    let shape = data::input_shape(&model.graph)?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        let (found, floats) = npy::read(path)?;
        // With or without the batch axis.
        let dims = found.strip_prefix(&[1]).filter(|rest| rest.len() == 3).unwrap_or(&found);
        if dims != shape {
            bail!("{}: has shape {found:?}, but the network takes {shape:?}", path.display());
        }
        return Ok(floats);
    }
    let normalization = model::normalization(&model.metadata)?
        .context("the file does not say how images are normalised; give normalised numbers as .npy")?;
    Ok(read_image(path, shape, &normalization)?)
}
