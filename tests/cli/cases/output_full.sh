"$PITH" compress -m "$MODEL" -p 'one two three' >/dev/full
