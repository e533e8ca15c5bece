#!/bin/sh
# Calls the library never makes: memory outside base/memory.c, output, exits, unsafe string
# functions, hidden state. Prints every line that makes one.
set -u
cd "$(dirname "$0")/.."
bad=0

find_calls() { # names, files...
    names=$1
    shift
    # comments and strings may speak of them
    for file in "$@"; do
        sed -E 's://.*$::; s:/\*.*\*/::; s:^ *\*.*$::; s:"[^"]*"::g' "$file" |
            grep -nE "(^|[^a-zA-Z0-9_>.])($names) *\(" | sed "s|^|$file:|"
    done
}

hits=$(find_calls 'malloc|calloc|realloc|free|strdup|strndup|asprintf' $(ls lib/*/*.c | grep -v '^lib/base/memory.c$'))
hits="$hits$(find_calls 'printf|puts|putchar|perror|fprintf|vprintf|exit|_exit|abort|strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|rand|srand|setlocale|gets' lib/*/*.c)"
if [ -n "$hits" ]; then
    echo "$hits"
    bad=1
fi
exit $bad
