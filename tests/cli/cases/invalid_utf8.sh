# the position is a byte from 0, a line and a character from 1
printf 'first line\nsecond \303\251\303\251 \377 rest\n' >bad
"$PITH" score -m "$MODEL" bad 2>score && exit 1
grep -q '(byte 23, line 2, column 11)$' score
"$PITH" compress -m "$MODEL" bad
