# -v adds a line for every part on standard error, none for a text alone
cp "$CASES"/story_?.txt .
parts=(-q 'What does a ticket to the coast cost?' story_a.txt --context story_c.txt)
"$PITH" compress -M longllmlingua --rank-method bm25 --rate 0.3 --context-budget +0 -v "${parts[@]}" 2>table >/dev/null
grep -c '^pith: ' table
sed -n '/^part/,$p' table | tr -s ' ' | cut -d' ' -f 2-3
grep -E '^ +0 +context +[0-9]+ +0 +[0-9.]+ +dropped +story_a.txt$' table | wc -l
grep -E '^ +1 +context +[0-9]+ +[1-9][0-9]* +[0-9.]+ +0 +story_c.txt$' table | wc -l
grep -E '^ +2 +question +([0-9]+) +\1 +- +1 +question$' table | wc -l
"$PITH" compress -v "${parts[@]}" 2>&1 >/dev/null | grep -c -E '^ +[0-9] +[a-z]+ +[0-9]+ +[0-9]+ +- +[0-9] '
"$PITH" compress -v story_a.txt 2>&1 >/dev/null | grep -c role || true
