# a line per token between a heading and a summary; tokens that share a character are escaped
"$PITH" score -m "$MODEL" -p 'A "b" é' >table
head -n 1 table | tr -s ' '
grep -c '"$' table >rows
tail -n 1 table | grep -q "^$(cat rows) tokens, .* nats/token, .* bits/token, perplexity .* bits per byte$"
grep -q '"\\xc3"$' table
