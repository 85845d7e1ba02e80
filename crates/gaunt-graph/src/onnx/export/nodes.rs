//! The ONNX form of each operator.

use onnx_rs::ast::{Attribute, AttributeType};

use super::{Exporter, FileNode, signed};
use crate::{
    Conv, Dim, GraphError, NearestRounding, Node, Op, PadMode, Pool, Resize, ResizeCoordinates, ResizeMode, Shape,
    SliceAxis, Unary, ValueId, onnx::operators::without_idle_ceil,
};

/// Codes of element types in `Cast`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const BOOL: i64 = 9;

type Done = Result<(), GraphError>;

impl Exporter<'_> {
    /// Adds the node, with helpers before it where ONNX needs several.
    pub(super) fn node(&mut self, node: &Node) -> Done {
        match &node.op {
            Op::Conv(conv) => self.plain(node, conv_attributes(conv)),
            Op::BatchNorm { epsilon } => self.plain(node, vec![float("epsilon", *epsilon)]),
            Op::Linear => self.linear(node),
            Op::MatMul => self.plain(node, vec![]),
            Op::Unary(unary) => self.unary(node, *unary),
            Op::Binary(_) => self.plain(node, vec![]),
            Op::Softmax { axis } | Op::Concat { axis } => self.plain(node, vec![int("axis", *axis as i64)]),
            Op::MaxPool(pool) => self.plain(node, pool_attributes(pool, self.input_shape(node))),
            Op::AveragePool { pool, count_include_pad } => {
                let mut attributes = pool_attributes(pool, self.input_shape(node));
                attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
                self.plain(node, attributes);
            }
            Op::Reduce { axes, keep_dims, .. } => self.reduce(node, axes, *keep_dims),
            Op::LayerNorm { axis, epsilon } => {
                self.plain(node, vec![int("axis", *axis as i64), float("epsilon", *epsilon)]);
            }
            Op::Reshape { shape } => return self.reshape(node, shape),
            Op::Transpose { perm } => self.plain(node, vec![ints("perm", signed(perm))]),
            Op::Split { axis, sizes } => {
                self.with_ints(node, vec![("split", signed(sizes))], vec![int("axis", *axis as i64)]);
            }
            Op::Slice { axes } => self.slice(node, axes),
            Op::Pad { pads, mode } => self.pad(node, pads, *mode),
            Op::Expand { shape } => return self.expand(node, shape),
            Op::Resize(resize) => self.resize(node, resize),
            Op::Gather { axis, indices, indices_shape } => self.gather(node, *axis, indices, indices_shape),
            Op::Where => self.choose(node),
        }
        Ok(())
    }

    fn inputs(&self, node: &Node) -> Vec<String> {
        node.inputs.iter().map(|&id| self.name(id)).collect()
    }

    fn input_shape(&self, node: &Node) -> &[Dim] {
        node.inputs.first().map_or(&[], |&id| &self.graph.value(id).shape)
    }

    /// The ONNX operator of the same name with these attributes.
    fn plain(&mut self, node: &Node, attributes: Vec<Attribute<'static>>) {
        let inputs = self.inputs(node);
        self.named(node, node.op.name(), inputs, attributes);
    }

    /// The node that makes the outputs.
    fn named(&mut self, node: &Node, op: &'static str, inputs: Vec<String>, attributes: Vec<Attribute<'static>>) {
        let outputs = node.outputs.iter().map(|&id| self.name(id)).collect();
        self.nodes.push(FileNode { op, name: node.name.clone(), inputs, outputs, attributes });
    }

    /// A node before the one that makes the outputs; gives the name of its output.
    fn helper(
        &mut self,
        node: &Node,
        op: &'static str,
        inputs: Vec<String>,
        attributes: Vec<Attribute<'static>>,
    ) -> String {
        let output = self.fresh(&format!("{}/{}", node.name, op.to_lowercase()));
        self.nodes.push(FileNode { op, name: output.clone(), inputs, outputs: vec![output.clone()], attributes });
        output
    }

    /// Adds a vector of integers that belongs to a node; gives its name.
    fn vector(&mut self, node: &Node, name: &str, data: Vec<i64>) -> String {
        self.ints(&format!("{}/{name}", node.name), vec![data.len() as i64], data)
    }

    /// The operator with its first input and lists of integers as further ones.
    fn with_ints(&mut self, node: &Node, lists: Vec<(&str, Vec<i64>)>, attributes: Vec<Attribute<'static>>) {
        let mut inputs = self.inputs(node);
        for (name, list) in lists {
            inputs.push(self.vector(node, name, list));
        }
        self.named(node, node.op.name(), inputs, attributes);
    }

    /// `Gemm` for matrices; otherwise a product with the transposed weight, and a sum.
    fn linear(&mut self, node: &Node) {
        let mut inputs = self.inputs(node);
        if self.input_shape(node).len() == 2 {
            return self.named(node, "Gemm", inputs, vec![int("transB", 1)]);
        }
        let bias = (inputs.len() == 3).then(|| inputs.pop()).flatten();
        let weight = inputs.pop().unwrap_or_default();
        inputs.push(self.helper(node, "Transpose", vec![weight], vec![ints("perm", vec![1, 0])]));
        match bias {
            None => self.named(node, "MatMul", inputs, vec![]),
            Some(bias) => {
                let product = self.helper(node, "MatMul", inputs, vec![]);
                self.named(node, "Add", vec![product, bias], vec![]);
            }
        }
    }

    fn unary(&mut self, node: &Node, unary: Unary) {
        let attributes = match unary {
            Unary::Clip { min, max } => return self.clip(node, min, max),
            Unary::Truncate => return self.cast(node, INT64),
            Unary::NotZero => return self.cast(node, BOOL),
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![float("alpha", alpha)],
            Unary::HardSigmoid { alpha, beta } => vec![float("alpha", alpha), float("beta", beta)],
            Unary::Gelu { approximate } => vec![string("approximate", if approximate { "tanh" } else { "none" })],
            _ => vec![],
        };
        self.plain(node, attributes);
    }

    /// Infinite bounds are left out.
    fn clip(&mut self, node: &Node, min: f32, max: f32) {
        let mut inputs = self.inputs(node);
        for (name, bound, infinity) in [("min", min, f32::NEG_INFINITY), ("max", max, f32::INFINITY)] {
            let input = if bound == infinity {
                String::new()
            } else {
                self.floats(&format!("{}/{name}", node.name), vec![], vec![bound])
            };
            inputs.push(input);
        }
        self.named(node, "Clip", inputs, vec![]);
    }

    /// To another type and back.
    fn cast(&mut self, node: &Node, to: i64) {
        let inputs = self.inputs(node);
        let cast = self.helper(node, "Cast", inputs, vec![int("to", to)]);
        self.named(node, "Cast", vec![cast], vec![int("to", FLOAT)]);
    }

    fn choose(&mut self, node: &Node) {
        let mut inputs = self.inputs(node);
        let condition = inputs.remove(0);
        inputs.insert(0, self.helper(node, "Cast", vec![condition], vec![int("to", BOOL)]));
        self.named(node, "Where", inputs, vec![]);
    }

    /// The axes are an input of sums, and of means from opset 18 on.
    fn reduce(&mut self, node: &Node, axes: &[usize], keep_dims: bool) {
        let mut attributes = vec![int("keepdims", i64::from(keep_dims))];
        if axes.is_empty() {
            attributes.push(int("noop_with_empty_axes", 1));
        }
        if self.opset < 18 && node.op.name() == "ReduceMean" {
            attributes.push(ints("axes", signed(axes)));
            return self.plain(node, attributes);
        }
        self.with_ints(node, vec![("axes", signed(axes))], attributes);
    }

    /// A batch that stays in place is copied; one other batch-dependent size is left to the runtime.
    fn reshape(&mut self, node: &Node, shape: &Shape) -> Done {
        let input = self.input_shape(node);
        let mut open = None;
        let mut target = Vec::with_capacity(shape.len());
        for (axis, &dim) in shape.iter().enumerate() {
            target.push(match dim {
                Dim::Fixed(size) => size as i64,
                Dim::Batch(_) if input.get(axis) == Some(&dim) => 0,
                Dim::Batch(_) if open.replace(axis).is_none() => -1,
                Dim::Batch(_) => {
                    let name = &node.name;
                    let message = format!("node `{name}` reshapes to several batch-dependent sizes, which onnx cannot");
                    return Err(GraphError::Structure(message));
                }
            });
        }
        self.with_ints(node, vec![("shape", target)], vec![]);
        Ok(())
    }

    fn slice(&mut self, node: &Node, axes: &[SliceAxis]) {
        // Past the first element on the way down there is no index; ONNX clamps the smallest one to it.
        let end = |slice: &SliceAxis| match slice.len.checked_sub(1) {
            None => slice.start as i64,
            Some(hops) => {
                let last = slice.start as i64 + hops as i64 * slice.step as i64;
                let end = last + slice.step.signum() as i64;
                if end < 0 { i64::MIN } else { end }
            }
        };
        let lists = vec![
            ("starts", axes.iter().map(|slice| slice.start as i64).collect()),
            ("ends", axes.iter().map(end).collect()),
            ("axes", axes.iter().map(|slice| slice.axis as i64).collect()),
            ("steps", axes.iter().map(|slice| slice.step as i64).collect()),
        ];
        self.with_ints(node, lists, vec![]);
    }

    fn pad(&mut self, node: &Node, pads: &[(i64, i64)], mode: PadMode) {
        let (mode, fill) = match mode {
            PadMode::Constant(fill) => ("constant", Some(fill)),
            PadMode::Reflect => ("reflect", None),
            PadMode::Edge => ("edge", None),
        };
        let list = pads.iter().map(|pads| pads.0).chain(pads.iter().map(|pads| pads.1)).collect();
        let mut inputs = self.inputs(node);
        inputs.push(self.vector(node, "pads", list));
        if let Some(fill) = fill {
            inputs.push(self.floats(&format!("{}/fill", node.name), vec![], vec![fill]));
        }
        self.named(node, "Pad", inputs, vec![string("mode", mode)]);
    }

    /// Where the input has no batch yet, its size comes from an input of the network.
    fn expand(&mut self, node: &Node, shape: &Shape) -> Done {
        let input = self.input_shape(node).to_vec();
        let mut parts: Vec<String> = Vec::new();
        for (axis, &dim) in shape.iter().enumerate() {
            let own = (axis + input.len()).checked_sub(shape.len()).map(|own| input[own]);
            parts.push(match dim {
                Dim::Fixed(size) => self.vector(node, "size", vec![size as i64]),
                Dim::Batch(_) if own == Some(dim) => self.vector(node, "size", vec![1]),
                Dim::Batch(times) => self.batch_size(node, times)?,
            });
        }
        let target = match parts.as_slice() {
            [] => self.vector(node, "shape", vec![]),
            _ => self.helper(node, "Concat", parts, vec![int("axis", 0)]),
        };
        let mut inputs = self.inputs(node);
        inputs.push(target);
        self.named(node, "Expand", inputs, vec![]);
        Ok(())
    }

    /// A vector that holds the batch size of the first input that has one, times a factor.
    fn batch_size(&mut self, node: &Node, times: usize) -> Result<String, GraphError> {
        let find = |&id: &ValueId| Some((id, self.graph.value(id).shape.iter().position(|&dim| dim == Dim::Batch(1))?));
        let Some((source, axis)) = self.graph.inputs.iter().find_map(find) else {
            let message = format!("node `{}` expands to the batch size, which no input has", node.name);
            return Err(GraphError::Structure(message));
        };
        let source = self.name(source);
        let shape = self.helper(node, "Shape", vec![source], vec![]);
        let index = self.vector(node, "axis", vec![axis as i64]);
        let size = self.helper(node, "Gather", vec![shape, index], vec![]);
        if times == 1 {
            return Ok(size);
        }
        let factor = self.vector(node, "factor", vec![times as i64]);
        Ok(self.helper(node, "Mul", vec![size, factor], vec![]))
    }

    fn resize(&mut self, node: &Node, resize: &Resize) {
        let coordinates = match resize.coordinates {
            ResizeCoordinates::HalfPixel => "half_pixel",
            ResizeCoordinates::PytorchHalfPixel => "pytorch_half_pixel",
            ResizeCoordinates::AlignCorners => "align_corners",
            ResizeCoordinates::Asymmetric => "asymmetric",
        };
        let mut attributes = vec![string("coordinate_transformation_mode", coordinates)];
        match resize.mode {
            ResizeMode::Linear => attributes.push(string("mode", "linear")),
            ResizeMode::Nearest(rounding) => {
                let rounding = match rounding {
                    NearestRounding::RoundPreferFloor => "round_prefer_floor",
                    NearestRounding::RoundPreferCeil => "round_prefer_ceil",
                    NearestRounding::Floor => "floor",
                    NearestRounding::Ceil => "ceil",
                };
                attributes.extend([string("mode", "nearest"), string("nearest_mode", rounding)]);
            }
        }
        let mut inputs = self.inputs(node);
        if needs_sizes(resize, self.input_shape(node)) {
            attributes.push(ints("axes", vec![2, 3]));
            let sizes = self.vector(node, "sizes", signed(&resize.size));
            inputs.extend([String::new(), String::new(), sizes]);
        } else {
            let scales = vec![1.0, 1.0, resize.scale[0], resize.scale[1]];
            let scales = self.floats(&format!("{}/scales", node.name), vec![4], scales);
            inputs.extend([String::new(), scales]);
        }
        self.named(node, "Resize", inputs, attributes);
    }

    fn gather(&mut self, node: &Node, axis: usize, indices: &[usize], shape: &[usize]) {
        let mut inputs = self.inputs(node);
        inputs.push(self.ints(&format!("{}/indices", node.name), signed(shape), signed(indices)));
        self.named(node, "Gather", inputs, vec![int("axis", axis as i64)]);
    }
}

