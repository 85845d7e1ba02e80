"""What NNCodec (ISO/IEC 15938-17) makes of a trained network with its own rate-distortion optimised quantisation.

usage: nncodec_rdoq.py NETWORK.safetensors OUT_DIR [--qp=A,B,...] [--scale=A,B,...] [--steps=A,B,...]

The network is a PyTorch state dict of a ResNet whose batch norm follows the convolution of the same number (`bn1` after `conv1`). Batch norm is
folded into the convolutions first, so that NNCodec need not code its statistics. For each quantisation parameter, each way to steps from it,
with and without dependent quantisation, and each scale of the Lagrangian, one bitstream is written; it is decoded again, and the decoded weights
are written as a state dict with a batch norm that does nothing, for `gaunt eval`. Prints one JSON object a line.

Ways to steps: `one` for all tensors, NNCodec's default; `optimised`, its `opt_qp`; `deviation`, steps in proportion to each tensor's deviation.

Needs `pip install nncodec` (2.x; builds from source).
"""
import argparse
import contextlib
import io
import itertools
import json
import struct
from pathlib import Path

import numpy as np
from nncodec import nnc

EPSILON = 1e-5
# Biases: fine enough to lose nothing that shows, coarse enough to cost about a byte each.
BIAS_QP = -28


def read(path):
    raw = Path(path).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    data = raw[8 + length :]
    array = lambda entry: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).copy()
    return {name: array(entry) for name, entry in header.items() if entry["dtype"] == "F32"}


def write(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(tensor, "<f4").tobytes() for tensor in tensors.values())
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def fold(state):
    """Weights and biases with batch norm in them, under the names of the convolutions."""
    folded = {}
    for name, tensor in state.items():
        if tensor.ndim == 4:
            norm = ".".join(name.split(".")[:-1]).replace("conv", "bn")
            gain = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
            folded[name] = tensor * gain[:, None, None, None]
            folded[name.replace(".weight", ".bias")] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
        elif name.startswith("linear"):
            folded[name] = tensor
    return folded


def unfold(folded):
    """The same function with a batch norm that only adds the biases."""
    state = {}
    for name, tensor in folded.items():
        if tensor.ndim == 1 and not name.startswith("linear"):
            norm = name.replace("conv", "bn").replace(".bias", "")
            state |= {f"{norm}.weight": np.ones_like(tensor), f"{norm}.bias": tensor}
            state |= {f"{norm}.running_mean": np.zeros_like(tensor), f"{norm}.running_var": np.full_like(tensor, 1 - EPSILON)}
        else:
            state[name] = tensor
    return state


def by_deviation(folded, qp):
    """A parameter for each tensor of weights: steps double with every 4, and `qp` is that of a tensor with the geometric mean of deviations."""
    logs = {name: np.log2(tensor.std()) for name, tensor in folded.items() if tensor.ndim > 1}
    mean = np.mean(list(logs.values()))
    return {name: int(np.round(qp + 4 * (log - mean))) for name, log in logs.items()}


def arguments():
    numbers = lambda kind: lambda text: [kind(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network")
    parser.add_argument("out", type=Path)
    parser.add_argument("--qp", type=numbers(int), default=[-28, -26, -24, -22, -20])
    parser.add_argument("--scale", type=numbers(float), default=[0, 0.2])
    parser.add_argument("--steps", type=numbers(str), default=["one", "optimised", "deviation"])
    return parser.parse_args()


def main():
    args = arguments()
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    folded = {name: np.float32(tensor) for name, tensor in fold(read(args.network)).items()}
    for qp in args.qp:
        ways = {"one": {}, "optimised": dict(opt_qp=True), "deviation": dict(qp_per_tensor=by_deviation(folded, qp))}
        for steps, dependent, scale in itertools.product(args.steps, [True, False], args.scale):
            stream = out / "stream.nnc"
            settings = dict(qp=qp, nonweight_qp=BIAS_QP, use_dq=dependent, lambda_scale=scale, row_skipping=True) | ways[steps]
            with contextlib.redirect_stdout(io.StringIO()):
                nnc.compress(folded, bitstream_path=str(stream), **settings)
                decoded = nnc.decompress(str(stream))
            target = out / f"qp{qp}-{steps}-{'dq' if dependent else 'uniform'}-{scale:g}.safetensors"
            write(target, unfold({name: np.float32(decoded[name]) for name in folded}))
            point = dict(qp=qp, steps=steps, dependent=dependent, scale=scale, bytes=stream.stat().st_size, network=str(target))
            print(json.dumps(point), flush=True)


main()
