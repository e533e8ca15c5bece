# the same bytes whatever the number of threads and however often
"$PITH" compress -t 1 "$CASES/text.txt" >one
"$PITH" compress -t2 "$CASES/text.txt" | cmp - one
"$PITH" compress --threads=2 "$CASES/text.txt" | cmp - one
test -s one
"$PITH" score -t 1 --json "$CASES/text.txt" >one
"$PITH" score -t 2 --json "$CASES/text.txt" | cmp - one
