# the same order, every id, an error where the record is bad, and the run goes on
cat >records <<'END'
{"id": 1, "text": "one two three four five six seven eight"}
{"id": "two", "text": "one two three four five six seven eight", "rate": 1}

{"id": [3, null], "text": "one two", "rate": 7}
{"id": {"n": 4}, "text": 5}
{"id": 5.5, "text": "broken
{"id": 6, "text": "one two", "colour": "red"}
{"text": "one two three four", "target_tokens": 1000, "level": "token", "keep_digits": true}
[8]
{"id": 9, "text": ""}
{"id": 10, "text": "one two three four five six seven eight"}
END
"$PITH" compress -m "$MODEL" --jsonl --rate 0.5 records >lines || echo "exit $?"
"$GET" id <lines
"$GET" error status <lines
# what is reported is what held for the record
"$GET" level <lines | sed -n '1p;7p'
# a record's own parameters end with it
"$GET" text <lines >texts
test "$(sed -n 1p texts)" = "$(sed -n 10p texts)"
sed -n 2p texts
