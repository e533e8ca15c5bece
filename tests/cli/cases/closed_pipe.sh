# a reader that goes away ends the program quietly: no message, the code a shell gives for SIGPIPE
for i in $(seq 1 20); do cat "$CASES/text.txt"; done >long
gone() { { sleep 0.2; "$PITH" "$@" 2>>message; } | true; echo "${PIPESTATUS[0]}"; }
set +e
gone compress -m "$MODEL" -p 'one two three'
gone compress -m "$MODEL" --json long
gone score -m "$MODEL" --json long
gone score -m "$MODEL" --heat --color always long
gone inspect --json "$MODEL"
gone compress --help
{ echo '{"id":1,"text":"one two"}'; sleep 0.2; echo '{"id":2,"text":"one two"}'; } >records
gone compress -m "$MODEL" --jsonl records
cat message
