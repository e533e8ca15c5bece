#!/bin/sh
# Compresses a real prompt with the built-in model and shows what happened to it.
set -eu
pith=$1/cli/pith
prompt=$(dirname "$0")/../examples/prompt.txt
echo
echo "== The prompt: examples/prompt.txt"
echo
cat "$prompt"
echo
echo "== pith compress --rate 0.5 --keep-digits examples/prompt.txt"
echo
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
"$pith" compress --rate 0.5 --keep-digits -v "$prompt" 2>"$notes"
echo
echo
cat "$notes"
echo
echo "== What went (--heat)"
echo
"$pith" compress --rate 0.5 --keep-digits --heat "$prompt"
echo
