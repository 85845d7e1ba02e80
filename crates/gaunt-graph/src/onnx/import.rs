//! From an ONNX model to a [`Graph`]: names, inputs, weights, and one pass over the nodes.

use std::{
    cell::{Cell, OnceCell},
    collections::{HashMap, HashSet},
    rc::Rc,
};

use onnx_rs::ast::{Dimension, Model, Node, ValueInfo};

use super::{
    OnnxError,
    call::Call,
    constant::Constant,
    error::{Outcome, Reason, fail},
    external::External,
    fold::fold,
    operators::{self, Translate},
    tensor,
};
use crate::{Dim, Graph, Op, Shape, Tensor, ValueId};

/// Most axes of a value.
const MAX_RANK: usize = 16;

/// Elements that folding may make, besides one for each byte of the file.
const MAX_FOLDED: usize = 1 << 20;

/// What a name of the file stands for.
#[derive(Clone)]
pub(super) enum Item {
    /// Computed when the network runs.
    Value(ValueId),
    /// Known now.
    Weight(Rc<Weight>),
}

/// A constant; it becomes a parameter when the first node uses it.
pub(super) struct Weight {
    /// The name its parameter should have.
    pub name: String,
    pub constant: Constant,
    parameter: Cell<Option<ValueId>>,
    transposed: OnceCell<Rc<Weight>>,
}

impl Weight {
    pub fn new(name: impl Into<String>, constant: Constant) -> Rc<Self> {
        Rc::new(Self { name: name.into(), constant, parameter: Cell::default(), transposed: OnceCell::new() })
    }

    /// A matrix with its axes exchanged, under the same name, made once.
    pub fn transposed(self: &Rc<Self>) -> Outcome<Rc<Self>> {
        if let Some(done) = self.transposed.get() {
            return Ok(done.clone());
        }
        let floats = self.constant.to_floats()?;
        let transposed = Self::new(self.name.clone(), Constant::Floats(floats.transpose(&[1, 0])));
        Ok(self.transposed.get_or_init(|| transposed).clone())
    }
}

/// The graph being built, and what the names stand for so far.
pub(super) struct Importer<'a> {
    pub graph: Graph,
    /// The batch size that the file fixes, if it does.
    pub fixed_batch: Option<usize>,
    /// Where weights of `Constant` nodes may be.
    pub external: &'a External,
    items: HashMap<&'a str, Item>,
    /// How often each name is used, as input of a node or output of the graph.
    uses: HashMap<&'a str, usize>,
    names: Names<'a>,
    /// Values that hold integers in the file.
    integers: HashSet<ValueId>,
    /// The node that makes a value.
    producers: HashMap<ValueId, usize>,
    /// Values that go by several names.
    aliased: HashSet<ValueId>,
    /// First output of the node at hand.
    output: &'a str,
    fold_budget: usize,
}

/// Imports a parsed model of `bytes` bytes.
pub(super) fn import(model: &Model<'_>, bytes: usize, external: &External) -> Result<Graph, OnnxError> {
    let default_domain = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model.opset_import.iter().filter(|set| default_domain(set.domain)).map(|set| set.version).max();
    let opset = opset.ok_or_else(|| OnnxError::Malformed("it names no opset".into()))?;
    if !(9..=21).contains(&opset) {
        return Err(OnnxError::Opset(opset));
    }
    let source = model.graph.as_ref().ok_or_else(|| OnnxError::Malformed("it holds no graph".into()))?;
    if !source.sparse_initializer.is_empty() {
        return Err(OnnxError::Malformed("sparse initializers are not supported; store them dense".into()));
    }
    let mut importer = Importer::new(source, bytes, external)?;
    for (index, node) in source.node.iter().enumerate() {
        importer.node(node, index, opset)?;
    }
    importer.finish(&source.output)
}

impl<'a> Importer<'a> {
    fn new(source: &'a onnx_rs::ast::Graph<'a>, bytes: usize, external: &'a External) -> Result<Self, OnnxError> {
        let mut uses = HashMap::new();
        let outputs = source.output.iter().map(|output| output.name);
        for name in source.node.iter().flat_map(|node| node.input.iter().copied()).chain(outputs) {
            *uses.entry(name).or_default() += 1;
        }
        let mut importer = Self {
            graph: Graph::new(source.name),
            fixed_batch: None,
            external,
            items: HashMap::new(),
            uses,
            names: Names::of(source),
            integers: HashSet::new(),
            producers: HashMap::new(),
            aliased: HashSet::new(),
            output: "",
            fold_budget: bytes.saturating_add(MAX_FOLDED),
        };
        for initializer in &source.initializer {
            let constant = tensor::decode(initializer, external)?;
            importer.fold_budget = importer.fold_budget.saturating_add(constant.len());
            importer.items.insert(initializer.name(), Item::Weight(Weight::new(initializer.name(), constant)));
        }
        for input in &source.input {
            if !importer.items.contains_key(input.name) {
                importer.input(input)?;
            }
        }
        Ok(importer)
    }

