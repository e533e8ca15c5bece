# a failed run leaves the old file as it was and nothing beside it
echo old >kept
printf 'bad \377' | "$PITH" compress -m "$MODEL" -o kept --html page 2>/dev/null && exit 1
"$PITH" compress -m "$MODEL" --target-tokens 1 --keep-digits -p '1 2 3 4 5 6' -o kept 2>/dev/null && exit 1
"$PITH" compress -m "$MODEL" -p text -o no/such/folder 2>message && exit 1
cat kept
cat message
ls
