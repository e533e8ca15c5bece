#!/bin/sh
# Installs a build into an empty folder and builds examples/compress.c against it, once through
# pkg-config and once through the CMake package; both programs must compress a text.
#     run.sh BUILD-FOLDER SOURCE-FOLDER
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

cmake --install "$build" --prefix "$prefix" >/dev/null
libdir=$(dirname "$(find "$prefix" -name 'libpith.so' | head -n 1)")
export LD_LIBRARY_PATH="$libdir"

export PKG_CONFIG_PATH="$libdir/pkgconfig"
# shellcheck disable=SC2046 # flags are words
cc -std=c11 "$source/examples/compress.c" $(pkg-config --cflags --libs pith) \
    -o "$work/with-pkg-config"

mkdir "$work/consumer"
cat >"$work/consumer/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(pith 0.5 REQUIRED)
add_executable(with-cmake "$source/examples/compress.c")
target_link_libraries(with-cmake PRIVATE pith::pith)
EOF
cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/consumer/build" >/dev/null

for program in "$work/with-pkg-config" "$work/consumer/build/with-cmake" "$prefix/bin/pith compress --keep-digits"; do
    $program "$source/examples/prompt.txt" >"$work/out" 2>/dev/null
    grep -q '200 GB' "$work/out"
    [ "$(wc -c <"$work/out")" -lt "$(wc -c <"$source/examples/prompt.txt")" ]
done
echo "installed, found twice, works"
