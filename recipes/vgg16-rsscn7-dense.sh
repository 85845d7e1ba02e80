#!/usr/bin/env bash
# Makes models/dense/vgg16-rsscn7-dense.gaunt. usage: recipes/vgg16-rsscn7-dense.sh RSSCN7_DIR CIFAR10_DIR
# RSSCN7_DIR holds train/CLASS/*.jpg and test/CLASS/*.jpg, 240 and 100 images of each of the 7 classes.
set -euo pipefail
recipes/vgg16-cifar10-start.sh "$2"
cargo run --release -- train --arch vgg16 --data "folder:$1" --size 64 --init vgg16-cifar10-start.gaunt \
    --turns --cutout 16 --epochs 60 --batch 64 --rate 0.05 --decay 0.005 --precision bf16 --seed 1 -o vgg16-rsscn7.safetensors
cargo run --release -- compress vgg16-rsscn7.safetensors --data "folder:$1" --method int8 --seed 1 -o vgg16-rsscn7-dense.gaunt
