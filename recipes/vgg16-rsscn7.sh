#!/usr/bin/env bash
# Makes models/vgg16-rsscn7.gaunt. usage: recipes/vgg16-rsscn7.sh RSSCN7_DIR
set -euo pipefail
cargo run --release -- compress models/dense/vgg16-rsscn7-dense.gaunt --data "folder:$1" --turns \
    --target-ratio 301 --epochs 44 --batch 32 --precision bf16 --seed 1 -o vgg16-rsscn7.gaunt
