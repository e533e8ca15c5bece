# empty contexts are parts like others
cp "$CASES"/story_?.txt .
: >empty
for method in selective llmlingua longllmlingua; do
    "$PITH" compress -M $method -q 'What is closed?' --context empty --context story_a.txt --context empty --json >object
    "$GET" parts 0 end <object
    "$GET" parts 2 kept_tokens <object
    "$PITH" recover empty story_a.txt empty object -q 'What is closed?' | tail -n 1
    echo
    "$PITH" compress -M $method --rate 1 -q 'What is closed?' <empty
    echo
done
"$PITH" rank -q 'What is closed?' empty story_a.txt --rank-method bm25 | cut -f 2
