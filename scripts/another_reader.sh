#!/usr/bin/env bash
# docs/format.md is enough to read a file: a reader in Python that was written from it finds the codes that ours finds.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v python3 > /dev/null || { apt-get update -qq && apt-get install -qqy --no-install-recommends python3; }
model=models/resnet20-cifar10.gaunt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo run --release --quiet --package gaunt-format --features parallel --example codes -- dump "$model" "$work/ours"
python3 scripts/read_gaunt.py "$model" "$work/theirs" > /dev/null
for ours in "$work"/ours/*.npy; do
  name=$(basename "$ours" .npy)
  cmp "$ours" "$work/theirs/${name#*.}.codes.npy"
done
python3 scripts/read_gaunt.py crates/gaunt-format/tests/data/tiny.gaunt
