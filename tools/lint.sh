#!/bin/sh
# Everything about the source that a program can judge. `lint.sh quick` leaves clang-tidy out.
set -u
cd "$(dirname "$0")/.."
failed=0

sources=$(git ls-files -co --exclude-standard '*.c' '*.h') && [ -n "$sources" ] || {
    echo "lint needs a git checkout" >&2
    exit 1
}

if command -v clang-format >/dev/null; then
    # shellcheck disable=SC2086 # a list of files
    clang-format --dry-run -Werror $sources || failed=1
else
    echo "lint: clang-format is missing, formatting was not checked (tools/setup.sh lint installs it)"
fi
tools/check_layers.sh || failed=1
tools/check_banned.sh || failed=1

for library in build/release/lib/libpith.so build/dev/lib/libpith.so; do
    if [ -f "$library" ]; then
        tools/check_symbols.sh "$library" || failed=1
        break
    fi
done

if [ "${1:-all}" = all ]; then
    git ls-files -co --exclude-standard 'lib/*.c' 'cli/*.c' 'tools/*.c' 'bench/*.c' 'examples/*.c' |
        xargs -P "$(nproc)" -n 8 clang-tidy -quiet -p build/clang 2>/dev/null || failed=1
fi
[ "$failed" = 0 ] && echo "lint: nothing found"
exit "$failed"
