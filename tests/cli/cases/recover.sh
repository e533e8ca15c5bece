# every mode and level: the ranges build the text again, and kept and dropped make the source
for mode in pith paper official; do
    for level in token word phrase sentence; do
        "$PITH" compress -m "$MODEL" --mode $mode --level $level "$CASES/text.txt" >text
        "$PITH" compress -m "$MODEL" --mode $mode --level $level --json "$CASES/text.txt" >object
        "$PITH" recover "$CASES/text.txt" object | cmp - text
        "$PITH" recover "$CASES/text.txt" object --dropped >dropped
        "$GET" start <dropped >starts
        "$GET" end <dropped >ends
        kept=$("$PITH" recover "$CASES/text.txt" object --mark '' | wc -c)
        lost=$((0$(paste -d- ends starts | sed "s/^/+/; s/$//" | tr -d "\n")))
        test "$((kept + lost))" = "$(wc -c <"$CASES/text.txt")"
    done
done
