#!/usr/bin/env bash
# Makes models/resnet20-cifar10.gaunt. usage: recipes/resnet20-cifar10.sh NETWORK.onnx CIFAR10_DIR
set -euo pipefail
cargo run --release -- compress "$1" --data "cifar10:$2" --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \
    --target-ratio 20 --epochs 1 --seed 1 -o resnet20-cifar10.gaunt
