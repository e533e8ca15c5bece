#!/bin/sh
# Runs every libFuzzer target of a build folder for SECONDS_PER_TARGET (60) on its seed corpus.
set -eu
build=$1
root=$(dirname "$0")/..
for binary in "$build"/fuzz/fuzz_*; do
    [ -x "$binary" ] && [ -f "$binary" ] || continue
    name=$(basename "$binary")
    work=$(mktemp -d)
    echo "== $name"
    "$binary" -max_total_time="${SECONDS_PER_TARGET:-60}" -timeout=10 -rss_limit_mb=2048 \
        "$work" "$root/fuzz/corpus/${name#fuzz_}" 2>&1 | tail -n 3
    rm -rf "$work"
done
