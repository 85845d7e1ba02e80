#!/usr/bin/env bash
# The ResNet-20 experiments of docs/experiments.md: two budgets and the control, from a trained ONNX network.
#   scripts/cifar10_resnet20.sh NETWORK.onnx CIFAR10_DIR OUT_DIR
set -euo pipefail
network=$1 cifar=$2 out=$3
mkdir -p "$out"
gaunt=${GAUNT:-"cargo run --release --"}
data=(--data "cifar10:$cifar" --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)

$gaunt eval "$network" "${data[@]}"
$gaunt compress "$network" "${data[@]}" --target-ratio 12 --epochs 2 --seed 1 -o "$out/resnet20-12x.gaunt"
$gaunt compress "$network" "${data[@]}" --max-drop 0.5 --epochs 2 --seed 1 -o "$out/resnet20-drop0.5.gaunt"
$gaunt compress "$network" "${data[@]}" --target-ratio 12 --epochs 2 --seed 1 --method uniform -o "$out/resnet20-12x-uniform.gaunt"
