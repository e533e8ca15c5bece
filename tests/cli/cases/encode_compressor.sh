# compressors that are none, or are not wanted: told before anything is made
printf 'The quick brown fox' >fox
lora=$CASES/../../data/lora.gguf
"$PITH" encode -m "$MODEL" -M mean -k 2 -t 1 fox -o capsule.gguf 2>said
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" encode -m "$MODEL" -t 1 fox -o x.gguf "$@" 2>message || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
for method in 500x icae selfcp; do
    refused 'expected --compressor FILE' -M $method
done
for method in gist cc mean; do
    refused '--compressor is for methods 500x, icae and selfcp' -M $method --compressor fox
done
refused '^pith: missing: .*No such file' --compressor missing
refused 'fox: not a GGUF file' --compressor fox
refused 'a model, no compressor' --compressor "$MODEL"
refused 'lora.gguf: a LoRA adapter, no compressor' --compressor "$lora"
refused 'capsule.gguf: a capsule, no compressor' --compressor capsule.gguf
refused 'compressors are for models without an adapter' --lora "$lora" --compressor capsule.gguf
# what is for one method only
for option in '--pool kv' '-n 2' '--kl reverse'; do
    # shellcheck disable=SC2086 # two words
    refused 'is for method [a-z]*, not for a compressor' --compressor "$lora" $option
done
# files of ours that are no models
refused 'capsule.gguf: a capsule, no model' -m capsule.gguf
refused 'lora.gguf: a LoRA adapter, no model' -m "$lora"
# outputs that are read
cp capsule.gguf c.gguf
cp "$MODEL" model.gguf
ln -s c.gguf linked
refused "-o/--output: 'c.gguf' is the compressor already" --compressor c.gguf -o c.gguf
refused "-o/--output: 'linked' is the compressor already" --compressor c.gguf -o linked
refused "-o/--output: 'c.gguf' is the adapter already" --lora c.gguf -o c.gguf
refused "-o/--output: 'model.gguf' is the model already" -m model.gguf -o model.gguf
refused "-o/--output: 'fox' is the text already" -o ./fox -o fox
cmp capsule.gguf c.gguf
cmp "$MODEL" model.gguf
PITH_ARG_COMPRESSOR=missing refused '^pith: missing: .*No such file' -M 500x
refused 'ratio: 0 is outside 1 to 65536' --ratio 0
refused 'query: byte 0xc3 is not valid UTF-8' --query "$(printf 'a\303(')"
"$PITH" compress -m "$MODEL" -M 500x fox 2>&1 || echo $?
"$PITH" compress --compressor fox fox 2>&1 || echo $?
test ! -e x.gguf
# after BOS a text is asked for again: BOS is one more token, and behind nothing the second one
generate() { "$PITH" generate -m "$MODEL" -t 1 -n 6 --ignore-eos "$@"; }
generate fox --json | "$GET" prompt_tokens >plain
generate fox --regenerate --json | "$GET" prompt_tokens >asked
echo $(($(cat asked) - $(cat plain)))
generate fox --regenerate >again
PITH_ARG_REGENERATE=true generate fox | cmp again -
generate fox | cmp -s again - && exit 1
generate capsule.gguf --regenerate --json | "$GET" tokens
"$PITH" generate -m "$MODEL" -n 1 capsule.gguf 2>&1 || echo $?
