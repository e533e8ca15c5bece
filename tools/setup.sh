#!/bin/sh
# Installs the Debian packages that pith is built from, if any is missing and we may; otherwise
# prints the one line to run. `setup.sh lint` adds what `make lint`, `make fuzz` and
# PRESET=mpi need.
set -eu

packages="gcc g++ cmake ninja-build pkg-config libdnnl-dev libicu-dev libpcre2-dev libjansson-dev libsodium-dev libstemmer-dev zlib1g-dev libcmocka-dev python3"
if [ "${1:-}" = lint ]; then
    packages="$packages clang clang-format clang-tidy libclang-rt-14-dev libomp-dev man-db libopenmpi-dev openmpi-bin"
fi

command -v dpkg-query >/dev/null || exit 0 # not Debian: cmake will name what it misses

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    echo "pith needs these packages; please run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # lists of words
$as_root apt-get update -qq >/dev/null || true # a stale list may still do
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
