# what the build generates names every option, and the shells that are here can read it
for format in man bash zsh fish; do "$PITH" generate-docs $format >$format; done
for verb in compress score rank inspect recover bench; do
    for option in $("$PITH" help $verb | grep -oE '^ +(-., )?--(\[no-\])?[a-z0-9-]+' | sed 's/.*--\(\[no-\]\)\{0,1\}//'); do
        for format in bash zsh fish; do
            grep -qe "$option" $format
        done
        case $option in help | version) ;; *) sed 's/\\-/-/g' man | grep -qe "--.*$option" ;; esac
    done
done
bash -n bash
if command -v zsh >/dev/null; then zsh -n zsh; fi
if command -v fish >/dev/null; then fish -n fish; fi
if command -v man >/dev/null; then test -z "$(man --warnings -l man 2>&1 >/dev/null)"; fi
if command -v mandoc >/dev/null; then mandoc -T lint -W error man; fi
"$PITH" generate-docs pdf 2>/dev/null
