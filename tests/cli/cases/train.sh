# text to a vocabulary to a model that the other verbs take; its loss falls
cat "$CASES"/story_*.txt "$CASES/text.txt" >text
"$PITH" train tokenizer -d text --vocab-size 300 -o tok.gguf -t 1 2>said
grep -qx "pith: wrote 'tok.gguf'" said
"$PITH" inspect tok.gguf | grep -q 'tokenizer.ggml.tokens .*\[300\]'
"$PITH" inspect tok.gguf | grep -q 'general.name .*"tok"'
"$PITH" train base -d text --tokenizer tok.gguf -o tiny.gguf --layers 2 --width 32 --heads 2 \
    --length 64 -b 4 -n 30 --lr 0.01 --held-out-every 0 --type int8 --log log --plot loss.svg -t 1 2>said
grep -q 'step 30/30, loss ' said
test "$(tail -n 1 said)" = "pith: wrote 'tiny.gguf'"
# one object per update, and the loss falls by more than a tenth
test "$(wc -l <log)" -eq 30
loss() { sed -n "$1p" log | "$GET" loss; }
awk -v first="$(loss 1)" -v last="$(loss 30)" 'BEGIN { exit !(last < 0.9 * first) }'
test "$(sed -n 30p log | "$GET" step)" = 30
for key in tokens norm multiplier tokens_per_second seconds; do sed -n 30p log | "$GET" $key | grep -q '[0-9]'; done
grep -q '<svg ' loss.svg
grep -q '>mean of 3 steps, now ' loss.svg
test -z "$(grep -o 'href=\|url(' loss.svg)"
# the other verbs take it
"$PITH" inspect tiny.gguf | grep -q 'llama.block_count .* 2$'
"$PITH" inspect --json tiny.gguf | grep -q 'blk.1.ffn_down.scale'
"$PITH" compress -m tiny.gguf --rate 0.5 "$CASES/text.txt" >short
test -s short
test "$(wc -c <short)" -lt "$(wc -c <"$CASES/text.txt")"
"$PITH" score -m tiny.gguf --json "$CASES/text.txt" | "$GET" model
# and what has learned the text guesses it better than what was not trained to
"$PITH" train base -d text --tokenizer tok.gguf -o raw.gguf --layers 2 --width 32 --heads 2 \
    --length 64 -b 4 -n 1 --lr 0 --held-out-every 0 -t 1 --no-progress
nats() { "$PITH" score -m "$1" --json "$CASES/text.txt" | "$GET" summary nats_per_token; }
awk -v a="$(nats tiny.gguf)" -v b="$(nats raw.gguf)" 'BEGIN { exit !(a < 0.9 * b) }'
ls
