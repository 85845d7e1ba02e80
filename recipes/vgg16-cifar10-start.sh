#!/usr/bin/env bash
# Makes vgg16-cifar10-start.gaunt, a VGG-16 after 18 epochs, from which both dense VGG-16 begin. usage: recipes/vgg16-cifar10-start.sh CIFAR10_DIR
set -euo pipefail
cargo run --release -- train --arch vgg16 --data "cifar10:$1" --epochs 18 --rate 0.1 --decay 0.005 --seed 1 -o vgg16-cifar10-start.safetensors
cargo run --release -- compress vgg16-cifar10-start.safetensors --data "cifar10:$1" --method int8 --seed 1 -o vgg16-cifar10-start.gaunt
