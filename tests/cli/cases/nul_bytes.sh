# a NUL is a character like any other
printf 'one\0two three\0four five six' >zero
"$PITH" compress -m "$MODEL" --rate 1 zero | cmp - zero
"$PITH" compress -m "$MODEL" --rate 1 --json zero >object
"$PITH" recover zero object | cmp - zero
