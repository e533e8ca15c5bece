# the best context first: it is first in the text and its ranges are, and its place says so
cp "$CASES"/story_?.txt .
parts=(-q 'What does a ticket to the coast cost?' --context story_a.txt --context story_b.txt --context story_c.txt)
run() { "$PITH" compress -M longllmlingua --rank-method bm25 --rate 0.9 --context-budget '*2' "${parts[@]}" "$@"; }
run --json | "$GET" parts 2 place
run --reorder-context sort --json >object
"$GET" parts 2 place <object
"$GET" parts 3 place <object
run --reorder-context sort | head -n 1 | cut -c -6
first=$("$GET" ranges 0 0 <object)
test "$first" -ge "$("$GET" parts 2 start <object)"
test "$first" -lt "$("$GET" parts 2 end <object)"
# what was dropped as a whole has no place, and a forced context has one
run --rate 0.3 --context-budget '+0' --json >object
"$GET" parts 0 place <object
"$GET" parts 0 kept_tokens <object
test "$(run --rate 0.3 --context-budget '+0' --force-context-ids 0 --json | "$GET" parts 0 place)" != null