/// Whether the size does not follow from the scale, so that it must be given; then the scale follows from it.
///
/// Others may round the product to 32 bits before its fraction is dropped, or may not; it must not matter.
pub(super) fn needs_sizes(resize: &Resize, input: &[Dim]) -> bool {
    let follows = |axis: usize| {
        let Some(&Dim::Fixed(size)) = input.get(axis + 2) else { return false };
        let (single, double) = (size as f32 * resize.scale[axis], size as f64 * f64::from(resize.scale[axis]));
        single.floor() as usize == resize.size[axis] && double.floor() as usize == resize.size[axis]
    };
    !(follows(0) && follows(1))
}

fn conv_attributes(conv: &Conv) -> Vec<Attribute<'static>> {
    let mut attributes = window_attributes(conv.kernel, conv.stride, conv.pads, conv.dilation);
    attributes.push(int("group", conv.groups as i64));
    attributes
}

fn pool_attributes(pool: &Pool, x: &[Dim]) -> Vec<Attribute<'static>> {
    let pool = without_idle_ceil(pool.clone(), x);
    let mut attributes = window_attributes(pool.kernel, pool.stride, pool.pads, pool.dilation);
    attributes.push(int("ceil_mode", i64::from(pool.ceil)));
    attributes
}

fn window_attributes(
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: [usize; 2],
) -> Vec<Attribute<'static>> {
    let mut attributes =
        vec![ints("kernel_shape", signed(&kernel)), ints("strides", signed(&stride)), ints("pads", signed(&pads))];
    // `AveragePool` has dilations only from opset 19 on.
    if dilation != [1, 1] {
        attributes.push(ints("dilations", signed(&dilation)));
    }
    attributes
}

fn int(name: &'static str, i: i64) -> Attribute<'static> {
    Attribute { name, i, r#type: AttributeType::Int, ..Default::default() }
}

fn ints(name: &'static str, ints: Vec<i64>) -> Attribute<'static> {
    Attribute { name, ints, r#type: AttributeType::Ints, ..Default::default() }
}

fn float(name: &'static str, f: f32) -> Attribute<'static> {
    Attribute { name, f, r#type: AttributeType::Float, ..Default::default() }
}

fn string(name: &'static str, text: &'static str) -> Attribute<'static> {
    Attribute { name, s: text.as_bytes(), r#type: AttributeType::String, ..Default::default() }
}
