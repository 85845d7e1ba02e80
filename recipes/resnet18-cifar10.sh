#!/usr/bin/env bash
# Makes models/resnet18-cifar10.gaunt. usage: recipes/resnet18-cifar10.sh CIFAR10_DIR (the binary version)
set -euo pipefail
cargo run --release -- compress models/dense/resnet18-cifar10-dense.gaunt --data "cifar10:$1" \
    --target-ratio 205 --epochs 16 --precision bf16 --seed 1 -o resnet18-cifar10.gaunt
