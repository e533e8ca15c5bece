# a preset comes first, wherever it stands: what is set beside it counts
cp "$CASES"/story_?.txt .
run() { "$PITH" compress -q why --context story_a.txt --context story_b.txt "$@"; }
run --preset paper-bbh --json >object
"$GET" method <object
"$GET" mode <object
run --preset paper-bbh >one
run --method llmlingua --mode paper --rate 0.3333333333333333 --context-budget '*2' | cmp - one
run --preset paper-gsm8k --preset paper-bbh | cmp - one
PITH_ARG_PRESET=paper-bbh run | cmp - one
PITH_ARG_PRESET=paper-gsm8k run --preset paper-bbh | cmp - one
run --preset paper-bbh --rate 0.8 >two
run --rate 0.8 --preset paper-bbh | cmp - two
PITH_ARG_PRESET=paper-bbh run --rate 0.8 | cmp - two
PITH_ARG_RATE=0.8 run --preset paper-bbh | cmp - two
cmp -s one two && exit 1
printf '%s\n' '{"question":"why","context":["One two three four five six.","Seven eight nine."],"rate":0.8,"preset":"paper-bbh"}' \
    '{"question":"why","context":["One two three four five six.","Seven eight nine."],"preset":"paper-bbh","rate":0.8}' >records
"$PITH" compress --jsonl records | "$GET" text | uniq | wc -l
run --preset paper-bbh --mode pith --rate 0.5 --json | "$GET" mode
