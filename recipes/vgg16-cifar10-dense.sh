#!/usr/bin/env bash
# Makes models/dense/vgg16-cifar10-dense.gaunt. usage: recipes/vgg16-cifar10-dense.sh CIFAR10_DIR
set -euo pipefail
recipes/vgg16-cifar10-start.sh "$1"
cargo run --release -- train --arch vgg16 --data "cifar10:$1" --init vgg16-cifar10-start.gaunt --epochs 30 --rate 0.1 --warm-up 0.15 \
    --decay 0.005 --cutout 8 --precision bf16 --seed 1 -o vgg16-cifar10.safetensors
cargo run --release -- compress vgg16-cifar10.safetensors --data "cifar10:$1" --method int8 --seed 1 -o vgg16-cifar10-dense.gaunt
