# records of several parts give what the command line gives; wrong ones are told apart
cp "$CASES"/story_?.txt .
cat >records <<'END'
{"id": 1, "context": ["One two three four five.", "Six seven eight nine ten."], "question": "How many?", "instruction": "Count."}
{"id": 2, "context": "One two three four five.", "method": "llmlingua"}
{"id": 3, "text": "One two three four five.", "question": "How many?"}
{"id": 4, "text": "One", "context": "two"}
{"id": 5, "context": ["one", 2]}
{"id": 6, "context": []}
{"id": 7, "question": "How many?"}
{"id": 8, "context": "one", "question": ["How many?"]}
{"id": 9, "text": "One two three four five.", "question": null, "instruction": ""}
{"id": 10, "context": ["one", "two"], "method": "longllmlingua"}
{"id": 11, "context": ["One two three four five.", "Six seven eight nine ten."], "question": "How many?", "rank_method": "bm25", "method": "longllmlingua", "force_context_ids": [1], "context_budget": "+0", "rate": 0.5}
END
"$PITH" compress --jsonl records >lines || echo "exit $?"
"$GET" error status <lines
printf 'One two three four five.' >one
printf 'Six seven eight nine ten.' >two
"$PITH" compress --context one --context two -q 'How many?' --instruction Count. --json >object
sed -n 1p lines >line
"$GET" text <object | cmp - <("$GET" text <line)
"$GET" ranges <object | cmp - <("$GET" ranges <line)
"$GET" parts 1 source_tokens <object | cmp - <("$GET" parts 1 source_tokens <line)
"$GET" parts 1 name <line
"$GET" parts <lines | sed -n '2p;9p'
test "$(sed -n 11p lines | "$GET" parts 1 place)" != null
# a question of the command line is that of records without one
"$PITH" compress --jsonl -q 'What now?' records 2>/dev/null >lines || true
"$GET" text <lines | sed -n '1p;2p' | grep -o '[A-Z][a-z]* [a-z]*?'
"$GET" parts 1 role <lines | sed -n '2p;9p'
# scoring knows no parts
"$PITH" score --jsonl records 2>/dev/null | "$GET" error message | sed -n '3p'
