"$PITH" inspect "$MODEL" | grep -q 'general.architecture .*llama'
"$PITH" inspect --json "$MODEL" | tr -d '\n' >object
echo >>object
"$GET" metadata general.architecture <object
"$PITH" inspect --json "$MODEL" -o copy
"$PITH" inspect --json "$MODEL" | cmp - copy
"$PITH" inspect "$CASES/text.txt"
