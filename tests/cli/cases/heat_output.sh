# with -o the heat map goes to standard error and the result to the file
"$PITH" compress -m "$MODEL" --heat "$CASES/text.txt" >heat
"$PITH" compress -m "$MODEL" "$CASES/text.txt" >text
"$PITH" compress -m "$MODEL" --heat --html page.html -o out "$CASES/text.txt" 2>map
cmp map heat
cmp out text
grep -qi '^<!doctype html>' page.html
grep -qi '</html>' page.html
"$PITH" score -m "$MODEL" --html tokens.html -p 'é ê' >/dev/null
grep -q 'é' tokens.html
