"$PITH" compress no-such-file
