# a model is tuned to completions, whole or by an adapter, and evaluated source by source
for i in $(seq 1 40); do echo "{\"ask\": \"$i plus $i is \", \"say\": \"two times $i, that is $((i + i)).\"}"; done >pairs
align() { "$PITH" train align -d pairs -m "$MODEL" --prompt-key ask --completion-key say -t 1 --seed 3 "$@"; }
align --epochs 6 -b 8 --lr 0.01 --held-out-every 5 --log log -o whole.gguf 2>said
test "$(tail -n 1 said)" = "pith: wrote 'whole.gguf'"
grep -c 'held out pairs: loss' said
grep -c 'held out in all' said || true # of one file it would be the same
loss() { sed -n "$1p" log | "$GET" loss; }
awk -v first="$(loss 1)" -v last="$(loss 20)" 'BEGIN { exit !(last < 0.9 * first) }'
"$PITH" inspect whole.gguf | grep 'general.name'
# an adapter beside the model does what the model with the adapter in it does
align -n 6 -b 4 -r 4 --lr 0.02 --held-out-every 0 -o merged.gguf --adapter adapter.gguf 2>said
grep -c "^pith: wrote '" said
nats() { "$PITH" score --precision f32 "$@" --json -p '7 plus 7 is two times 7, that is 14.' | "$GET" summary nats_per_token; }
awk -v a="$(nats -m merged.gguf)" -v b="$(nats -m "$MODEL" --lora adapter.gguf)" -v c="$(nats -m "$MODEL")" \
    'BEGIN { exit !(a - b < 1e-4 && b - a < 1e-4 && a < c) }'
# evaluation: documents apart, a table as JSON, the texts that were read
for name in a b; do
    for i in $(seq 1 12); do
        printf 'Text %s of file %s tells of %s things.\n<|endoftext|>\n' "$i" "$name" "$((i * i))"
    done >"$name.txt"
done
"$PITH" train evaluate -d a.txt -d b.txt -m whole.gguf --held-out-every 2 --held-out-dir held -t 1 2>said >table
test ! -s said
"$GET" all documents <table
test "$("$GET" sources 0 documents <table)" = "$(grep -cx '<|endoftext|>' held/a.txt)"
"$GET" sources 1 source <table
"$GET" all bits_per_byte <table | grep -q '[0-9]'
"$PITH" train evaluate -d a.txt -d b.txt -m whole.gguf --held-out-every 2 -t 2 -o again --no-progress
cmp table again
"$PITH" train evaluate -d held/a.txt -d held/b.txt -m whole.gguf --held-out-every 0 -t 1 | sed 1d >again
sed 1d table | cmp - again # the same documents, which are all there are
