# no escape unless asked for; --color beats NO_COLOR
escapes() { tr -dc '\033' | wc -c; }
"$PITH" compress -m "$MODEL" --heat "$CASES/text.txt" | escapes
NO_COLOR=1 "$PITH" score -m "$MODEL" --heat "$CASES/text.txt" | escapes
"$PITH" compress -m "$MODEL" --heat --color never "$CASES/text.txt" | escapes
test "$(NO_COLOR=1 "$PITH" compress -m "$MODEL" --heat --color always "$CASES/text.txt" | escapes)" -gt 0
