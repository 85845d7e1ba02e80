#!/usr/bin/env python3
"""Checks that exported ONNX models compute what their originals do.

Both models run in onnxruntime on the same seeded inputs, with batch 1 and batch 3 where the original allows it;
the exported one must also pass the checker of the onnx package. Takes two models, or two folders with models of the
same names:

    cargo run -p gaunt-graph --example onnx_round_trip -- /tmp/exported tests/operators/*.onnx
    python scripts/check_export.py tests/operators /tmp/exported
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime


def session(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inputs(model, batch):
    """Seeded inputs; positive, so that roots and powers of them exist."""
    rng = np.random.default_rng(0)
    feed = {}
    for info in model.get_inputs():
        shape = [size if isinstance(size, int) else batch for size in info.shape]
        feed[info.name] = rng.uniform(0.1, 2, shape).astype(np.float32)
    return feed


def difference(original, exported, batch):
    """The largest difference of any output, relative to 1 + |expected|."""
    feed = inputs(original, batch)
    names = [info.name for info in exported.get_inputs()]
    expected = original.run(None, feed)
    found = exported.run(None, dict(zip(names, feed.values())))
    assert len(expected) == len(found), f"{len(found)} outputs instead of {len(expected)}"
    worst = 0.0
    for a, b in zip(expected, found):
        assert a.shape == b.shape, f"shape {b.shape} instead of {a.shape}"
        worst = max(worst, float(np.max(np.abs(a - b) / (1 + np.abs(a)), initial=0)))
    return worst


def check(original, exported):
    onnx.checker.check_model(onnx.load(exported), full_check=True)
    a, b = session(original), session(exported)
    worst = max(difference(a, b, batch) for batch in (1, 3))
    assert worst < 1e-5, f"outputs differ by {worst:.2g}"
    return worst


def main():
    original, exported = map(pathlib.Path, sys.argv[1:])
    pairs = [(original, exported)]
    if original.is_dir():
        pairs = [(path, exported / path.name) for path in sorted(original.glob("*.onnx"))]
    failures = 0
    for a, b in pairs:
        try:
            worst = check(a, b)
            if len(pairs) == 1:
                print(f"{a.name}: largest difference {worst:.2g}")
        except Exception as error:  # One line for each failure, then the next pair.
            failures += 1
            print(f"{a.name}: {str(error).splitlines()[0]}")
    print(f"{len(pairs)} checked, {failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
