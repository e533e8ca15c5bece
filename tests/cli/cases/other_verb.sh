"$PITH" score --html-x --kv-heads 3 2>/dev/null && exit 1
"$PITH" score --kv-heads 3
