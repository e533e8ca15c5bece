# an adapter changes what the model says, in every verb that runs it; one of another model, or
# a file that is none, is refused. data/lora.gguf: random factors of rank 2 for attn_q and attn_v
lora=$CASES/../../data/lora.gguf
for precision in f32 int8; do
    "$PITH" score -m "$MODEL" --precision $precision --json "$CASES/text.txt" >plain
    "$PITH" score -m "$MODEL" --precision $precision --json --lora "$lora" "$CASES/text.txt" >adapted
    "$GET" summary tokens <plain | cmp - <("$GET" summary tokens <adapted)
    test "$("$GET" summary nats_per_token <plain)" != "$("$GET" summary nats_per_token <adapted)"
done
PITH_ARG_LORA=$lora "$PITH" score -m "$MODEL" --json "$CASES/text.txt" | cmp - adapted
"$PITH" compress -m "$MODEL" --lora "$lora" --rate 0.5 "$CASES/text.txt" >short
test -s short
"$PITH" rank -m "$MODEL" --lora "$lora" -q 'Which?' --rank-method llmlingua "$CASES"/story_?.txt >order
test "$(wc -l <order)" = 3

refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" score "$@" -p text 2>message || code=$?
    grep -q "$says" message
    echo $code
}
refused 'the adapter was made for the model with SHA-256 c2d04e67.*, this one has ' --lora "$lora"
refused 'general.type is ' -m "$MODEL" --lora "$MODEL"
refused 'text.txt' -m "$MODEL" --lora "$CASES/text.txt"
refused 'No such file' -m "$MODEL" --lora no-such-file
