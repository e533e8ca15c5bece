mkdir folder
"$PITH" score --jsonl folder 2>/dev/null && exit 1
"$PITH" compress folder
