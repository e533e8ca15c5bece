# all ways to write an option give the same
"$PITH" compress -m "$MODEL" --rate 0.3 "$CASES/text.txt" >one
"$PITH" compress "-m$MODEL" -r0.3 "$CASES/text.txt" | cmp - one
"$PITH" compress --model="$MODEL" --rate=0.3 -f "$CASES/text.txt" | cmp - one
"$PITH" compress -m "$MODEL" -r 0.9 -r 0.3 -- "$CASES/text.txt" | cmp - one
"$PITH" compress -m "$MODEL" -r 0.3 - <"$CASES/text.txt" | cmp - one
"$PITH" compress -m "$MODEL" -r 0.3 -p "$(cat "$CASES/text.txt"; echo x)" >/dev/null
cp "$CASES/text.txt" ./--rate
"$PITH" compress -m "$MODEL" -r 0.3 -- --rate | cmp - one
"$PITH" compress -m "$MODEL" --keep-digits -r 0.3 "$CASES/text.txt" >digits
"$PITH" compress -m "$MODEL" --keep-digits=true -r 0.3 "$CASES/text.txt" | cmp - digits
"$PITH" compress -m "$MODEL" --keep-digits --no-keep-digits -r 0.3 "$CASES/text.txt" | cmp - one
