# a model learns to put instructions into gist tokens, beside its controls; what it learned is a capsule
for i in $(seq 1 40); do
    echo "{\"instruction\": \"Add $((i % 4)) to the number.\", \"input\": \"$i\", \"output\": \"$((i + i % 4))\"}"
done >triples
head -n 6 triples >test.jsonl
gist() { "$PITH" train gist -d triples -m "$MODEL" -t 1 -k 2 -n 6 -b 4 --lr 0.01 --held-out-every 5 --name g --no-progress "$@"; }
gist --test test.jsonl --controls --generate 2 --max-tokens 4 -o g.gguf --report report --log log
for i in 0 2 4 6; do "$GET" scores $i condition <report; done
"$GET" scores 1 split <report
"$GET" scores 1 triples <report
"$GET" scores 0 rouge_l <report | grep -c '^[0-9]'
ls log*
# without a file the table goes to standard output; one condition alone is the same
gist --condition gist --generate 0 -o h.gguf >table
cmp g.gguf h.gguf
"$GET" scores 0 rouge_l <table
"$GET" scores 1 <table
test "$("$GET" scores 0 nats <table)" = "$("$GET" scores 0 nats <report)"
gist --condition negative --condition negative --generate 0 --report only --no-resume
"$GET" scores 0 condition <only
"$GET" scores 1 <only
# encoding takes the model's own way; the capsule is read by this model alone
"$PITH" encode -m g.gguf -t 1 -p 'Add 3 to the number.' -o c.gguf --json >said
"$GET" method <said
"$GET" slots <said
"$PITH" inspect c.gguf | sed -n '1p;3p'
"$PITH" encode -m g.gguf -t 1 -M gist -k 1 -p 'Add 3 to the number.' -o one.gguf --json | "$GET" slots
"$PITH" generate -m g.gguf -t 1 --capsule c.gguf -p $'\nInput: 5\nOutput:' -n 3 --json | "$GET" prompt_positions
# so does an adapter, which has the token's row
gist -r 2 --generate 0 --adapter ad.gguf >table
"$PITH" encode -m "$MODEL" --lora ad.gguf -t 1 -p 'Add 3 to the number.' -o ad-c.gguf --json | "$GET" method
"$PITH" inspect --json ad-c.gguf | tr -d '\n' | "$GET" capsule adapter_sha256 | grep -c "$(sha256sum <ad.gguf | cut -c 1-64)"
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$@" 2>message >text || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
refused 'made for the model' "$PITH" generate -m "$MODEL" -t 1 --capsule c.gguf -p x -n 1
refused 'adapter' "$PITH" generate -m "$MODEL" -t 1 --capsule ad-c.gguf -p x -n 1
refused 'a text must follow' "$PITH" generate -m g.gguf -t 1 --capsule c.gguf -n 1
# source and capsule are compared by the same tokens: of such a capsule the first one is not predicted
printf 'Add 3 to the number.' >source
printf '{"kind": "a", "question": "", "answer": "a"}\n' >questions
refused 'line 1: the answer has no token' "$PITH" probe -m g.gguf -t 1 c.gguf source --questions questions
printf '{"kind": "a", "question": "", "answer": "a b c d e"}\n' >questions
"$PITH" probe -m g.gguf -t 1 c.gguf source --questions questions --json | "$GET" kinds 0 soft | grep -c '^[0-9]'
refused 'data: a file is needed' "$PITH" train gist -m "$MODEL" -o x.gguf
refused 'model: a file is needed' "$PITH" train gist -d triples -o x.gguf
refused 'output: a file is needed' "$PITH" train gist -d triples -m "$MODEL"
refused 'condition: "no" is not one of' gist --condition no -o x.gguf
refused 'adapter: there is none' gist --adapter x.gguf
refused 'is the data already' gist -o triples
refused 'line' gist -d "$CASES/text.txt" -o x.gguf
ls
