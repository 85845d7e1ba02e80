#!/usr/bin/env python3
"""A table of the runs that `bench/compare.sh` has kept: the best of each program, PyTorch in its better layout.

Usage: python bench/table.py RUNS.jsonl
"""

import json
import sys
from collections import defaultdict

SPEED = ["Gaunt, images/s", "PyTorch, images/s", "ratio"]
MEMORY = ["Gaunt, peak", "PyTorch, peak", "ratio", "by its import alone"]
HEADING = ["network", "precision", *SPEED, *MEMORY, "PyTorch's layout"]


def mebibytes(size):
    return "-" if size is None else f"{size / 2**20:.0f} MiB"


def ratio(a, b):
    return "-" if a is None or b is None else f"{a / b:.2f}"


def row(arch, precision, runs):
    runs = sorted(runs, key=lambda run: run["images_per_s"])
    gaunt = [run for run in runs if "torch" not in run][-1]
    pytorch = [run for run in runs if "torch" in run][-1]
    assert gaunt["parameters"] == pytorch["parameters"], f"{arch}: the programs train different networks"
    return [
        arch,
        precision,
        f"{gaunt['images_per_s']:.1f}",
        f"{pytorch['images_per_s']:.1f}",
        ratio(gaunt["images_per_s"], pytorch["images_per_s"]),
        mebibytes(gaunt["peak_rss_bytes"]),
        mebibytes(pytorch["peak_rss_bytes"]),
        ratio(gaunt["peak_rss_bytes"], pytorch["peak_rss_bytes"]),
        mebibytes(pytorch["import_rss_bytes"]),
        pytorch["layout"],
    ]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    groups = defaultdict(list)
    with open(sys.argv[1]) as lines:
        for run in map(json.loads, lines):
            groups[run["arch"], run["precision"]].append(run)
    rows = [HEADING] + [row(*key, runs) for key, runs in groups.items()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * width for width in widths])
    for cells in rows:
        print("|", " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)), "|")


if __name__ == "__main__":
    main()
