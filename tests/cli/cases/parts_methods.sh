# every method and mode: the ranges build the text again, in mode pith within the budget and with
# the question as it is; the heat map and the page take contexts in any order
cp "$CASES"/story_?.txt .
parts=(--instruction 'Answer in one word.' -q 'What does a ticket to the coast cost?'
    --context story_a.txt --context story_b.txt --context story_c.txt)
for method in selective llmlingua longllmlingua; do
    for mode in pith paper official; do
        if [ $method-$mode = selective-official ]; then continue; fi
        for order in original sort two_stage; do
            run() {
                "$PITH" compress -M $method --mode $mode --reorder-context $order --rank-method bm25 \
                    --rate 0.6 "${parts[@]}" "$@"
            }
            run >text
            run --json --heat --html page -o object 2>map
            "$PITH" recover object "${parts[@]}" | cmp - text
            "$PITH" recover object "${parts[@]}" --dropped >dropped
            "$GET" start <dropped >starts
            "$GET" end <dropped >ends
            kept=$("$PITH" recover object "${parts[@]}" --mark '' | wc -c)
            lost=$((0$(paste -d- ends starts | sed "s/^/+/; s/$//" | tr -d "\n")))
            source=$("$GET" parts 4 end <object)
            test "$((kept + lost))" = "$source"
            grep -q 'What' map
            grep -q '</html>' page
            if [ $mode = pith ]; then
                test $(($("$GET" kept_tokens <object) * 5)) -le $(($("$GET" source_tokens <object) * 3))
                test "$(tail -n 1 text)" = 'What does a ticket to the coast cost?'
            fi
        done
    done
done
