"$PITH" compress --target-token=5 text
