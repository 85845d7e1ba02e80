#!/usr/bin/env bash
# The file's coder against NNCodec (ISO/IEC 15938-17, DeepCABAC), side by side on the same integer tensors.
#
# usage: bench/codec.sh [-r ROUNDS] FILE.gaunt|DIR ...
#
# A DIR holds .npy files of int32; of a FILE the codes are taken. Both code every tensor in turn, ROUNDS times (3); the fastest
# round of each counts. The last column is our decoder with all tensors side by side, over NNCodec, which has one thread. NNCodec is taken from $PYTHON, or installed into a temporary environment, which needs a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=3
while getopts r: flag; do
  case $flag in
    r) rounds=$OPTARG ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet nncodec
  PYTHON=$work/venv/bin/python
fi
cargo build --release --quiet --package gaunt-format --features parallel --example codes
codes=${CARGO_TARGET_DIR:-target}/release/examples/codes

printf '%-28s %10s %10s %10s %7s %18s %19s %14s\n' codes weights gaunt NNCodec ratio 'encoding, M/s' 'decoding, M/s' 'by all cores'
for source in "$@"; do
  folder=$source
  if [ -f "$source" ]; then
    folder=$work/$(basename "$source" .gaunt)
    "$codes" dump "$source" "$folder"
  fi
  for _ in $(seq "$rounds"); do
    "$codes" bench "$folder" | tail -n 1 >> "$work/ours"
    "$PYTHON" bench/nncodec_codes.py "$folder" | tail -n 1 >> "$work/theirs"
  done
  # Lines read: N weights, N bytes, encoded at X, decoded at X[, by N threads at X] million a second
  best() {
    tr -d , < "$1" | awk '{ if ($7 > e) e = $7; if ($10 > d) d = $10; if ($15 > a) a = $15 } END { print $1, $3, e, d, a }'
  }
  read -r weights bytes encode decode all < <(best "$work/ours")
  read -r _ their_bytes their_encode their_decode _ < <(best "$work/theirs")
  awk -v name="$(basename "$folder")" -v w="$weights" -v b="$bytes" -v tb="$their_bytes" -v e="$encode" -v te="$their_encode" \
    -v d="$decode" -v td="$their_decode" -v a="$all" 'BEGIN {
      printf "%-28s %10d %10d %10d %7.3f %5.1f/%4.1f = %5.2f %6.1f/%4.1f = %5.2f %6.1f = %5.2f\n", name, w, b, tb, b / tb, e, te, e / te,
        d, td, d / td, a, a / td }'
  rm -f "$work/ours" "$work/theirs"
done
