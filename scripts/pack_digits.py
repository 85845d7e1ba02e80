"""Packs the UCI handwritten digits of scikit-learn into crates/gaunt-data/data/digits.bin.

    pip install scikit-learn && python scripts/pack_digits.py

The file is a gzip stream of 1,797 records in the source's order: one byte of label (0..9), then the 8 x 8 image
row by row, one byte a pixel (0..16). NOTICE names the authors and the licence.
"""

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "crates" / "gaunt-data" / "data" / "digits.bin"


def main() -> None:
    digits = load_digits()
    pixels = digits.images.reshape(len(digits.images), 64)
    assert pixels.shape == (1797, 64) and pixels.min() == 0 and pixels.max() == 16
    records = np.concatenate([digits.target[:, None], pixels], axis=1).astype(np.uint8)
    # A time of zero makes the same bytes on every run.
    packed = gzip.compress(records.tobytes(), compresslevel=9, mtime=0)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(packed)
    print(f"{TARGET.name}: {len(records)} images, {len(packed)} bytes")


if __name__ == "__main__":
    main()
