: >empty
"$PITH" compress empty
"$PITH" compress <empty
"$PITH" compress --json empty >object
"$GET" text <object
"$GET" ranges <object
"$PITH" recover empty object
"$PITH" score --json empty | "$GET" tokens
