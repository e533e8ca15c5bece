"$PITH" compress --rate
