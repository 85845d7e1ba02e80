//! The Graph: values, nodes in execution order, parameters.

use alloc::{format, string::String, vec, vec::Vec};

use crate::{Dim, Op, Shape, ShapeError, Tensor, shape::Show};

/// Index of a [`Value`] in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// As an index into [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that flows along an edge: an input, a parameter or the output of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique within the graph. Parameters keep the names of the state dict or ONNX file they came from.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// The elements, if this is a parameter.
    pub tensor: Option<Tensor>,
}

/// One application of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// As in the ONNX file, or the module path of the zoo.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its inputs, in the order that the [`Op`] lists. Optional ones at the end are left out.
    pub inputs: Vec<ValueId>,
    /// Its outputs.
    pub outputs: Vec<ValueId>,
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// A short name, such as the architecture's.
    pub name: String,
    /// Every value; [`ValueId`]s index it.
    pub values: Vec<Value>,
    /// Nodes in execution order: each comes after the producers of its inputs.
    pub nodes: Vec<Node>,
    /// What the caller must provide, without parameters.
    pub inputs: Vec<ValueId>,
    /// What the network computes.
    pub outputs: Vec<ValueId>,
}

/// A weight that compression works on: constant, of a convolution or linear layer, read by that layer alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightRef {
    /// The parameter, `[O, I, KH, KW]` or `[O, I]`.
    pub value: ValueId,
    /// Index of the layer's node.
    pub node: usize,
}

