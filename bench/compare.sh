#!/usr/bin/env bash
# Trains the same networks in Gaunt and in PyTorch, in turn, and prints images per second and peak memory of both.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

usage() {
    cat <<'END'
usage: bench/compare.sh [-n NETWORKS] [-p PRECISIONS] [-t THREADS] [-b BATCH] [-s STEPS] [-r ROUNDS] [-o FILE]

  -n NETWORKS    [default: "vgg16 resnet18 resnet20 mobilenet-v2"]
  -p PRECISIONS  of both programs, fp32 or bf16 [default: "fp32"]
  -t THREADS     [default: 2]
  -b BATCH       images per step [default: 128]
  -s STEPS       timed steps of a run, whose median counts [default: 10]
  -r ROUNDS      runs of each program, the best of which counts [default: 3]
  -o FILE        where to keep what the runs report, a JSON object a line [default: a temporary file]

PyTorch is taken from $PYTHON, or else installed into a temporary virtual environment. $GAUNT, if given, is the
command to measure; otherwise it is built. Let nothing else run meanwhile.
END
}

networks="vgg16 resnet18 resnet20 mobilenet-v2" precisions=fp32 threads=2 batch=128 steps=10 rounds=3 out=
while getopts n:p:t:b:s:r:o:h option; do
    case $option in
        n) networks=$OPTARG ;;
        p) precisions=$OPTARG ;;
        t) threads=$OPTARG ;;
        b) batch=$OPTARG ;;
        s) steps=$OPTARG ;;
        r) rounds=$OPTARG ;;
        o) out=$OPTARG ;;
        h) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [[ $# -gt 0 ]]; then
    usage >&2
    exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
out=${out:-$scratch/runs.jsonl}
: >"$out"

gaunt=${GAUNT:-}
if [[ -z $gaunt ]]; then
    cargo build --release --workspace --manifest-path "$root/Cargo.toml"
    gaunt=${CARGO_TARGET_DIR:-$root/target}/release/gaunt
fi
python=${PYTHON:-}
if [[ -z $python ]]; then
    python3 -m venv "$scratch/venv"
    python=$scratch/venv/bin/python
    "$python" -m pip install --quiet torch
fi

for network in $networks; do
    for precision in $precisions; do
        options=(--arch "$network" --precision "$precision" --batch "$batch" --threads "$threads" --steps "$steps" --json)
        for ((round = 1; round <= rounds; round++)); do
            echo "$network $precision, round $round of $rounds" >&2
            {
                "$gaunt" bench train "${options[@]}"
                "$python" "$root/bench/pytorch_train.py" "${options[@]}" --layout channels_last
                "$python" "$root/bench/pytorch_train.py" "${options[@]}" --layout contiguous
            } >>"$out"
        done
    done
done
"$python" "$root/bench/table.py" "$out"
