# a megabyte beside a small context, with a question
for i in $(seq 1 3000); do cat "$CASES/text.txt"; done | head -c 1000000 >huge
parts=(--context huge --context "$CASES/story_c.txt" -q 'What does a ticket cost?')
"$PITH" compress -m "$MODEL" -t 1 -c 64 --overlap 0 --rate 0.1 "${parts[@]}" --json >object
"$PITH" recover object "${parts[@]}" >short
tail -n 1 short
echo
test "$(($("$GET" kept_tokens <object) * 10))" -le "$("$GET" source_tokens <object)"
"$PITH" rank -m "$MODEL" --rank-method bm25 -q 'What does a ticket cost?' huge "$CASES/story_c.txt" | head -n 1 | grep -o 'story.*'
