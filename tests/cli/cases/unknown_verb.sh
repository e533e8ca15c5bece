"$PITH" comprss
