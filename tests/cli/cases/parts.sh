# the instruction is first, the question last, both untouched; in JSON the parts stand one after the
# other with two bytes between
cp "$CASES"/story_?.txt .
all=(--instruction 'Answer in one word.' -q 'When is it closed?' --context story_b.txt --context story_c.txt)
"$PITH" compress story_a.txt "${all[@]}" >text
head -n 1 text
tail -n 1 text
echo
"$PITH" compress story_a.txt "${all[@]}" --json >object
for i in 0 1 2 3 4 5; do "$GET" parts $i role <object; done
for i in 0 1 2 4; do "$GET" parts $i name <object; done
test "$("$GET" parts 0 start <object)" = 0
test "$("$GET" parts 0 end <object)" = 19
for i in 1 2 3 4; do
    test "$("$GET" parts $i start <object)" = $(($("$GET" parts $((i - 1)) end <object) + 2))
done
test $(($("$GET" parts 2 end <object) - $("$GET" parts 2 start <object))) = "$(wc -c <story_b.txt)"
for i in 0 4; do
    test "$("$GET" parts $i kept_tokens <object)" = "$("$GET" parts $i source_tokens <object)"
done
test "$("$GET" parts 1 kept_tokens <object)" -lt "$("$GET" parts 1 source_tokens <object)"
test "$(($("$GET" kept_tokens <object) * 2))" -le "$("$GET" source_tokens <object)"
"$PITH" recover story_a.txt object "${all[@]}" | cmp - text
# a text alone has no parts
"$PITH" compress story_a.txt --json | "$GET" parts
