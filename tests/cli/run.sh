#!/bin/bash
# Runs one case of the program's tests.
#   run.sh PITH JSON_GET CASE.sh
# The case runs in an empty folder with PITH, GET, MODEL (a tiny model with random weights) and
# CASES set, and without any option in the environment. Its exit code, standard output and standard
# error must be those beside it.
set -u
export PITH GET MODEL CASES LC_ALL=C
PITH=$(realpath "$1")
GET=$(realpath "$2")
case=$(realpath "$3")
CASES=$(dirname "$case")
MODEL=$(realpath "$CASES/../../golden/models/llama_gqa.gguf")
expected=${case%.sh}
for variable in $(compgen -e PITH_ARG_); do
    unset "$variable"
done
unset NO_COLOR

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
mkdir "$scratch/work"
cd "$scratch/work" || exit 1
bash -eu "$case" >../stdout 2>../stderr </dev/null
code=$?

failed=0
complain()
{
    echo "$(basename "$case"): $1"
    failed=1
}

# compare NAME: $scratch/NAME against the file or the pattern beside the case
compare()
{
    if [ -e "$expected.$1.glob" ]; then
        local text pattern
        text=$(cat "../$1"; echo x)
        pattern=$(cat "$expected.$1.glob"; echo x)
        # shellcheck disable=SC2053 # the right side is a pattern
        [[ $text == $pattern ]] || complain "$1 does not match $expected.$1.glob"
    elif [ -e "$expected.$1" ]; then
        cmp "../$1" "$expected.$1" || complain "$1 is not $expected.$1"
    elif [ -s "../$1" ]; then
        complain "$1 should be empty"
    fi
}

wanted=0
[ -e "$expected.exit" ] && wanted=$(cat "$expected.exit")
[ "$code" = "$wanted" ] || complain "exit code $code, expected $wanted"
compare stdout
compare stderr
if [ "$failed" -ne 0 ]; then
    echo "--- stdout"
    head -c 4000 ../stdout
    echo "--- stderr"
    head -c 4000 ../stderr
fi
exit "$failed"
