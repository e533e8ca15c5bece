# a context becomes a capsule or an adapter: learned from what the model writes, or from given text
printf 'The quick brown fox jumps over the lazy dog, and the cat sleeps on the mat.' >context
cc() { "$PITH" train cc -m "$MODEL" --context context -t 1 --continuations 16 -l 12 -b 4 --no-progress "$@"; }
cc -n 12 -k 4 --lr 0.05 -o a.gguf --log log --plot plot.svg --evaluate-every 6
grep -c '"event":"step"' log
grep -c '<svg' plot.svg
record() { "$PITH" inspect --json "$1" | tr -d '\n' | "$GET" capsule record "${@:2}"; }
awk -v start="$(record a.gguf report kl_start)" -v end="$(record a.gguf report kl)" 'BEGIN { exit !(end < start) }'
"$PITH" train cc -m "$MODEL" --context context -t 1 --continuations 4 -l 8 -n 1 -k 1 -o told.gguf 2>told
grep -c 'nan\|held out held out' told || true
sed -n 's/ loss .*//p' told
# stopped and going on is the same as not stopped
cc -n 12 -k 4 --lr 0.05 -o b.gguf --checkpoint ck --checkpoint-every 4
cmp a.gguf b.gguf
cc -n 12 -k 4 --lr 0.05 -o c.gguf --checkpoint ck
cmp a.gguf c.gguf
# as released, but for what is said beside it, wherever it stands
cc -n 2 -k 2 --kl forward --mode official -o d.gguf
record d.gguf kl
record d.gguf start
record d.gguf first_token
record d.gguf rate
"$PITH" inspect --json d.gguf | tr -d '\n' | "$GET" capsule bos
# continuations from text; another type
for i in $(seq 1 40); do printf 'Number %s is told of in this text of its own.\n<|endoftext|>\n' "$i"; done >data
cc -n 2 -k 2 -d data -o e.gguf --capsule-type int8
record e.gguf from
"$PITH" generate -m "$MODEL" --capsule e.gguf -p ' so' -n 3 --json | "$GET" tokens
# an adapter that has read the context
"$PITH" train distill -m "$MODEL" --context context -t 1 --continuations 16 -l 12 -b 4 -n 6 -r 2 --lr 0.01 --no-progress -o ad.gguf
"$PITH" generate -m "$MODEL" --lora ad.gguf -p 'The' -n 3 --json | "$GET" tokens
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" train "$@" -t 1 --no-progress 2>message || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
: >empty
refused 'context: a file is needed' cc -m "$MODEL" -o x.gguf
refused 'output: a file is needed' cc -m "$MODEL" --context context
refused 'output: "context" is the context already' cc -m "$MODEL" --context context -o context
refused 'No such file' cc -m "$MODEL" --context missing -o x.gguf
refused 'empty' cc -m "$MODEL" --context empty -o x.gguf
printf 'ab\377' >context.bad
refused 'context.bad is not valid UTF-8 at byte 2' cc -m "$MODEL" --context context.bad -o x.gguf
rm context.bad
refused 'model: not a GGUF' cc -m context --context context -o x.gguf
refused 'not one of pith|official' cc -m "$MODEL" --context context -o x.gguf --mode new
refused 'slots: 0 is outside' cc -m "$MODEL" --context context -o x.gguf -k 0
refused 'context is' cc -m "$MODEL" --context context -o x.gguf -l 60000
refused 'lora-rank: 0 is outside' distill -m "$MODEL" --context context -o x.gguf -r 0
refused 'is an option of' distill -m "$MODEL" --context context -o x.gguf --slots 3
ls
