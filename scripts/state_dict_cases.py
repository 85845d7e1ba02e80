#!/usr/bin/env python3
"""Generates the state dicts of crates/gaunt-graph/tests/data/.

Small files in the forms that training scripts write: plain, nested, from DataParallel, in half precision, in the legacy
container, with views, and one that claims more memory than it holds.

    pip install torch safetensors
    python scripts/state_dict_cases.py
"""

import pathlib
from collections import OrderedDict

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent / "crates" / "gaunt-graph" / "tests" / "data"


def state(dtype=torch.float32):
    """Weights and a bias of a 3 x 2 linear layer, and a counter. Every number is exact in half precision."""
    weight = torch.arange(6, dtype=dtype).reshape(3, 2) - 2.5
    bias = torch.tensor([0.5, -1.0, 2.0], dtype=dtype)
    counter = torch.tensor(7)
    return OrderedDict([("fc.weight", weight), ("fc.bias", bias), ("bn.num_batches_tracked", counter)])


def wrapped(prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in state().items())


def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    momentum = {"state": {0: {"momentum_buffer": torch.ones(3, 2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    view = state()
    view["fc.weight"] = state()["fc.weight"].t().contiguous().t()
    checkpoints = {
        "plain": state(),
        "module": wrapped("module."),
        "net": {"net": wrapped("module."), "acc": 91.5, "epoch": 3},
        "state_dict": {"epoch": 3, "state_dict": wrapped("_orig_mod."), "optimizer": momentum},
        "model": {"model": state(), "optimizer": momentum},
        "half": state(torch.float16),
        "bfloat": state(torch.bfloat16),
        "double": state(torch.float64),
        "transposed": view,
        "expanded": {"fc.weight": torch.zeros(1).expand(1 << 30)},
        "list": [1, 2, 3],
    }
    for name, checkpoint in checkpoints.items():
        torch.save(checkpoint, ROOT / f"{name}.pth")
    torch.save(state(), ROOT / "legacy.pth", _use_new_zipfile_serialization=False)
    for name, dtype in [("half", torch.float16), ("bfloat", torch.bfloat16), ("double", torch.float64)]:
        save_file(dict(state(dtype)), ROOT / f"{name}.safetensors", metadata={"made_by": "state_dict_cases.py"})


if __name__ == "__main__":
    main()
