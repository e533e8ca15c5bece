"$PITH" compress --frobnicate text
