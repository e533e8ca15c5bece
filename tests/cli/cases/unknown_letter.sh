"$PITH" compress -Z
