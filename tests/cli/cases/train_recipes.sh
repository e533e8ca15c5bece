# the recipes are listed, and their options are where those of a verb are
"$PITH" train 2>listed && exit 1
"$PITH" train --help | cmp - listed
"$PITH" help train | cmp - listed
for recipe in tokenizer base align cc distill gist 500x icae selfcp retention evaluate; do
    grep -q "^  $recipe " listed
    "$PITH" train "$recipe" --help >long
    "$PITH" help train "$recipe" | cmp - long
    grep -q "^Usage: pith train $recipe \[options\]$" long
    grep -q -e '-d, --\(data\|pairs\) FILE' long
    grep -q -e '-o, --output FILE' long
    test -z "$(grep -oE '^  -[A-Za-z],' long | sort | uniq -d)"
    test -z "$(grep -oE -- '^ +(-., )?--(\[no-\])?[a-z0-9-]+ ' long | sort | uniq -d)"
    test "$(wc -L <long)" -le 88
    sed -n '/^Data:$/,$d; / --/p' long # every parameter has its heading: none stands before the first
    for format in man bash zsh fish; do "$PITH" generate-docs $format >doc.$format; done
    for option in $(grep -oE '^ +(-., )?--(\[no-\])?[a-z0-9-]+' long | sed 's/.*--\(\[no-\]\)\{0,1\}//'); do
        for format in bash zsh fish; do grep -qe "$option" doc.$format; done
        case $option in help | version) ;; *) sed 's/\\-/-/g' doc.man | grep -qe "--.*$option" ;; esac
    done
    grep -q "^\.SS pith train $recipe \[options\]" doc.man
done
bash -n doc.bash
"$PITH" help | grep -c '^  train '
"$PITH" train base --help | grep -E '^[A-Z].*:$'
source doc.bash
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _pith; echo "${COMPREPLY[*]}"; }
complete_line pith tr
complete_line pith train ''
complete_line pith train ba
complete_line pith train base --checkpoint
complete_line pith train base --optimizer ''
complete_line pith train align --lora-m
complete_line pith help train ev
touch some.gguf
complete_line pith train evaluate -m so
