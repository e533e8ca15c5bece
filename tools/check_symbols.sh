#!/bin/sh
# The shared library exports what tests/data/symbols.txt lists, no more and no less.
set -u
cd "$(dirname "$0")/.."
nm -D --defined-only "$1" | awk '$2 ~ /[TDBRW]/ {print $3}' | grep -v '^_' | sort |
    diff -u tests/data/symbols.txt - || {
    echo "exported symbols differ from tests/data/symbols.txt"
    exit 1
}
