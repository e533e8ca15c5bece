"$PITH" --version
"$PITH" compress --version
