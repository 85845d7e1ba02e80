#!/usr/bin/env bash
# Fuzzes one reader: scripts/fuzz.sh container|codes|onnx|runtime [SECONDS]
# Needs cargo-fuzz (cargo install cargo-fuzz), but no nightly compiler. New inputs go to fuzz/target/corpus, what breaks a promise to
# fuzz/artifacts; from there it belongs into fuzz/regressions, which a test of gaunt-fuzzing reads.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$1
seconds=${2:-60}
found=fuzz/target/corpus/$target
kept=fuzz/regressions/$target
mkdir -p "$found" "$kept"
# The quarantine of freed memory would count against the limit.
export ASAN_OPTIONS=quarantine_size_mb=8 RUSTC_BOOTSTRAP=1
nice -n 19 cargo fuzz run --jobs 1 "$target" "$found" "fuzz/corpus/$target" "$kept" -- \
    -max_total_time="$seconds" -rss_limit_mb=256 -timeout=5 -max_len=4096 -print_final_stats=1
