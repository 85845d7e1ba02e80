#!/usr/bin/env bash
# Makes models/vgg16-cifar10.gaunt. usage: recipes/vgg16-cifar10.sh CIFAR10_DIR (the binary version)
set -euo pipefail
cargo run --release -- compress models/dense/vgg16-cifar10-dense.gaunt --data "cifar10:$1" \
    --target-ratio 252 --epochs 16 --precision bf16 --seed 1 -o vgg16-cifar10.gaunt
