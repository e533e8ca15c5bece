"$PITH" help everything