    fn input(&mut self, input: &'a ValueInfo<'a>) -> Result<(), OnnxError> {
        let shape = self.input_shape(input);
        let shape = shape.map_err(|Reason(reason)| OnnxError::Input { name: input.name.to_string(), reason })?;
        let name = self.names.claim(input.name);
        let id = self.graph.add_input(name, shape);
        use onnx_rs::ast::DataType::{Bfloat16, Double, Float, Float16};
        if !matches!(input.tensor_elem_type(), Some(Float | Float16 | Double | Bfloat16)) {
            self.integers.insert(id);
        }
        self.items.insert(input.name, Item::Value(id));
        Ok(())
    }

    /// The first of several axes is the batch; the others must be known.
    fn input_shape(&mut self, input: &ValueInfo<'_>) -> Outcome<Shape> {
        let Some(shape) = input.tensor_shape() else {
            return fail!("it has no shape; export the model with one");
        };
        if shape.dim.len() > MAX_RANK {
            return fail!("it has {} axes, more than {MAX_RANK}", shape.dim.len());
        }
        let batched = shape.dim.len() > 1;
        let dim = |(axis, dim): (usize, &onnx_rs::ast::TensorShapeDimension<'_>)| match &dim.value {
            Dimension::Value(size) if *size > 0 && !(batched && axis == 0) => Ok(Dim::Fixed(*size as usize)),
            _ if axis == 0 => Ok(Dim::Batch(1)),
            Dimension::Param(name) if !name.is_empty() => {
                fail!(
                    "axis {axis} has the variable size `{name}`; only the batch may vary, so export with a fixed size"
                )
            }
            _ => fail!("axis {axis} has no fixed size; only the batch may vary, so export with a fixed size"),
        };
        if let (true, Some(Dimension::Value(size @ 1..))) = (batched, shape.dim.first().map(|dim| &dim.value)) {
            self.fixed_batch = usize::try_from(*size).ok();
        }
        shape.dim.iter().enumerate().map(dim).collect()
    }

    fn node(&mut self, node: &'a Node<'a>, index: usize, opset: i64) -> Result<(), OnnxError> {
        let op = node.op_type.as_str();
        let name = match node.name {
            "" => format!("{op}_{index}"),
            name => name.to_string(),
        };
        let is_default = node.domain.is_empty() || node.domain == "ai.onnx";
        let Some(translate) = operators::find(op).filter(|_| is_default) else {
            let op = if is_default { op.to_string() } else { format!("{}.{op}", node.domain) };
            return Err(OnnxError::Unsupported { node: name, op, supported: operators::names().join(", ") });
        };
        self.output = node.output.first().copied().unwrap_or_default();
        let done = self.call(node, opset).and_then(|call| {
            let (first_node, first_value) = (self.graph.nodes.len(), self.graph.values.len());
            let outputs = match translate {
                Translate::One(translate) => vec![translate(self, &call)?],
                Translate::Many(translate) => translate(self, &call)?,
            };
            self.bind(node, &name, outputs, first_node, first_value)
        });
        done.map_err(|Reason(reason)| OnnxError::Node { node: name.clone(), op: op.to_string(), reason })
    }

