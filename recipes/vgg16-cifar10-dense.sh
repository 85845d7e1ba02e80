#!/usr/bin/env bash
# Makes models/dense/vgg16-cifar10-dense.gaunt. usage: recipes/vgg16-cifar10-dense.sh CIFAR10_DIR
set -euo pipefail
cargo run --release -- train --arch vgg16 --data "cifar10:$1" --epochs 18 --rate 0.1 --decay 0.005 --seed 1 -o vgg16.safetensors
cargo run --release -- compress vgg16.safetensors --data "cifar10:$1" --method int8 --seed 1 -o vgg16-cifar10-dense.gaunt
