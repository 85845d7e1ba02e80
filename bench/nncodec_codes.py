"""What NNCodec (ISO/IEC 15938-17, DeepCABAC) makes of integer tensors.

usage: nncodec_codes.py DIR [--json]

DIR holds .npy files of int32, as `cargo run --release -p gaunt-format --features parallel --example codes -- dump FILE.gaunt DIR` writes them. Each tensor
is coded by NNCodec's C++ core at the settings that give the fewest bytes (unary length, scan order, optimised context
parameters, skipped rows), and decoded again. Times are of the core alone at these settings, without the search.

Needs `pip install nncodec` (2.x; builds from source).
"""
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
from nncodec.extensions import deepCABAC
from nncodec.nnc_core.hdsp.hdsp_tool import HDSP_OPTS_OFF

PROFILE = 1
REPEATS = 3


def choices(codes):
    """What each setting may be."""
    largest = int(np.abs(codes).max(initial=0))
    matrix = codes.ndim > 1 and codes.shape[0] > 1 and codes.size > codes.shape[0]
    return {
        "unary": sorted({1, 2, 3, 4, 6, 8, 11, 16, min(max(largest, 1), 32)}),
        "optimise": [1, 0],
        "scan": range(5) if matrix else [0],
        "skip_rows": [0, 1] if matrix and not all(row.any() for row in codes) else [0],
        # The range of the codes bounds magnitudes, as for a codebook; the bytes of the codebook are not counted.
        "bounded": [0, 1],
    }


def bounds(codes, bounded):
    low, high = int(codes.min()), int(codes.max())
    return (high - low + 1, -low) if bounded and low <= 0 <= high and low < high else (0, 0)


def encode(codes, unary, optimise, scan, skip_rows, bounded):
    empty = np.array([skip_rows and not row.any() for row in codes], dtype=np.int32)
    encoder = deepCABAC.Encoder()
    start = time.perf_counter()
    encoder.initCtxModels(unary, optimise)
    encoder.encodeLayer(codes, 0, scan, PROFILE, 0, skip_rows, empty, *HDSP_OPTS_OFF(), *bounds(codes, bounded))
    stream = encoder.finish()
    return stream, time.perf_counter() - start


def decode(stream, codes, unary, scan, bounded):
    back = np.zeros(codes.shape, np.int32)
    limits = bounds(codes, bounded)
    decoder = deepCABAC.Decoder()
    decoder.setStream(stream)
    start = time.perf_counter()
    decoder.initCtxModels(unary)
    # Without entry points, which are no part of the stream, blocks are decoded by the call that also finds them.
    layer = decoder.decodeLayerAndCreateEPs if scan else decoder.decodeLayer
    layer(back, 0, scan, PROFILE, 0, *HDSP_OPTS_OFF(), *limits)
    decoder.finish()
    seconds = time.perf_counter() - start
    if not np.array_equal(back, codes):
        raise RuntimeError("the codes do not come back")
    return seconds


def size(codes, settings):
    """Bytes, if they can be decoded again: scans by blocks larger than the tensor cannot."""
    stream, _ = encode(codes, **settings)
    try:
        decode(stream, codes, settings["unary"], settings["scan"], settings["bounded"])
    except RuntimeError:
        return float("inf")
    return len(stream)


def best(codes):
    """One setting after the other, twice."""
    grid = choices(codes)
    chosen = {name: options[0] for name, options in grid.items()} | {"unary": 11 if 11 in grid["unary"] else 1}
    for name in list(grid) * 2:
        chosen[name] = min(grid[name], key=lambda option: size(codes, chosen | {name: option}))
    return chosen


def measure(path):
    codes = np.atleast_1d(np.ascontiguousarray(np.load(path), dtype=np.int32))
    chosen = best(codes)
    runs = [encode(codes, **chosen) for _ in range(REPEATS)]
    stream = runs[0][0]
    decoding = [decode(stream, codes, chosen["unary"], chosen["scan"], chosen["bounded"]) for _ in range(REPEATS)]
    return {
        "name": path.stem,
        "weights": codes.size,
        "bytes": len(stream),
        "settings": chosen,
        "encode_seconds": min(seconds for _, seconds in runs),
        "decode_seconds": min(decoding),
    }


def main():
    folder = Path(sys.argv[1])
    tensors = [measure(path) for path in sorted(folder.glob("*.npy"))]
    total = {key: sum(tensor[key] for tensor in tensors) for key in ["weights", "bytes", "encode_seconds", "decode_seconds"]}
    if "--json" in sys.argv:
        print(json.dumps(total | {"tensors": tensors}))
        return
    for tensor in tensors:
        print(f"{tensor['name']:40} {tensor['bytes']:8} {tensor['settings']}")
    rates = [total["weights"] / total[key] / 1e6 for key in ["encode_seconds", "decode_seconds"]]
    print(f"{total['weights']} weights, {total['bytes']} bytes, encoded at {rates[0]:.2f}, decoded at {rates[1]:.2f} million a second")


main()
