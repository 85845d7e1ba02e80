#!/usr/bin/env bash
# Post-training compression against NNCodec's with its own rate-distortion optimised quantisation: two curves of bytes and accuracy.
#
# usage: bench/post_training.sh ARCH NETWORK.safetensors CIFAR10_DIR [RATIOS] [QPS] [SCALES]
#
# Ours are `gaunt compress --epochs 0` at each of RATIOS (9,11,13,16,20), whole files; theirs are bitstreams at each of QPS
# (-28,-26,-24,-22,-20) and each of SCALES of its Lagrangian (0,0.2), with steps chosen in three ways, with and without dependent
# quantisation. All are decoded and evaluated on the test split. NNCodec is taken from $PYTHON, or installed into a temporary
# environment, which needs a C++ compiler. Points and the table of matches are printed; $OUT keeps the networks.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
arch=$1 network=$2 data=cifar10:$3
ratios=${4:-9,11,13,16,20} qps=${5:--28,-26,-24,-22,-20} scales=${6:-0,0.2}
images=(--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)

work=${OUT:-$(mktemp -d)}
mkdir -p "$work"
[ -n "${OUT:-}" ] || trap 'rm -rf "$work"' EXIT
if [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet nncodec
  PYTHON=$work/venv/bin/python
fi
cargo build --release --quiet --package gaunt
gaunt=${CARGO_TARGET_DIR:-target}/release/gaunt

for ratio in ${ratios//,/ }; do
  "$gaunt" compress "$network" --arch "$arch" --data "$data" "${images[@]}" --target-ratio "$ratio" --epochs 0 --seed 1 --force \
    -o "$work/ours-$ratio.gaunt" --json >"$work/ours-$ratio.json" 2>/dev/null
done
"$PYTHON" bench/nncodec_rdoq.py "$network" "$work/theirs" --qp="$qps" --scale "$scales" >"$work/theirs.jsonl"
while read -r line; do
  file=$(sed 's/.*"network": "\([^"]*\)".*/\1/' <<<"$line")
  "$gaunt" eval "$file" --arch "$arch" --data "$data" "${images[@]}" --json >"${file%.safetensors}.json" 2>/dev/null
done <"$work/theirs.jsonl"
"$PYTHON" bench/post_training.py "$work"
