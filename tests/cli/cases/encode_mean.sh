# the mean of a text needs no training and is the same every time; what is averaged can be said
text='The quick brown fox jumps over the lazy dog, and the cat sleeps on the mat.'
encode() { "$PITH" encode -m "$MODEL" -M mean -t 1 -p "$text" "$@"; }
encode -o a.gguf 2>said
test "$(grep -c "^pith: wrote 'a.gguf': mean, 16 slots for [0-9]* tokens, in [0-9.]* s ([0-9]* tokens per second); read" said)" = 1
encode -k 3 -o b.gguf --json >report
for key in method kind slots segments; do "$GET" $key <report; done
for key in encode_seconds encode_tokens_per_second read_text_seconds read_capsule_seconds; do
    "$GET" $key <report | grep -q '^[0-9]' || echo "$key"
done
"$GET" record pool <report
printf '%s' "$text" | "$PITH" encode -m "$MODEL" -M mean -t 2 -k 3 -o c.gguf 2>said
cmp b.gguf c.gguf
for pool in hidden embeddings; do
    encode -k 3 --pool $pool -o $pool.gguf --json | "$GET" kind
    "$PITH" inspect --json $pool.gguf | tr -d ' \n' >described
    "$GET" capsule record pool <described
done
PITH_ARG_POOL=hidden encode -k 3 -o d.gguf 2>said
cmp hidden.gguf d.gguf
"$PITH" generate -m "$MODEL" -t 1 -n 4 hidden.gguf --json | "$GET" prompt_positions
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" encode -m "$MODEL" -t 1 "$@" 2>message || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
: >empty
refused 'the text is empty' -M mean -o x.gguf empty
refused '"max" is not one of kv|hidden|embeddings' -M mean --pool max -p x -o x.gguf
refused 'query: for method selfcp only' -M mean --query 'Who?' -p x -o x.gguf
refused 'ratio: for method selfcp only' --ratio 4 -p x -o x.gguf
refused 'context is 2048' -M mean -o x.gguf <(yes fox | head -n 3000)
test ! -e x.gguf
