//! Data sets as a network wants them.

use std::borrow::Borrow;

use anyhow::{Context, Result, bail};
use gaunt_data::{Dataset, Normalization, OpenOptions, Source, Split, open_split};
use gaunt_graph::{Dim, Graph};

use super::args::Input;

/// Shape of the images that a graph takes, `[C, H, W]`.
pub fn input_shape(graph: &Graph) -> Result<[usize; 3]> {
    let [input] = graph.inputs[..] else {
        bail!("the network has {} inputs, but one input of images is needed", graph.inputs.len());
    };
    let value = graph.value(input);
    match value.shape[..] {
        [_, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)] => Ok([channels, height, width]),
        _ => bail!("input `{}` is no batch of images [N, C, H, W] of known size", value.name),
    }
}

/// How many classes a graph tells apart.
pub fn class_count(graph: &Graph) -> Result<usize> {
    let [output] = graph.outputs[..] else {
        bail!("the network has {} outputs, but one output of logits is needed", graph.outputs.len());
    };
    let value = graph.value(output);
    match value.shape[..] {
        [_, Dim::Fixed(classes)] => Ok(classes),
        _ => bail!("output `{}` is no batch of logits [N, classes]", value.name),
    }
}

/// Reads a split with images of the given shape.
pub fn read(source: &Source, split: Split, shape: [usize; 3]) -> Result<Dataset> {
    let [channels, height, width] = shape;
    let options = OpenOptions { size: Some([height, width]), channels: Some(channels), ..OpenOptions::default() };
    open_split(source, split, &options).with_context(|| format!("data {source}"))
}

/// The normalisation that the flags, a network's file or the data set says, in this order; else that of the training images, which are
/// asked for then only.
pub fn normalization<D: Borrow<Dataset>>(
    input: &Input,
    known: Option<&Normalization>,
    source: &Source,
    channels: usize,
    training: impl FnOnce() -> Result<D>,
) -> Result<Normalization> {
    let said = from_flags(input, channels)?.or_else(|| known.cloned());
    match said.or_else(|| source.default_normalization(channels)) {
        Some(normalization) => Ok(normalization),
        None => Ok(Normalization::measure(training()?.borrow())),
    }
}

/// The normalisation of `--mean` and `--std`.
fn from_flags(input: &Input, channels: usize) -> Result<Option<Normalization>> {
    let (Some(mean), Some(std)) = (&input.mean, &input.std) else { return Ok(None) };
    for (flag, numbers) in [("--mean", mean), ("--std", std)] {
        if numbers.len() != channels {
            bail!("{flag} has {} numbers, but the images have {channels} channels", numbers.len());
        }
    }
    Ok(Some(Normalization::new(mean.clone(), std.clone())?))
}

/// Fails if a data set has another number of classes than the network.
pub fn check_classes(dataset: &Dataset, graph: &Graph, source: &Source) -> Result<()> {
    let (found, wanted) = (dataset.classes().len(), class_count(graph)?);
    if found != wanted {
        bail!("data {source} has {found} classes, but the network tells {wanted} apart");
    }
    Ok(())
}
