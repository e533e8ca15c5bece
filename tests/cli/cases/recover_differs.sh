"$PITH" compress -m "$MODEL" --json "$CASES/text.txt" >object
sed 's/March/Marsh/' "$CASES/text.txt" >other
"$PITH" compress -m "$MODEL" --rate 1 --json "$CASES/text.txt" >object
"$PITH" recover other object
