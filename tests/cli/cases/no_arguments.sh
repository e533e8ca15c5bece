"$PITH"
