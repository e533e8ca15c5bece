"$PITH" compress -m "$MODEL" --target-tokens 1 --keep-digits -p '11 22 33 44 55'
