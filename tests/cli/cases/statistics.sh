# one line on standard error with -v, nothing otherwise
"$PITH" compress -m "$MODEL" --rate 0.5 "$CASES/text.txt" >/dev/null 2>quiet
test ! -s quiet
"$PITH" compress -m "$MODEL" --rate 0.5 -v "$CASES/text.txt" 2>&1 >/dev/null |
    grep -Eq '^pith: [0-9]+ -> [0-9]+ tokens \(rate 0\.[0-9]{3}, [0-9.]+x\) in [0-9.]+ s, selective, level phrase$'