    fn call(&self, node: &'a Node<'a>, opset: i64) -> Outcome<Call<'a>> {
        let item = |&name: &&str| match (name, self.items.get(name)) {
            ("", _) => Ok(None),
            (_, Some(item)) => Ok(Some(item.clone())),
            (_, None) => fail!("uses `{name}`, which nothing before it makes"),
        };
        Ok(Call { node, inputs: node.input.iter().map(item).collect::<Outcome<_>>()?, opset })
    }

    /// Gives the new nodes and values the names of the file, and the file's names their meaning.
    fn bind(
        &mut self,
        node: &'a Node<'a>,
        name: &str,
        outputs: Vec<Item>,
        first_node: usize,
        first_value: usize,
    ) -> Outcome<()> {
        let last = self.graph.nodes.len().saturating_sub(1);
        for index in first_node..self.graph.nodes.len() {
            let wanted = if index == last { name.to_string() } else { format!("{name}/{}", index - first_node) };
            self.graph.nodes[index].name = self.names.node(wanted);
        }
        for (&output, item) in node.output.iter().zip(outputs).filter(|(output, _)| !output.is_empty()) {
            if let Item::Value(id) = item {
                let is_new = id.index() >= first_value;
                if is_new && self.graph.value(id).name.is_empty() {
                    self.graph.values[id.index()].name = self.names.claim(output);
                } else {
                    self.aliased.insert(id);
                }
            }
            if self.items.insert(output, item).is_some() {
                return fail!("makes `{output}`, which is already made");
            }
        }
        for index in first_value..self.graph.values.len() {
            if self.graph.values[index].name.is_empty() {
                let base = node.output.first().copied().unwrap_or(name);
                self.graph.values[index].name = self.names.fresh(&format!("{base}/{}", index - first_value));
            }
        }
        Ok(())
    }

    fn finish(mut self, outputs: &'a [ValueInfo<'a>]) -> Result<Graph, OnnxError> {
        for output in outputs {
            let item =
                self.items.get(output.name).cloned().ok_or_else(|| OnnxError::Output(output.name.to_string()))?;
            let id = self.parameter(&item);
            let id = id.map_err(|Reason(reason)| OnnxError::Tensor { name: output.name.to_string(), reason })?;
            let is_computed = self.graph.value(id).tensor.is_none() && !self.graph.inputs.contains(&id);
            if is_computed && !self.graph.outputs.contains(&id) && self.graph.value(id).name != output.name {
                // The output of an operator that is gone, such as `Identity`.
                self.graph.values[id.index()].name = self.names.claim(output.name);
            }
            self.graph.outputs.push(id);
        }
        self.graph.validate()?;
        Ok(self.graph)
    }

    /// The shape of an item.
    pub fn shape(&self, item: &Item) -> Shape {
        match item {
            Item::Value(id) => self.graph.value(*id).shape.clone(),
            Item::Weight(weight) => weight.constant.dims(),
        }
    }

    /// Whether an item is a run-time value that holds integers.
    pub fn is_integer(&self, item: &Item) -> bool {
        matches!(item, Item::Value(id) if self.integers.contains(id))
    }

    /// Whether an item is made by a node with this operator.
    pub fn makes(&self, item: &Item, op: &Op) -> bool {
        let Item::Value(id) = item else { return false };
        self.producers.get(id).is_some_and(|&node| self.graph.nodes[node].op == *op)
    }

    /// Gives a constant vector as bias to the product that makes `id`, which takes the name of the node's output.
    ///
    /// None if that is no product without bias, or has other uses.
    pub fn fuse_bias(&mut self, id: ValueId, bias: &Rc<Weight>) -> Outcome<Option<Item>> {
        let Some(&node) = self.producers.get(&id).filter(|_| !self.aliased.contains(&id)) else { return Ok(None) };
        let outputs = self.graph.value(id).shape.last().copied();
        let &[Dim::Fixed(size)] = bias.constant.dims().as_slice() else { return Ok(None) };
        let is_bare = self.graph.nodes[node].op == Op::Linear && self.graph.nodes[node].inputs.len() == 2;
        if !is_bare || outputs != Some(Dim::Fixed(size)) {
            return Ok(None);
        }
        let bias = self.parameter(&Item::Weight(bias.clone()))?;
        self.graph.nodes[node].inputs.push(bias);
        self.graph.values[id.index()].name = self.names.claim(self.output);
        Ok(Some(Item::Value(id)))
    }

    /// Marks the result of a cast to integers.
    pub fn mark_integer(&mut self, item: &Item) {
        if let Item::Value(id) = item {
            self.integers.insert(*id);
        }
    }

    /// The value of an item; a constant becomes a parameter.
    pub fn parameter(&mut self, item: &Item) -> Outcome<ValueId> {
        let weight = match item {
            Item::Value(id) => return Ok(*id),
            Item::Weight(weight) => weight,
        };
        if let Some(id) = weight.parameter.get() {
            return Ok(id);
        }
        let floats = weight.constant.to_floats()?;
        let name = self.names.claim(&weight.name);
        let id = self.graph.add_parameter(name, Tensor::new(floats.shape, floats.data)?);
        weight.parameter.set(Some(id));
        Ok(id)
    }

    /// Applies an operator with one output: now if its inputs are known, else by a node.
    pub fn emit(&mut self, op: Op, inputs: &[Item]) -> Outcome<Item> {
        match self.emit_all(op, inputs)?.pop() {
            Some(output) => Ok(output),
            None => fail!("makes no output"),
        }
    }

    /// Applies an operator: now if its inputs are known, else by a node.
    pub fn emit_all(&mut self, op: Op, inputs: &[Item]) -> Outcome<Vec<Item>> {
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.shape(input)).collect();
        let shapes = op.output_shapes(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        if let Some(shape) = shapes.iter().find(|shape| shape.len() > MAX_RANK) {
            return fail!("makes a value with {} axes, more than {MAX_RANK}", shape.len());
        }
        if let Some(folded) = self.fold(&op, inputs, &shapes)? {
            return Ok(folded);
        }
        let ids = inputs.iter().map(|input| self.parameter(input)).collect::<Outcome<Vec<_>>>()?;
        let mut runtime_inputs = inputs.iter().filter(|input| matches!(input, Item::Value(_))).peekable();
        let is_integer = runtime_inputs.peek().is_some() && runtime_inputs.all(|input| self.is_integer(input));
        // Names come when the whole node of the file is done.
        let outputs = self.graph.add_node_outputs("", op, &ids, &vec![""; shapes.len()])?;
        if is_integer {
            self.integers.extend(&outputs);
        }
        self.producers.extend(outputs.iter().map(|&output| (output, self.graph.nodes.len() - 1)));
        Ok(outputs.into_iter().map(Item::Value).collect())
    }

    fn fold(&mut self, op: &Op, inputs: &[Item], shapes: &[Shape]) -> Outcome<Option<Vec<Item>>> {
        let weights = inputs.iter().map(|input| match input {
            Item::Weight(weight) => Some(weight),
            Item::Value(_) => None,
        });
        let Some(weights) = weights.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let Some(shapes) = shapes.iter().map(|shape| known(shape)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        self.charge(&shapes)?;
        let constants: Vec<&Constant> = weights.iter().map(|weight| &weight.constant).collect();
        let name = match (op, weights.as_slice()) {
            (Op::Reshape { .. } | Op::Transpose { .. }, [weight]) => weight.name.as_str(),
            _ => self.output,
        };
        let folded = fold(op, &constants, &shapes)?;
        Ok(folded.map(|folded| folded.into_iter().map(|constant| Item::Weight(Weight::new(name, constant))).collect()))
    }

    /// A constant under the name of the node's output.
    pub fn weight(&self, constant: Constant) -> Item {
        Item::Weight(Weight::new(self.output, constant))
    }

    /// Pays for the elements of constants of these shapes, which folding makes.
    pub fn charge(&mut self, shapes: &[Vec<usize>]) -> Outcome<()> {
        let count = |shape: &Vec<usize>| shape.iter().fold(1usize, |count, &size| count.saturating_mul(size));
        let elements = shapes.iter().map(count).fold(0, usize::saturating_add);
        match self.fold_budget.checked_sub(elements) {
            Some(rest) => {
                self.fold_budget = rest;
                Ok(())
            }
            None => fail!("makes a constant of {elements} elements, more than the size of the file warrants"),
        }
    }

    /// Whether `name` is used exactly once.
    pub fn used_once(&self, name: &str) -> bool {
        self.uses.get(name) == Some(&1)
    }
}

