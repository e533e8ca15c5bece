# a closed standard stream is an error and never becomes another file
cp "$CASES/text.txt" text
"$PITH" compress -m "$MODEL" text >&- 2>message || echo $?
cat message
"$PITH" compress -m "$MODEL" <&- 2>message || echo $?
cat message
"$PITH" compress -m "$MODEL" text 2>&- >one
"$PITH" compress -m "$MODEL" text | cmp - one
cmp text "$CASES/text.txt"
