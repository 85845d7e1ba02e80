//! Rules of elementwise operators, products and normalisations.

use alloc::vec;

use super::{Dim, Rule, Show, dim, err, expect, fixed};

/// NumPy broadcasting of two shapes.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Rule {
    let rank = a.len().max(b.len());
    let aligned = |shape: &[Dim], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => Dim::Fixed(1),
    };
    (0..rank)
        .map(|axis| match (aligned(a, axis), aligned(b, axis)) {
            (x, y) if x == y => Ok(x),
            (x, Dim::Fixed(1)) => Ok(x),
            (Dim::Fixed(1), y) => Ok(y),
            (x, y) => err!("{} and {} do not broadcast: {x} against {y}", Show(a), Show(b)),
        })
        .collect()
}

pub(super) fn expand(x: &[Dim], shape: &[Dim]) -> Rule {
    match broadcast(x, shape) {
        Ok(result) if result == shape => Ok(result),
        _ => err!("{} does not broadcast to {}", Show(x), Show(shape)),
    }
}

pub(super) fn matmul(a: &[Dim], b: &[Dim]) -> Rule {
    let ([a_lead @ .., rows, inner], [b_lead @ .., b_inner, columns]) = (a, b) else {
        return err!("takes matrices, but got {} and {}", Show(a), Show(b));
    };
    if inner != b_inner {
        return err!("the inner dimensions of {} and {} differ: {inner} and {b_inner}", Show(a), Show(b));
    }
    let mut shape = broadcast(a_lead, b_lead)?;
    shape.extend([*rows, *columns]);
    Ok(shape)
}

pub(super) fn linear(x: &[Dim], weight: &[Dim], bias: Option<&[Dim]>) -> Rule {
    let [lead @ .., features] = x else {
        return err!("takes [.., features], but got a scalar");
    };
    if weight.len() != 2 {
        return err!("the weight must be [outputs, inputs], but has shape {}", Show(weight));
    }
    let (outputs, inputs) = (fixed(weight, 0)?, fixed(weight, 1)?);
    if *features != Dim::Fixed(inputs) {
        return err!("a weight of shape {} takes {inputs} features, but the input is {}", Show(weight), Show(x));
    }
    if let Some(bias) = bias {
        expect("the bias", bias, &[Dim::Fixed(outputs)])?;
    }
    let mut shape = lead.to_vec();
    shape.push(Dim::Fixed(outputs));
    Ok(shape)
}

pub(super) fn batch_norm(x: &[Dim], parameters: &[&[Dim]]) -> Rule {
    let channels = vec![Dim::Fixed(fixed(x, 1)?)];
    for (name, parameter) in ["gamma", "beta", "mean", "variance"].iter().zip(parameters) {
        expect(name, parameter, &channels)?;
    }
    Ok(x.to_vec())
}

pub(super) fn layer_norm(x: &[Dim], axis: usize, parameters: &[&[Dim]]) -> Rule {
    dim(x, axis)?;
    let normalised = &x[axis..];
    for i in axis..x.len() {
        fixed(x, i)?;
    }
    for (name, parameter) in ["scale", "bias"].iter().zip(parameters) {
        expect(name, parameter, normalised)?;
    }
    Ok(x.to_vec())
}