/// A shape without the batch.
fn known(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None }).collect()
}

/// Names that are unique: those of the file as they are, others made up beside them.
struct Names<'a> {
    file: HashSet<&'a str>,
    values: HashSet<String>,
    nodes: HashSet<String>,
    /// The last number put behind each name.
    numbers: HashMap<String, usize>,
}

impl<'a> Names<'a> {
    fn of(source: &'a onnx_rs::ast::Graph<'a>) -> Self {
        let outputs = source.node.iter().flat_map(|node| node.output.iter().copied());
        let initializers = source.initializer.iter().map(|tensor| tensor.name());
        let file = source.input.iter().map(|input| input.name).chain(initializers).chain(outputs).collect();
        Self { file, values: HashSet::new(), nodes: HashSet::new(), numbers: HashMap::new() }
    }

    /// The name itself for the first that claims it, else one like it.
    fn claim(&mut self, name: &str) -> String {
        if !name.is_empty() && self.values.insert(name.to_string()) { name.to_string() } else { self.fresh(name) }
    }

    /// A name that neither the file nor the graph has.
    fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_string();
        while name.is_empty() || self.file.contains(name.as_str()) || self.values.contains(&name) {
            name = numbered(&mut self.numbers, base);
        }
        self.values.insert(name.clone());
        name
    }

    fn node(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        while !self.nodes.insert(name.clone()) {
            name = numbered(&mut self.numbers, &wanted);
        }
        name
    }
}

/// `base` with the next number behind it.
fn numbered(numbers: &mut HashMap<String, usize>, base: &str) -> String {
    let number = numbers.entry(base.to_string()).or_insert(1);
    *number += 1;
    format!("{base}_{number}")
}
