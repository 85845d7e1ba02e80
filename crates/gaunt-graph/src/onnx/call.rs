//! One node of an ONNX file, as the translation of its operator sees it.

use std::rc::Rc;

use onnx_rs::ast::{Attribute, Node, TensorProto};

use super::{
    constant::{Affine, Constant},
    error::{Outcome, fail},
    import::{Item, Weight},
};

/// Attributes and inputs of a node.
pub(super) struct Call<'a> {
    pub node: &'a Node<'a>,
    pub inputs: Vec<Option<Item>>,
    pub opset: i64,
}

impl<'a> Call<'a> {
    /// An input that must be there.
    pub fn input(&self, index: usize) -> Outcome<Item> {
        match self.optional(index) {
            Some(item) => Ok(item),
            None => fail!("input {index} is missing"),
        }
    }

    /// An input that may be left out.
    pub fn optional(&self, index: usize) -> Option<Item> {
        self.inputs.get(index).cloned().flatten()
    }

    /// All inputs, none left out.
    pub fn all_inputs(&self) -> Outcome<Vec<Item>> {
        (0..self.inputs.len().max(1)).map(|index| self.input(index)).collect()
    }

    /// An optional input that must be known now.
    pub fn constant(&self, index: usize) -> Outcome<Option<Rc<Weight>>> {
        match self.optional(index) {
            None => Ok(None),
            Some(Item::Weight(weight)) => Ok(Some(weight)),
            Some(Item::Value(_)) => fail!("input {index} must be constant, but is computed from the network's input"),
        }
    }

    /// An optional integer input that must be known now but for the batch.
    pub fn affine(&self, index: usize) -> Outcome<Option<Vec<Affine>>> {
        match self.constant(index)?.as_deref() {
            None => Ok(None),
            Some(Weight { constant: Constant::Ints(array), .. }) => Ok(Some(array.data.clone())),
            Some(_) => fail!("input {index} must hold integers"),
        }
    }

    /// An optional integer input that must be known now.
    pub fn numbers(&self, index: usize) -> Outcome<Option<Vec<i64>>> {
        let Some(values) = self.affine(index)? else { return Ok(None) };
        match values.iter().map(|value| value.as_number()).collect() {
            Some(numbers) => Ok(Some(numbers)),
            None => fail!("input {index} must not depend on the batch size"),
        }
    }

    /// An optional float input that must be known now.
    pub fn floats(&self, index: usize) -> Outcome<Option<Vec<f32>>> {
        self.constant(index)?.map(|weight| Ok(weight.constant.to_floats()?.data)).transpose()
    }

    /// An optional float input with one element.
    pub fn scalar(&self, index: usize) -> Outcome<Option<f32>> {
        match self.floats(index)?.as_deref() {
            None => Ok(None),
            Some(&[value]) => Ok(Some(value)),
            Some(values) => fail!("input {index} must hold one number, but holds {}", values.len()),
        }
    }

    /// Integers from an input where the opset has them there, else from an attribute.
    pub fn numbers_or_attribute(&self, since: i64, index: usize, attribute: &str) -> Outcome<Option<Vec<i64>>> {
        if self.opset >= since { self.numbers(index) } else { Ok(self.ints(attribute)) }
    }

    /// The attribute of a name.
    pub fn attribute(&self, name: &str) -> Option<&'a Attribute<'a>> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    /// A float attribute.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|attribute| attribute.ints.clone())
    }

    /// A string attribute.
    pub fn string(&self, name: &str, default: &'a str) -> Outcome<&'a str> {
        let Some(attribute) = self.attribute(name) else { return Ok(default) };
        match std::str::from_utf8(attribute.s) {
            Ok(text) => Ok(text),
            Err(_) => fail!("attribute `{name}` is not text"),
        }
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<&'a TensorProto<'a>> {
        self.attribute(name)?.t.as_ref()
    }

    /// Refuses an attribute that has another value than the one that is supported.
    pub fn only(&self, name: &str, value: i64) -> Outcome<()> {
        match self.int(name, value) {
            found if found == value => Ok(()),
            found => fail!("`{name}` = {found} is not supported; only {value} is"),
        }
    }

    /// Whether an output is named, and so perhaps used.
    pub fn wants_output(&self, index: usize) -> bool {
        self.node.output.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Refuses outputs besides the first.
    pub fn one_output(&self) -> Outcome<()> {
        match (1..self.node.output.len()).find(|&index| self.wants_output(index)) {
            Some(index) => fail!("output {index} is not supported; only the first is"),
            None => Ok(()),
        }
    }

    /// An axis attribute, made non-negative.
    pub fn axis(&self, default: i64, rank: usize) -> Outcome<usize> {
        axis(self.int("axis", default), rank)
    }
}

/// Makes an axis non-negative and checks it.
pub(super) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let signed = rank as i64;
    let index = if axis < 0 { axis.checked_add(signed) } else { Some(axis) };
    match index {
        Some(index) if (0..signed).contains(&index) => Ok(index as usize),
        _ => fail!("axis {axis} is outside of -{rank}..{rank}"),
    }
}

/// Makes axes non-negative and checks them.
pub(super) fn axes(list: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    list.iter().map(|&index| axis(index, rank)).collect()
}

/// A size or count that must not be negative.
pub(super) fn unsigned(what: &str, value: i64) -> Outcome<usize> {
    match usize::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => fail!("`{what}` = {value} must not be negative"),
    }
}
