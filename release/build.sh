#!/bin/sh
# Builds the executable that is released: optimised, stripped, and able to run on any Linux with glibc 2.17 or newer.
#
# Needs cargo, zig (the Python package ziglang will do) and cargo-zigbuild. Usage: release/build.sh [OUTPUT]
set -eu

glibc=2.17
target="${MK8S_TARGET:-x86_64-unknown-linux-gnu}"

cd "$(dirname "$0")/.."

for tool in cargo cargo-zigbuild; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "release/build.sh: $tool is missing (pip install ziglang cargo-zigbuild)" >&2
    exit 1
  fi
done

cargo zigbuild --locked --release --package mk8s --target "$target.$glibc"

built="${CARGO_TARGET_DIR:-target}/$target/release/mk8s"
if [ "$#" -gt 0 ]; then
  mkdir -p "$(dirname "$1")"
  cp "$built" "$1"
  built="$1"
fi

ls -l "$built"
echo "check it with: MK8S_RELEASE_BINARY=$(realpath "$built") cargo test --test release -- --nocapture"
