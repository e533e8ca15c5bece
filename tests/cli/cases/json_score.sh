printf 'Ten green bottles' | "$PITH" score -m "$MODEL" --json >object
"$GET" tokens 0 start <object
"$GET" summary tokens <object >count
last=$(($(cat count) - 1))
"$GET" tokens "$last" end <object
"$GET" tokens "$((last + 1))" <object
"$GET" model <object
for key in scored_tokens forward_tokens nats_per_token bits_per_token perplexity bits_per_byte; do
    test "$("$GET" summary $key <object)" != absent
done
