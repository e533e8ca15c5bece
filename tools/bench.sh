#!/bin/sh
# Everything we measure, each as a ratio within one run. `bench.sh BUILD [TEXT]`; TEXT is what int8
# and f32 scores are compared on: by default Wikipedia text beside the repository, if it is there,
# else the repository's own documents.
set -eu
build=$1
root=$(dirname "$0")/..
wiki=$root/../shared/data/eval/wikitext2-valid.txt.xz
text=${2:-}
if [ -z "$text" ]; then
    text=$(mktemp)
    trap 'rm -f "$text"' EXIT
    if [ -f "$wiki" ]; then
        xz -dc "$wiki" | head -c 100000 >"$text" || true
    else
        cat "$root"/*.md "$root"/docs/*.md "$root"/examples/prompt.txt "$root"/tests/data/plain.txt \
            "$root"/include/pith/pith.h >"$text"
    fi
fi
"$build/cli/pith" bench
"$build/bench/pith_startup" 21 "$build/cli/pith" "$build/bench/gemm_once"
"$build/bench/pith_agreement" "$text"
"$build/bench/pith_training"
if command -v python3 >/dev/null; then
    echo
    python3 "$root/bench/modes.py" --program "$build/cli/pith"
fi
