#!/usr/bin/env bash
# Makes models/dense/resnet18-cifar10-dense.gaunt. usage: recipes/resnet18-cifar10-dense.sh CIFAR10_DIR
set -euo pipefail
cargo run --release -- train --arch resnet18 --data "cifar10:$1" --epochs 9 --first-size 16 --batch 256 --rate 0.2 --decay 0.005 --precision bf16 \
    --seed 1 -o resnet18-cifar10-start.safetensors
cargo run --release -- train --arch resnet18 --data "cifar10:$1" --init resnet18-cifar10-start.safetensors --epochs 17 --first-size 16 --rate 0.1 --warm-up 0.15 \
    --decay 0.005 --cutout 8 --precision bf16 --seed 1 -o resnet18-cifar10-alone.safetensors
cargo run --release -- compress resnet18-cifar10-alone.safetensors --arch resnet18 --data "cifar10:$1" --method int8 --seed 1 -o resnet18-cifar10-alone.gaunt
cargo run --release -- train --arch resnet18 --data "cifar10:$1" --init resnet18-cifar10-alone.gaunt --teacher models/dense/vgg16-cifar10-dense.gaunt \
    --epochs 20 --first-size 16 --rate 0.1 --warm-up 0.1 --decay 0.005 --cutout 8 --precision bf16 --seed 1 -o resnet18-cifar10-taught.safetensors
cargo run --release -- train --arch resnet18 --data "cifar10:$1" --init resnet18-cifar10-taught.safetensors --teacher models/dense/vgg16-cifar10-dense.gaunt \
    --teacher-share 0.5 --validation 0 --epochs 7 --rate 0.05 --warm-up 0.1 --decay 0.005 --cutout 8 --precision bf16 --seed 2 -o resnet18-cifar10.safetensors
cargo run --release -- compress resnet18-cifar10.safetensors --arch resnet18 --data "cifar10:$1" --method int8 --seed 1 -o resnet18-cifar10-dense.gaunt
