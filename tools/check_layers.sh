#!/bin/sh
# The dependency law of ARCHITECTURE.md: which folder of lib/ may include which, and which
# folder alone may include a library. Prints every include that breaks it.
set -u
cd "$(dirname "$0")/.."

allowed() { # folder -> folders it may include
    case $1 in
    base) echo "base pith" ;;
    text) echo "text base pith" ;;
    gguf) echo "gguf base pith" ;;
    token) echo "token gguf text base pith" ;;
    tensor) echo "tensor base pith" ;;
    model) echo "model tensor gguf base pith" ;;
    grad) echo "grad model tensor gguf base pith" ;;
    generate) echo "generate token model tensor text base pith" ;;
    soft) echo "soft generate grad token model tensor gguf base pith" ;;
    metric) echo "metric text base pith" ;;
    train) echo "train soft generate metric grad score model tensor token gguf text base pith" ;;
    score) echo "score model tensor base pith" ;;
    render) echo "render text base pith" ;;
    hard) echo "hard render text base pith" ;;
    structure) echo "structure text base pith" ;;
    lingua) echo "lingua hard text base pith" ;;
    api) echo "api train soft generate metric grad lingua structure hard render score model tensor token gguf text base pith" ;;
    cli | examples) echo "cli pith" ;;
    esac
}

owner() { # header of a library -> the folder that may include it
    case $1 in
    dnnl*) echo tensor ;;
    unicode/*) echo text ;;
    pcre2*) echo token ;;
    zlib*) echo lingua ;;
    libstemmer*) echo metric ;;
    mpi.h) echo train ;;
    sodium*) echo base ;;
    jansson*) echo "api train cli" ;;
    esac
}

bad=0
for file in lib/*/*.[ch] cli/*.[ch] examples/*.[ch]; do
    [ -f "$file" ] || continue
    case $file in
    lib/*) folder=$(echo "$file" | cut -d/ -f2) ;;
    *) folder=$(echo "$file" | cut -d/ -f1) ;;
    esac
    for include in $(sed -nE 's/^ *# *include *"([^"]+)".*/\1/p' "$file"); do
        target=${include%%/*}
        [ "$target" = "$include" ] && continue # beside the file
        case " $(allowed "$folder") " in
        *" $target "*) ;;
        *) echo "$file: $folder may not include \"$include\"" && bad=1 ;;
        esac
    done
    for include in $(sed -nE 's/^ *# *include *<([^>]+)>.*/\1/p' "$file"); do
        owners=$(owner "$include")
        [ -n "$owners" ] || continue
        case " $owners " in
        *" $folder "*) ;;
        *) echo "$file: only $owners may include <$include>" && bad=1 ;;
        esac
    done
done
exit $bad