/// A graph that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An operator got inputs it cannot take.
    #[error("node `{node}` ({op}): {reason}")]
    Shape {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// What is wrong.
        reason: ShapeError,
    },
    /// Broken structure: an id out of range, a value used before it is made or made twice.
    #[error("{0}")]
    Structure(String),
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The value of an id.
    ///
    /// # Panics
    /// If the id belongs to another graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Adds a value that nobody makes yet.
    pub fn add_value(&mut self, name: impl Into<String>, shape: Shape) -> ValueId {
        self.push(Value { name: name.into(), shape, tensor: None })
    }

    /// Adds an input of the network.
    pub fn add_input(&mut self, name: impl Into<String>, shape: Shape) -> ValueId {
        let id = self.add_value(name, shape);
        self.inputs.push(id);
        id
    }

    /// Adds a parameter.
    pub fn add_parameter(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let shape = tensor.shape().iter().map(|&size| crate::Dim::Fixed(size)).collect();
        self.push(Value { name: name.into(), shape, tensor: Some(tensor) })
    }

    /// Adds a node with one output, whose shape follows from the inputs; the output takes the node's name.
    ///
    /// # Errors
    /// If the operator cannot take these inputs.
    pub fn add_node(&mut self, name: impl Into<String>, op: Op, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let name = name.into();
        let outputs = self.add_node_outputs(name.clone(), op, inputs, &[&name])?;
        Ok(outputs[0])
    }

    /// Adds a node whose outputs get the given names.
    ///
    /// # Errors
    /// If the operator cannot take these inputs or makes another number of outputs.
    pub fn add_node_outputs(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
        output_names: &[&str],
    ) -> Result<Vec<ValueId>, GraphError> {
        let name = name.into();
        let shapes = {
            let inputs: Vec<&[crate::Dim]> = inputs.iter().map(|&id| self.value(id).shape.as_slice()).collect();
            op.output_shapes(&inputs)
        };
        let shapes = shapes.map_err(|reason| GraphError::Shape { node: name.clone(), op: op.name(), reason })?;
        if shapes.len() != output_names.len() {
            let (made, named) = (shapes.len(), output_names.len());
            return Err(GraphError::Structure(format!("node `{name}` makes {made} outputs, but {named} are named")));
        }
        let outputs: Vec<ValueId> =
            shapes.into_iter().zip(output_names).map(|(shape, &output)| self.add_value(output, shape)).collect();
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: outputs.clone() });
        Ok(outputs)
    }

    /// Ids and tensors of all parameters, in the order of their ids.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        let values = self.values.iter().enumerate();
        values.filter_map(|(i, value)| value.tensor.as_ref().map(|tensor| (ValueId(i as u32), tensor)))
    }

    /// Derives all shapes anew for images of another size. Parameters stay, so that the same network may see small images and
    /// large ones.
    ///
    /// # Errors
    /// If the network has not one input `[N, C, H, W]`, a node cannot take what it would get, or an output would have another
    /// shape. The graph is as it was then.
    pub fn resize_images(&mut self, [height, width]: [usize; 2]) -> Result<(), GraphError> {
        let mut shapes: Vec<Shape> = self.values.iter().map(|value| value.shape.clone()).collect();
        match (self.inputs.as_slice(), self.inputs.first().map(|input| &mut shapes[input.index()])) {
            ([_], Some(shape)) if shape.len() == 4 => {
                shape[2..].copy_from_slice(&[Dim::Fixed(height), Dim::Fixed(width)])
            }
            _ => return structure("only a network with one input [N, C, H, W] takes images of another size".into()),
        }
        for node in &self.nodes {
            let inputs: Vec<&[Dim]> = node.inputs.iter().map(|id| shapes[id.index()].as_slice()).collect();
            let made = node.op.output_shapes(&inputs).map_err(|reason| GraphError::Shape {
                node: node.name.clone(),
                op: node.op.name(),
                reason,
            })?;
            node.outputs.iter().zip(made).for_each(|(id, shape)| shapes[id.index()] = shape);
        }
        if let Some(output) = self.outputs.iter().find(|id| shapes[id.index()] != self.value(**id).shape) {
            let (name, shape) = (&self.value(*output).name, Show(&shapes[output.index()]));
            return structure(format!("output `{name}` would be {shape} for images of {height} x {width}"));
        }
        self.values.iter_mut().zip(shapes).for_each(|(value, shape)| value.shape = shape);
        Ok(())
    }

    /// Number of elements in all parameters: weights, biases, batch-norm affine and running statistics.
    pub fn parameter_count(&self) -> usize {
        self.parameters().map(|(_, tensor)| tensor.len()).sum()
    }

    /// Multiplications of convolutions and linear layers for one image: next to all that a network costs.
    pub fn multiplications(&self) -> u64 {
        let size = |id: ValueId| self.value(id).shape.iter().map(|dim| dim.at(1) as u64).product::<u64>();
        let layers = self.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_) | Op::Linear));
        let counts = layers.filter_map(|node| {
            let (&weight, &output) = (node.inputs.get(1)?, node.outputs.first()?);
            let outputs = self.value(weight).shape.first()?.at(1) as u64;
            Some(size(output) * (size(weight) / outputs.max(1)))
        });
        counts.sum()
    }

    /// Checks what every part of Gaunt takes for granted: ids are in range, each value is made once and before it
    /// is used, shapes follow from the operators' rules, parameters have the shape of their value, names of values
    /// are unique, outputs are made.
    ///
    /// # Errors
    /// The first violation, with the name of the node or value.
    pub fn validate(&self) -> Result<(), GraphError> {
        let mut made = self.check_sources()?;
        for node in &self.nodes {
            let inputs =
                node.inputs.iter().map(|&id| self.made_shape(id, &made, node)).collect::<Result<Vec<_>, _>>()?;
            let shapes = node.op.output_shapes(&inputs).map_err(|reason| GraphError::Shape {
                node: node.name.clone(),
                op: node.op.name(),
                reason,
            })?;
            if shapes.len() != node.outputs.len() {
                let (name, expected, found) = (&node.name, shapes.len(), node.outputs.len());
                return structure(format!("node `{name}` makes {expected} outputs, but lists {found}"));
            }
            for (&id, shape) in node.outputs.iter().zip(&shapes) {
                let value = self.checked_value(id, &node.name)?;
                if value.shape != *shape {
                    let (found, wanted) = (Show(&value.shape), Show(shape));
                    let (value, node) = (&value.name, &node.name);
                    return structure(format!("value `{value}` has shape {found}, but node `{node}` makes {wanted}"));
                }
                self.mark(id, &mut made)?;
            }
        }
        for &id in &self.outputs {
            let value = self.checked_value(id, "the list of outputs")?;
            if !made[id.index()] {
                return structure(format!("output `{}` is never made", value.name));
            }
        }
        Ok(())
    }

    /// Checks names, inputs and parameters; says of each value whether it is there before the first node.
    fn check_sources(&self) -> Result<Vec<bool>, GraphError> {
        let mut names: Vec<&str> = self.values.iter().map(|value| value.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return structure(format!("two values are named `{}`", pair[0]));
        }
        let mut made = vec![false; self.values.len()];
        for &id in &self.inputs {
            self.checked_value(id, "the list of inputs")?;
            self.mark(id, &mut made)?;
        }
        for (id, tensor) in self.parameters() {
            let value = self.value(id);
            let fits = value.shape.iter().copied().eq(tensor.shape().iter().map(|&size| Dim::Fixed(size)));
            if !fits {
                let (name, shape, found) = (&value.name, Show(&value.shape), tensor.shape());
                return structure(format!("parameter `{name}` has shape {shape}, but its tensor has {found:?}"));
            }
            self.mark(id, &mut made)?;
        }
        Ok(made)
    }

    fn made_shape(&self, id: ValueId, made: &[bool], node: &Node) -> Result<&[Dim], GraphError> {
        let value = self.checked_value(id, &node.name)?;
        if !made[id.index()] {
            return structure(format!("node `{}` uses value `{}` before it is made", node.name, value.name));
        }
        Ok(&value.shape)
    }

    fn checked_value(&self, id: ValueId, user: &str) -> Result<&Value, GraphError> {
        let count = self.values.len();
        let missing = || GraphError::Structure(format!("`{user}` names value {}, but there are {count} values", id.0));
        self.values.get(id.index()).ok_or_else(missing)
    }

    fn mark(&self, id: ValueId, made: &mut [bool]) -> Result<(), GraphError> {
        if core::mem::replace(&mut made[id.index()], true) {
            return structure(format!("value `{}` is made twice", self.value(id).name));
        }
        Ok(())
    }

    /// The weights of convolutions and linear layers, in the order in which they are used.
    pub fn weights(&self) -> Vec<WeightRef> {
        let layers = self.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Conv(_) | Op::Linear));
        let weights = layers.filter_map(|(index, node)| {
            let value = *node.inputs.get(1)?;
            let readers = self.nodes.iter().flat_map(|node| &node.inputs).filter(|&&input| input == value).count();
            (self.value(value).tensor.is_some() && readers == 1).then_some(WeightRef { value, node: index })
        });
        weights.collect()
    }

    fn push(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }
}

fn structure<T>(message: String) -> Result<T, GraphError> {
    Err(GraphError::Structure(message))
}
