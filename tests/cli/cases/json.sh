"$PITH" compress -m "$MODEL" --rate 0.5 --json "$CASES/text.txt" >object
test "$(wc -l <object)" = 1
for key in method mode level model counted_with; do "$GET" $key <object; done
for key in text rate source_tokens kept_tokens ranges stats; do
    test "$("$GET" $key <object)" != absent
done
for key in budget_tokens scored_tokens forward_tokens units units_kept units_protected \
    score_seconds select_seconds; do
    test "$("$GET" stats $key <object)" != absent
done
test "$(($("$GET" kept_tokens <object) * 2))" -le "$("$GET" source_tokens <object)"
# --units adds all units, in order and with their values
"$PITH" compress -m "$MODEL" --json --units -p "One two three." >units.json
"$GET" units 0 start <units.json
"$GET" units 0 kept <units.json >/dev/null
