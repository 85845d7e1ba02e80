#!/usr/bin/env python3
"""Generates the operator fixtures of tests/operators/.

Each case is a small ONNX model, and a safetensors file with inputs and what onnxruntime computes from them:
`input.0`, .., `output.0`, ... Models are made of the nodes that exporters write, in every form that matters to
import, shapes, and execution. Random numbers are seeded by the name of the case, so a case never changes because
another one is added.

    pip install onnx onnxruntime numpy safetensors
    python scripts/operator_cases.py
"""

import pathlib
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "operators"
INT_MAX = 2**63 - 1


class Case:
    """A model under construction; every method that adds a node returns the name of its output."""

    def __init__(self, name, opset=17):
        self.name, self.opset = name, opset
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.initializers, self.inputs, self.data = [], [], [], []
        self.count = 0

    def input(self, *shape, batch=3, fixed=False, low=-2.0, high=2.0):
        """A network input whose first axis is the batch; `fixed` writes its size into the file."""
        name = f"x{len(self.inputs)}"
        declared = [batch if fixed else "N", *shape]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, declared))
        self.data.append(self.rng.uniform(low, high, [batch, *shape]).astype(np.float32))
        return name

    def weight(self, *shape, low=-1.0, high=1.0, dtype=np.float32, name=None):
        return self.constant(self.rng.uniform(low, high, shape).astype(dtype), name)

    def constant(self, array, name=None):
        name = name or f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [f"{op.lower()}{self.count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}{self.count}", **attributes))
        self.count += 1
        return names[0] if outputs == 1 else names

    def model(self, outputs, ranks):
        """The model; without ranks, its outputs have no shape, which only the checker minds."""
        shapes = [[None] * rank for rank in ranks] if ranks else [None] * len(outputs)
        outputs = [helper.make_tensor_value_info(*output) for output in zip(outputs, [TensorProto.FLOAT] * 9, shapes)]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="")
        model.ir_version = 8 if self.opset < 19 else 9
        return model

    def write(self, *outputs):
        """Runs the model and writes both files."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = self.model(outputs, None).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        results = session.run(list(outputs), {info.name: data for info, data in zip(self.inputs, self.data)})
        tensors = {f"input.{i}": np.ascontiguousarray(data) for i, data in enumerate(self.data)}
        for i, result in enumerate(results):
            assert np.isfinite(result).all(), self.name
            tensors[f"output.{i}"] = np.ascontiguousarray(result.astype(np.float32))
        model = self.model(outputs, [result.ndim for result in results])
        onnx.checker.check_model(model)
        (ROOT / f"{self.name}.onnx").write_bytes(model.SerializeToString())
        save_file(tensors, ROOT / f"{self.name}.safetensors")


def convolutions():
    variants = {
        "plain": ((2, 7, 6), (4, 2, 3, 3), {}),
        "pads": ((2, 7, 6), (4, 2, 3, 3), dict(pads=[1, 1, 1, 1])),
        "stride": ((2, 7, 6), (4, 2, 3, 3), dict(strides=[2, 2], pads=[1, 1, 1, 1])),
        "stride_uneven": ((2, 8, 9), (3, 2, 3, 2), dict(strides=[2, 3])),
        "asymmetric_pads": ((2, 7, 6), (4, 2, 3, 3), dict(pads=[0, 1, 2, 3])),
        "dilation": ((2, 9, 8), (4, 2, 3, 3), dict(dilations=[2, 3], pads=[2, 3, 2, 3])),
        "groups": ((4, 6, 6), (6, 2, 3, 3), dict(group=2, pads=[1, 1, 1, 1])),
        "depthwise": ((5, 6, 7), (5, 1, 3, 3), dict(group=5, pads=[1, 1, 1, 1], strides=[2, 1])),
        "depthwise_multiplier": ((3, 6, 7), (6, 1, 3, 3), dict(group=3, pads=[1, 1, 1, 1])),
        "depthwise_5x5": ((4, 9, 9), (4, 1, 5, 5), dict(group=4, pads=[2, 2, 2, 2])),
        "pointwise": ((6, 5, 5), (9, 6, 1, 1), {}),
        "pointwise_stride": ((6, 5, 5), (9, 6, 1, 1), dict(strides=[2, 2])),
        "kernel_1x3": ((2, 5, 6), (3, 2, 1, 3), dict(pads=[0, 1, 0, 1])),
        "kernel_7x7": ((3, 12, 12), (4, 3, 7, 7), dict(pads=[3, 3, 3, 3], strides=[2, 2])),
        "same_upper": ((2, 7, 6), (4, 2, 3, 2), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
        "same_lower": ((2, 7, 6), (4, 2, 3, 2), dict(auto_pad="SAME_LOWER", strides=[2, 2])),
        "valid": ((2, 7, 6), (4, 2, 3, 2), dict(auto_pad="VALID")),
        "many_channels": ((17, 5, 5), (19, 17, 3, 3), dict(pads=[1, 1, 1, 1])),
    }
    for name, (shape, weight, attributes) in variants.items():
        for bias in (False, True):
            case = Case(f"conv_{name}" + ("_bias" if bias else ""))
            inputs = [case.input(*shape), case.weight(*weight)] + ([case.weight(weight[0])] if bias else [])
            case.write(case.node("Conv", *inputs, **attributes))
    case = Case("conv_batch_1")
    case.write(case.node("Conv", case.input(2, 7, 6, batch=1), case.weight(4, 2, 3, 3), case.weight(4)))
    case = Case("conv_fixed_batch", opset=11)
    case.write(case.node("Conv", case.input(2, 7, 6, batch=1, fixed=True), case.weight(4, 2, 3, 3)))
    case = Case("conv_half_weight")
    half = case.weight(4, 2, 3, 3, dtype=np.float16)
    case.write(case.node("Conv", case.input(2, 7, 6), case.node("Cast", half, to=TensorProto.FLOAT)))
    case = Case("conv_weight_constant_node")
    value = numpy_helper.from_array(case.rng.uniform(-1, 1, [4, 2, 3, 3]).astype(np.float32))
    case.write(case.node("Conv", case.input(2, 7, 6), case.node("Constant", value=value)))


def pools():
    variants = {
        "plain": ((2, 6, 7), dict(kernel_shape=[2, 2], strides=[2, 2])),
        "overlapping": ((2, 7, 7), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
        "uneven": ((2, 7, 8), dict(kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 1, 2])),
        "ceil": ((2, 7, 6), dict(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)),
        "ceil_pads": ((2, 7, 6), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)),
        "ceil_last_dropped": ((1, 5, 5), dict(kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)),
        "same_upper": ((2, 7, 6), dict(kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")),
        "same_lower": ((2, 7, 6), dict(kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER")),
        "valid": ((2, 7, 6), dict(kernel_shape=[3, 2], auto_pad="VALID")),
    }
    for name, (shape, attributes) in variants.items():
        case = Case(f"max_pool_{name}")
        # All negative: padding must not win.
        case.write(case.node("MaxPool", case.input(*shape, low=-3, high=-1), **attributes))
        case = Case(f"average_pool_{name}")
        case.write(case.node("AveragePool", case.input(*shape), **attributes))
        case = Case(f"average_pool_{name}_include_pad", opset=19)
        case.write(case.node("AveragePool", case.input(*shape), count_include_pad=1, **attributes))
    case = Case("max_pool_dilation")
    attributes = dict(kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 2, 1])
    case.write(case.node("MaxPool", case.input(2, 8, 8), **attributes))
    case = Case("average_pool_dilation", opset=19)
    case.write(case.node("AveragePool", case.input(2, 8, 8), **attributes))
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        case = Case("global_" + ("average" if "Average" in op else "max") + "_pool")
        case.write(case.node(op, case.input(4, 5, 3)))
    case = Case("pool_batch_1", opset=11)
    case.write(case.node("MaxPool", case.input(2, 6, 6, batch=1), kernel_shape=[2, 2], strides=[2, 2]))


def unaries():
    for op in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "HardSwish"):
        case = Case(op.lower())
        case.write(case.node(op, case.input(3, 5, low=-5, high=5)))
    case = Case("sqrt")
    case.write(case.node("Sqrt", case.input(7, low=0, high=9)))
    for op, attributes in {
        "LeakyRelu": dict(alpha=0.2),
        "Elu": dict(alpha=0.7),
        "HardSigmoid": dict(alpha=0.3, beta=0.4),
    }.items():
        for name, given in ((op.lower(), {}), (op.lower() + "_attributes", attributes)):
            case = Case(name)
            case.write(case.node(op, case.input(3, 5, low=-4, high=4), **given))
    for approximate in ("none", "tanh"):
        case = Case(f"gelu_{approximate}", opset=20)
        case.write(case.node("Gelu", case.input(9, low=-4, high=4), approximate=approximate))
    case = Case("gelu_decomposed")
    x = case.input(9, low=-4, high=4)
    erf = case.node("Erf", case.node("Div", x, case.constant(np.float32(2**0.5))))
    half = case.node("Mul", x, case.node("Add", erf, case.constant(np.float32(1))))
    case.write(case.node("Mul", half, case.constant(np.float32(0.5))))
    case = Case("clip_attributes", opset=10)
    case.write(case.node("Clip", case.input(9), min=0.0, max=1.0))
    case = Case("clip_inputs")
    low, high = case.constant(np.float32(-0.5)), case.constant(np.float32(1.5))
    case.write(case.node("Clip", case.input(9), low, high))
    case = Case("clip_only_max")
    case.write(case.node("Clip", case.input(9), "", case.constant(np.float32(0.5))))
    case = Case("cast_to_int_and_back")
    cast = case.node("Cast", case.input(9, low=-5, high=5), to=TensorProto.INT64)
    case.write(case.node("Cast", cast, to=TensorProto.FLOAT))
    case = Case("cast_to_bool_and_back")
    cast = case.node("Cast", case.node("Relu", case.input(9)), to=TensorProto.BOOL)
    case.write(case.node("Cast", cast, to=TensorProto.FLOAT))
    case = Case("identity_and_dropout")
    relu = case.node("Relu", case.node("Identity", case.input(9)))
    case.write(case.node("Dropout", relu, case.constant(np.float32(0.5))))


def binaries():
    shapes = {
        "same": ((3, 4), (3, 4)),
        "scalar": ((3, 4), ()),
        "channel": ((3, 4, 5), (3, 1, 1)),
        "row": ((3, 4), (4,)),
        "both": ((3, 1, 5), (4, 1)),
        "leading": ((3, 4), (1, 1, 3, 4)),
    }
    for op in ("Add", "Sub", "Mul", "Div"):
        for name, (shape, weight) in shapes.items():
            case = Case(f"{op.lower()}_{name}")
            case.write(case.node(op, case.input(*shape), case.weight(*weight, low=0.5, high=2)))
        case = Case(f"{op.lower()}_two_inputs")
        case.write(case.node(op, case.input(3, 4), case.input(3, 1, low=0.5)))
        case = Case(f"{op.lower()}_constant_first")
        case.write(case.node(op, case.weight(4), case.input(3, 4, low=0.5)))
    case = Case("pow_square")
    case.write(case.node("Pow", case.input(5), case.constant(np.float32(2))))
    case = Case("pow_integer_exponent")
    case.write(case.node("Pow", case.input(5), case.constant(np.int64(3))))
    case = Case("pow_tensors")
    case.write(case.node("Pow", case.input(3, 4, low=0.1), case.weight(4)))
    for op in ("Max", "Min", "Sum"):
        case = Case(f"{op.lower()}_three")
        case.write(case.node(op, case.input(3, 4), case.weight(4), case.input(3, 4)))
        case = Case(f"{op.lower()}_one")
        case.write(case.node(op, case.node("Relu", case.input(4))))
    for name, slope in {"channel": (3, 1, 1), "scalar": (1,), "full": (3, 2, 5)}.items():
        case = Case(f"prelu_{name}")
        case.write(case.node("PRelu", case.input(3, 2, 5), case.weight(*slope)))
    case = Case("where_constant_condition")
    condition = case.constant(case.rng.uniform(size=[4, 5]) < 0.5)
    case.write(case.node("Where", condition, case.input(4, 5), case.weight(5)))
    case = Case("where_computed_condition")
    x = case.input(4, 5)
    condition = case.node("Cast", case.node("Relu", x), to=TensorProto.BOOL)
    case.write(case.node("Where", condition, x, case.weight(4, 1)))


def norms_and_products():
    for name, shape in {"4d": (4, 3, 5), "2d": (4,), "3d": (4, 6)}.items():
        case = Case(f"batch_norm_{name}")
        statistics = [case.weight(4), case.weight(4), case.weight(4), case.weight(4, low=0.2, high=2)]
        case.write(case.node("BatchNormalization", case.input(*shape), *statistics, epsilon=1e-3))
    for name, shape, axis in (("last", (4, 6), -1), ("two_axes", (3, 4, 6), 2), ("all_but_batch", (4, 6), 1)):
        case = Case(f"layer_norm_{name}")
        normalised = shape[axis if axis < 0 else axis - 1 :]
        parameters = [case.weight(*normalised), case.weight(*normalised)]
        case.write(case.node("LayerNormalization", case.input(*shape), *parameters, axis=axis, epsilon=1e-4))
    case = Case("layer_norm_no_bias")
    case.write(case.node("LayerNormalization", case.input(4, 6), case.weight(6)))
    case = Case("layer_norm_decomposed", opset=11)
    x = case.input(4, 6)
    centred = case.node("Sub", x, case.node("ReduceMean", x, axes=[-1]))
    variance = case.node("ReduceMean", case.node("Pow", centred, case.constant(np.float32(2))), axes=[-1])
    deviation = case.node("Sqrt", case.node("Add", variance, case.constant(np.float32(1e-5))))
    scaled = case.node("Mul", case.node("Div", centred, deviation), case.weight(6))
    case.write(case.node("Add", scaled, case.weight(6)))

    gemms = {
        "plain": ((5, 4), (4,), {}),
        "trans_b": ((4, 5), (4,), dict(transB=1)),
        "alpha_beta": ((4, 5), (4,), dict(transB=1, alpha=0.5, beta=2.0)),
        "scalar_bias": ((4, 5), (1,), dict(transB=1, beta=0.5)),
        "row_bias": ((4, 5), (1, 4), dict(transB=1)),
    }
    for name, (weight, bias, attributes) in gemms.items():
        case = Case(f"gemm_{name}")
        case.write(case.node("Gemm", case.input(5), case.weight(*weight), case.weight(*bias), **attributes))
    case = Case("gemm_no_bias")
    case.write(case.node("Gemm", case.input(5), case.weight(5, 4), alpha=1.5))
    case = Case("gemm_computed_bias")
    case.write(case.node("Gemm", case.input(5), case.weight(5, 4), case.input(4), beta=0.5))
    case = Case("gemm_trans_a_computed")
    x = case.input(5)
    case.write(case.node("Gemm", x, x, transA=1, alpha=2.0))
    case = Case("gemm_trans_b_computed")
    x = case.input(5)
    case.write(case.node("Gemm", x, x, transB=1, alpha=0.25))

    for name, shape, weight in (("2d", (5,), (5, 4)), ("3d", (3, 5), (5, 4)), ("vector", (3, 5), (5,))):
        case = Case(f"matmul_weight_{name}")
        case.write(case.node("MatMul", case.input(*shape), case.weight(*weight)))
    case = Case("matmul_bias")
    case.write(case.node("Add", case.node("MatMul", case.input(3, 5), case.weight(5, 4)), case.weight(4)))
    case = Case("matmul_bias_first")
    case.write(case.node("Add", case.weight(4), case.node("MatMul", case.input(3, 5), case.weight(5, 4))))
    case = Case("matmul_bias_but_used_twice")
    product = case.node("MatMul", case.input(5), case.weight(5, 4))
    total = case.node("Add", product, case.weight(4))
    case.write(case.node("Mul", total, product))
    case = Case("matmul_bias_behind_identity")
    product = case.node("MatMul", case.input(5), case.weight(5, 4))
    alias = case.node("Identity", product)
    relu = case.node("Relu", product)
    case.write(case.node("Mul", case.node("Add", alias, case.weight(4)), relu))
    case = Case("matmul_bias_broadcasts")
    case.write(case.node("Add", case.node("MatMul", case.input(3, 5), case.weight(5, 1)), case.weight(4)))
    case = Case("matmul_computed")
    case.write(case.node("MatMul", case.input(2, 3, 5), case.input(2, 5, 4)))
    case = Case("matmul_broadcast")
    case.write(case.node("MatMul", case.input(2, 3, 5), case.weight(2, 5, 4)))
    case = Case("matmul_constant_first")
    case.write(case.node("MatMul", case.weight(4, 5), case.input(5, 2)))
    case = Case("matmul_shared_weight")
    weight = case.weight(5, 5)
    once = case.node("MatMul", case.input(5), weight)
    case.write(case.node("MatMul", case.node("Relu", once), weight))
    case = Case("attention")
    x = case.input(3, 4)
    query, key, value = (case.node("MatMul", x, case.weight(4, 4)) for _ in range(3))
    scores = case.node("MatMul", query, case.node("Transpose", key, perm=[0, 2, 1]))
    weights = case.node("Softmax", case.node("Div", scores, case.constant(np.float32(2))), axis=-1)
    case.write(case.node("MatMul", weights, value))


def reductions():
    for op, since in (("ReduceMean", 18), ("ReduceSum", 13)):
        short = op.replace("Reduce", "reduce_").lower()
        for name, axes, keep in (("spatial", [2, 3], 1), ("drop", [2, 3], 0), ("negative", [-1], 0), ("middle", [1], 1)):
            case = Case(f"{short}_{name}", opset=11)
            case.write(case.node(op, case.input(3, 4, 5), axes=axes, keepdims=keep))
            case = Case(f"{short}_{name}_input", opset=18)
            case.write(case.node(op, case.input(3, 4, 5), case.ints(*axes), keepdims=keep))
        case = Case(f"{short}_all", opset=18)
        case.write(case.node(op, case.input(3, 4)))
        case = Case(f"{short}_noop", opset=18)
        case.write(case.node("Relu", case.node(op, case.input(3, 4), noop_with_empty_axes=1)))
    for axis in (-1, 1, 2):
        case = Case(f"softmax_axis_{axis}".replace("-", "minus_"))
        case.write(case.node("Softmax", case.input(3, 4, 5), axis=axis))
    case = Case("softmax_flattening", opset=11)
    case.write(case.node("Softmax", case.input(3, 4)))
    case = Case("softmax_flattening_last", opset=11)
    case.write(case.node("Softmax", case.input(3, 4), axis=2))
    case = Case("softmax_large_values")
    case.write(case.node("Softmax", case.input(7, low=-200, high=200)))


def layouts():
    for axis in (0, 1, 2, -1):
        case = Case(f"flatten_axis_{axis}".replace("-", "minus_"))
        case.write(case.node("Flatten", case.node("Relu", case.input(3, 4)), axis=axis))
    for name, target in {"minus_1": (-1, 12), "zero": (0, -1), "zero_split": (0, 2, 2, 3), "all": (-1,)}.items():
        case = Case(f"reshape_{name}")
        case.write(case.node("Reshape", case.input(4, 3), case.ints(*target)))
    case = Case("reshape_fixed_batch")
    case.write(case.node("Reshape", case.input(4, 3, batch=1, fixed=True), case.ints(1, -1)))
    case = Case("reshape_fixed_batch_full")
    case.write(case.node("Reshape", case.input(4, 3, batch=1, fixed=True), case.ints(1, 2, 6)))
    case = Case("reshape_batch_into_rows")
    rows = case.node("Reshape", case.input(4, 3), case.ints(-1, 3))
    product = case.node("Gemm", rows, case.weight(5, 3), case.weight(5), transB=1)
    case.write(case.node("Reshape", product, case.ints(-1, 4, 5)))

    case = Case("flatten_by_shape_gather_concat", opset=11)
    x = case.input(4, 3, 2)
    size = case.node("Gather", case.node("Shape", x), case.constant(np.int64(0)), axis=0)
    target = case.node("Concat", case.node("Unsqueeze", size, axes=[0]), case.ints(-1), axis=0)
    case.write(case.node("Reshape", x, target))
    case = Case("flatten_by_shape_gather_concat_13", opset=13)
    x = case.input(4, 3, 2)
    size = case.node("Gather", case.node("Shape", x), case.ints(0), axis=0)
    case.write(case.node("Reshape", x, case.node("Concat", size, case.ints(24), axis=0)))
    case = Case("flatten_by_shape_slice_prod")
    x = case.input(4, 3, 2)
    shape = case.node("Shape", x)
    head = case.node("Slice", shape, case.ints(0), case.ints(1), case.ints(0))
    tail = case.node("Slice", shape, case.ints(1), case.ints(INT_MAX), case.ints(0))
    flat = case.node("ReduceProd", tail, keepdims=1)
    case.write(case.node("Reshape", x, case.node("Concat", head, flat, axis=0)))
    case = Case("channel_shuffle_by_sizes")
    x = case.input(6, 2, 2)
    shape = case.node("Shape", x)
    n, c, h, w = (case.node("Gather", shape, case.constant(np.int64(i))) for i in range(4))
    group = case.node("Cast", case.node("Floor", case.node("Div", case.node("Cast", c, to=1), case.constant(np.float32(2)))), to=7)
    parts = [case.node("Unsqueeze", part, case.ints(0)) for part in (n, group, h, w)]
    wide = case.node("Reshape", x, case.node("Concat", parts[0], case.ints(2), *parts[1:], axis=0))
    mixed = case.node("Transpose", wide, perm=[0, 2, 1, 3, 4])
    back = case.node("Concat", parts[0], case.ints(-1), *parts[2:], axis=0)
    case.write(case.node("Reshape", mixed, back))
    case = Case("batch_times_channels_by_mul")
    x = case.input(6, 2)
    shape = case.node("Shape", x)
    n, c = (case.node("Gather", shape, case.ints(i)) for i in range(2))
    rows = case.node("Mul", n, case.node("Div", c, case.ints(2)))
    flat = case.node("Reshape", x, case.node("Concat", rows, case.ints(4), axis=0))
    case.write(case.node("Reshape", flat, case.node("Concat", case.node("Div", rows, case.ints(3)), case.ints(3, 4), axis=0)))
    case = Case("shape_start_end", opset=15)
    x = case.input(4, 3, 2)
    head, last = case.node("Shape", x, start=0, end=1), case.node("Shape", x, start=-1)
    case.write(case.node("Reshape", x, case.node("Concat", head, case.ints(12), last, axis=0)))

    for name, perm in {"default": None, "nhwc": [0, 2, 3, 1], "batch_moves": [1, 0, 3, 2]}.items():
        case = Case(f"transpose_{name}")
        case.write(case.node("Transpose", case.input(2, 3, 4), **(dict(perm=perm) if perm else {})))
    case = Case("transpose_constant")
    weight = case.node("Transpose", case.weight(5, 4), perm=[1, 0])
    case.write(case.node("Gemm", case.input(4), weight))
    for axis in (1, -1, 2):
        case = Case(f"concat_axis_{axis}".replace("-", "minus_"))
        x = case.input(2, 3)
        case.write(case.node("Concat", x, case.node("Relu", x), case.node("Tanh", x), axis=axis))
    case = Case("concat_batch")
    case.write(case.node("Concat", case.input(4), case.input(4), axis=0))
    case = Case("concat_uneven")
    case.write(case.node("Concat", case.input(2, 3), case.input(5, 3), axis=1))
    case = Case("split_attribute", opset=11)
    case.write(*case.node("Split", case.input(6, 2), outputs=2, axis=1, split=[2, 4]))
    case = Case("split_input")
    case.write(*case.node("Split", case.input(6, 2), case.ints(1, 2, 3), outputs=3, axis=-2))
    case = Case("split_equal")
    case.write(*case.node("Split", case.input(6, 2), outputs=3, axis=1))
    case = Case("split_num_outputs", opset=18)
    case.write(*case.node("Split", case.input(7, 2), outputs=3, axis=1, num_outputs=3))

    case = Case("slice_attributes", opset=9)
    case.write(case.node("Slice", case.input(6, 5), axes=[1, 2], starts=[1, 0], ends=[4, -1]))
    slices = {
        "plain": ((1, 0), (4, 3), (1, 2), None),
        "steps": ((1, 0), (INT_MAX, INT_MAX), (1, 2), (2, 3)),
        "negative": ((-4, -3), (-1, INT_MAX), (-2, -1), None),
        "backwards": ((-1, 4), (-INT_MAX, 0), (1, 2), (-1, -2)),
        "beyond": ((-100, 2), (100, 200), (1, 2), None),
        "whole_batch": ((0, 1), (INT_MAX, 3), (0, 1), None),
    }
    for name, (starts, ends, axes, steps) in slices.items():
        case = Case(f"slice_{name}")
        optional = [case.ints(*steps)] if steps else []
        case.write(case.node("Slice", case.input(6, 5), case.ints(*starts), case.ints(*ends), case.ints(*axes), *optional))
    case = Case("slice_no_axes")
    case.write(case.node("Slice", case.input(6), case.ints(0, 2), case.ints(INT_MAX, 4)))

    pads = {"constant": {}, "reflect": dict(mode="reflect"), "edge": dict(mode="edge")}
    for name, attributes in pads.items():
        case = Case(f"pad_{name}")
        case.write(case.node("Pad", case.input(2, 4, 5), case.ints(0, 0, 1, 2, 0, 0, 3, 1), **attributes))
        case = Case(f"pad_{name}_attribute", opset=9)
        case.write(case.node("Pad", case.input(2, 4, 5), pads=[0, 0, 1, 2, 0, 0, 3, 1], **attributes))
    case = Case("pad_value")
    case.write(case.node("Pad", case.input(2, 4), case.ints(0, 1, 0, 0, 0, 2), case.constant(np.float32(-1.5))))
    case = Case("pad_channels")
    case.write(case.node("Pad", case.input(2, 4, 4), case.ints(0, 1, 0, 0, 0, 1, 0, 0)))
    case = Case("pad_crops")
    case.write(case.node("Pad", case.input(2, 6), case.ints(0, 0, -1, 0, 1, -2)))
    case = Case("pad_axes", opset=18)
    case.write(case.node("Pad", case.input(2, 4, 5), case.ints(1, 2), "", case.ints(-1)))
    case = Case("squeeze_attribute", opset=11)
    case.write(case.node("Squeeze", case.input(4, 1, 1), axes=[2, -1]))
    case = Case("squeeze_input")
    case.write(case.node("Squeeze", case.input(4, 1, 1), case.ints(2)))
    case = Case("unsqueeze_attribute", opset=11)
    case.write(case.node("Unsqueeze", case.input(4), axes=[1, 3]))
    case = Case("unsqueeze_input")
    case.write(case.node("Unsqueeze", case.input(4), case.ints(-1, 1)))
    case = Case("expand")
    case.write(case.node("Expand", case.input(3, 1), case.ints(1, 3, 4)))
    case = Case("expand_adds_axis")
    case.write(case.node("Expand", case.input(1, batch=2), case.ints(4, 1, 5)))
    case = Case("expand_token_to_batch")
    x = case.input(3, 4)
    size = case.node("Gather", case.node("Shape", x), case.ints(0))
    token = case.node("Expand", case.weight(1, 1, 4), case.node("Concat", size, case.ints(1, 4), axis=0))
    case.write(case.node("Concat", token, x, axis=1))
    case = Case("concat_token_fixed_batch")
    case.write(case.node("Concat", case.weight(1, 1, 4), case.input(3, 4, batch=1, fixed=True), axis=1))
    case = Case("expand_with_where")
    x = case.input(3, 4)
    size = case.node("Gather", case.node("Shape", x), case.ints(0))
    target = case.node("Concat", size, case.ints(-1, -1), axis=0)
    ones = case.node("ConstantOfShape", case.node("Shape", target), value=numpy_helper.from_array(np.array([1], np.int64)))
    is_open = case.node("Equal", target, case.node("Mul", ones, case.ints(-1)))
    token = case.node("Expand", case.weight(1, 1, 4), case.node("Where", is_open, ones, target))
    case.write(case.node("Concat", token, x, axis=1))
    case = Case("constant_of_shape_batch")
    x = case.input(3, 4)
    fill = numpy_helper.from_array(np.array([0.5], np.float32))
    case.write(case.node("Concat", x, case.node("ConstantOfShape", case.node("Shape", x), value=fill), axis=1))
    case = Case("gather_rows")
    case.write(case.node("Gather", case.input(5, 3), case.constant(np.array([[0, 4], [-1, 2]], np.int64)), axis=1))
    case = Case("gather_scalar")
    case.write(case.node("Gather", case.input(5, 3), case.constant(np.int64(2)), axis=1))
    case = Case("gather_last_axis")
    case.write(case.node("Gather", case.input(5, 3), case.ints(2, 0), axis=-1))
    case = Case("gather_range")
    indices = case.node("Range", case.constant(np.int64(0)), case.constant(np.int64(5)), case.constant(np.int64(2)))
    case.write(case.node("Gather", case.input(5, 3), indices, axis=1))


def resizes():
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for name, scales in {"up": (2.0, 3.0), "up_odd": (1.5, 2.4), "down": (0.6, 0.5)}.items():
            case = Case(f"resize_linear_{coordinates}_{name}")
            scales = case.constant(np.array([1, 1, *scales], np.float32))
            case.write(case.node("Resize", case.input(2, 5, 4, batch=2), "", scales, mode="linear", coordinate_transformation_mode=coordinates))
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for coordinates in ("half_pixel", "asymmetric", "align_corners"):
            case = Case(f"resize_nearest_{coordinates}_{rounding}")
            scales = case.constant(np.array([1, 1, 1.6, 0.7], np.float32))
            case.write(case.node("Resize", case.input(2, 5, 7, batch=2), "", scales, mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=coordinates))
    case = Case("resize_nearest_double")
    scales = case.constant(np.array([1, 1, 2, 2], np.float32))
    case.write(case.node("Resize", case.input(2, 3, 4), "", scales, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"))
    case = Case("resize_sizes_by_shape", opset=11)
    x = case.input(2, 3, 4)
    head = case.node("Slice", case.node("Shape", x), case.ints(0), case.ints(2), case.ints(0))
    sizes = case.node("Concat", head, case.ints(7, 5), axis=0)
    empty = case.constant(np.array([], np.float32))
    case.write(case.node("Resize", x, empty, empty, sizes, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"))
    case = Case("resize_sizes_by_float_scale", opset=13)
    x = case.input(2, 3, 4)
    shape = case.node("Shape", x)
    head = case.node("Slice", shape, case.ints(0), case.ints(2), case.ints(0))
    tail = case.node("Cast", case.node("Slice", shape, case.ints(2), case.ints(4), case.ints(0)), to=1)
    tail = case.node("Cast", case.node("Floor", case.node("Mul", tail, case.constant(np.array([2.5, 1.5], np.float32)))), to=7)
    case.write(case.node("Resize", x, "", "", case.node("Concat", head, tail, axis=0), mode="nearest"))
    case = Case("resize_sizes_axes", opset=18)
    case.write(case.node("Resize", case.input(2, 6, 7), "", "", case.ints(7, 4), mode="linear", axes=[2, 3]))
    for mode in ("nearest", "linear"):
        for name, scales in {"up": (2.0, 3.0), "down": (0.5, 0.5)}.items():
            case = Case(f"resize_10_{mode}_{name}", opset=10)
            case.write(case.node("Resize", case.input(2, 6, 4), case.constant(np.array([1, 1, *scales], np.float32)), mode=mode))
        case = Case(f"upsample_9_{mode}", opset=9)
        case.write(case.node("Upsample", case.input(2, 3, 4), case.constant(np.array([1, 1, 2, 2], np.float32)), mode=mode))


def networks():
    case = Case("residual_block")
    x = case.input(4, 6, 6)

    def conv_norm(x, channels, outputs, stride=1, kernel=3):
        pad = kernel // 2
        weight = case.weight(outputs, channels, kernel, kernel, low=-0.4, high=0.4)
        conv = case.node("Conv", x, weight, strides=[stride] * 2, pads=[pad] * 4)
        statistics = [case.weight(outputs) for _ in range(3)] + [case.weight(outputs, low=0.5, high=1.5)]
        return case.node("BatchNormalization", conv, *statistics)

    body = conv_norm(case.node("Relu", conv_norm(x, 4, 6, stride=2)), 6, 6)
    joined = case.node("Relu", case.node("Add", body, conv_norm(x, 4, 6, stride=2, kernel=1)))
    flat = case.node("Flatten", case.node("GlobalAveragePool", joined))
    case.write(case.node("Gemm", flat, case.weight(3, 6), case.weight(3), transB=1))
    case = Case("squeeze_and_excite")
    x = case.input(4, 5, 5)
    gate = case.node("GlobalAveragePool", x)
    gate = case.node("Relu", case.node("Conv", gate, case.weight(2, 4, 1, 1), case.weight(2)))
    gate = case.node("HardSigmoid", case.node("Conv", gate, case.weight(4, 2, 1, 1), case.weight(4)))
    case.write(case.node("Mul", x, gate))
    case = Case("two_outputs_one_shared")
    relu = case.node("Relu", case.input(4))
    case.write(relu, case.node("Tanh", relu))


def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    for old in (*ROOT.glob("*.onnx"), *ROOT.glob("*.safetensors")):
        old.unlink()
    for group in (convolutions, pools, unaries, binaries, norms_and_products, reductions, layouts, resizes, networks):
        group()
    files = list(ROOT.iterdir())
    print(f"{len(files) // 2} cases, {sum(file.stat().st_size for file in files)} bytes in {ROOT}")


if __name__ == "__main__":
    main()
