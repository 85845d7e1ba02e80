#!/usr/bin/env bash
# Trains small networks on a GPU and on the CPU and compares the losses. Without a GPU a Vulkan driver in software does; on Debian it is
# installed if there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

drivers=(/usr/share/vulkan/icd.d /etc/vulkan/icd.d)
if ! ls "${drivers[@]}" 2>/dev/null | grep -q json && command -v apt-get >/dev/null; then
    apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1
fi
cargo test --release -p gaunt-train --features wgpu --test wgpu
