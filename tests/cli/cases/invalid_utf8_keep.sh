# bytes that JSON cannot hold travel as base64 and come back
printf 'one \377\376 two \303 three four five six seven\n' >bad
"$PITH" compress -m "$MODEL" --invalid-utf8 keep --rate 1 bad | cmp - bad
"$PITH" compress -m "$MODEL" --invalid-utf8 keep --rate 1 --json bad >object
"$GET" text <object
"$GET" text_base64 <object
"$PITH" recover bad object | cmp - bad
"$PITH" compress -m "$MODEL" --invalid-utf8 keep --rate 0.5 bad >half
"$PITH" compress -m "$MODEL" --invalid-utf8 keep --rate 0.5 --json bad >object
"$PITH" recover bad object | cmp - half
