//! Loads a `.gaunt` file, runs the input that the file knows the answer to, and prints the top class:
//! `cargo run --release --example run -- model.gaunt`

use std::{env, error::Error, fs};

use gaunt_format::{Golden, Model};
use gaunt_runtime::Session;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: run MODEL.gaunt")?;
    let Model { graph, metadata } = Model::from_bytes(&fs::read(path)?)?;
    let golden = metadata.golden.ok_or("the file has no golden input")?;
    let &[input] = graph.inputs.as_slice() else {
        return Err("the network has more than one input".into());
    };
    let len = graph.value(input).shape.iter().map(|dim| dim.at(1)).product();
    let image = Golden::input(golden.seed, len);

    let mut session = Session::new(&graph)?;
    let inputs = [image.as_slice()];
    let outputs = session.run(&inputs, 1)?;
    let logits = outputs.get(0).ok_or("the network computes nothing")?.data;

    let top = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let (class, logit) = top.ok_or("the output is empty")?;
    let name = metadata.classes.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
    println!("{name} ({logit})");
    Ok(())
}
