# the offset is a byte of the line when the line is not JSON, else of the text
printf '{"id":1,"text":"a"}\n{"id":2,}\n' | "$PITH" score -m "$MODEL" --jsonl 2>/dev/null >lines || true
"$GET" error offset <lines
"$GET" error message <lines | tail -n 1 | grep -q .
