#!/usr/bin/env bash
# The runtime needs no standard library: links a program without it, runs it here, and links it for a Cortex-M4 as well if its `core` is
# installed or can be.
set -euo pipefail
cd "$(dirname "$0")/../embedded"

cargo fmt --check
cargo clippy --release -- -D warnings
cargo run --release

bare=thumbv7em-none-eabihf
if ! rustc --print target-libdir --target "$bare" | xargs test -d && ! timeout 60 rustup target add "$bare"; then
    echo "not linked for $bare: its core library cannot be had"
    exit
fi
cargo build --release --target "$bare"
if command -v qemu-system-arm >/dev/null; then
    program=${CARGO_TARGET_DIR:-target}/$bare/release/gaunt-embedded
    timeout 60 qemu-system-arm -machine mps2-an386 -nographic -semihosting -kernel "$program"
fi
