# 1 MB through the whole program: within the budget, and the ranges build the text again
for i in $(seq 1 3000); do cat "$CASES/text.txt"; done | head -c 1000000 >huge
test "$(wc -c <huge)" = 1000000
cat huge | "$PITH" compress -m "$MODEL" -t 1 -c 64 --overlap 0 --rate 0.1 --json >object
"$PITH" recover huge object >short
test -s short
test "$(($("$GET" kept_tokens <object) * 10))" -le "$("$GET" source_tokens <object)"
