# the budget in another tokenizer's tokens
"$PITH" compress --count-with "$MODEL" --target-tokens 40 --json "$CASES/text.txt" >object
test "$("$GET" kept_tokens <object)" -le 40
test "$("$GET" counted_with <object)" = "\"$MODEL\""
"$PITH" recover "$CASES/text.txt" object >short
"$PITH" score -m "$MODEL" --json short | "$GET" summary tokens >count
cmp count <("$GET" kept_tokens <object)
