printf '{"id":"x","text":"Ten green bottles"}\n' >records
"$PITH" score -m "$MODEL" --jsonl records >lines
"$GET" id <lines
"$PITH" score -m "$MODEL" --json -p 'Ten green bottles' | "$GET" tokens >alone
"$GET" tokens <lines | cmp - alone
