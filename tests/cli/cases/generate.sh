# what the model writes after texts and capsules, the same every time; what is wrong is told
generate() { "$PITH" generate -m "$MODEL" -t 1 "$@"; }
printf 'The quick brown fox' >fox
generate fox -n 12 >a
generate -p 'The quick brown fox' -n 12 | cmp a -
generate <fox -n 12 | cmp a -
PITH_ARG_MAX_TOKENS=12 generate -f fox | cmp a -
test -s a
generate fox -n 12 --json >report
test "$("$GET" text <report)" = "$("$GET" <<<"$(printf '"%s"' "$(sed 's/[\\"]/\\&/g' a)")")" || cat report a
"$GET" tokens <report
"$GET" stop <report
"$GET" logprobs <report
# drawing: a seed is a text
draw() { generate fox -n 12 --temperature 1.5 --top-k 50 --top-p 0.95 --min-p 0.001 --repetition-penalty 1.2 --repetition-window 8 "$@"; }
draw --seed 5 >a
draw --seed 5 -t 2 | cmp a -
draw --seed 6 | cmp -s a - && exit 1
# texts and files in their order; the penalty knows the prompt
generate -p 'The quick' fox -n 6 --json | "$GET" prompt_tokens >one
generate fox -p 'The quick' -n 6 --json | "$GET" prompt_tokens | cmp one -
generate -p 'The quick' -p ' brown fox' --json -n 1 | "$GET" prompt_positions
# a stop string ends the text before it
generate fox -n 24 --ignore-eos >long
stop=$(cut -c 5-7 <long)
generate fox -n 24 --ignore-eos --stop "$stop" --json >report
"$GET" stop <report
case $("$GET" text <report) in *"$stop"*) echo "the stop string is in the text" ;; esac
# log-probabilities: a table, or in the object
generate fox -n 3 --logprobs >table
wc -l <table
head -n 1 table
generate fox -n 3 --logprobs --json | "$GET" logprobs 2 logprob | grep -c '^-[0-9]'
# capsules among texts
"$PITH" encode -m "$MODEL" -M cc -n 2 -k 3 -t 1 -p 'The quick brown fox' -o fox.gguf 2>said
generate --capsule fox.gguf -p ' jumps' fox -n 4 --json >report
"$GET" tokens <report
generate -p 'So: ' fox.gguf fox -n 4 | cmp -s - /dev/null && exit 1 # a capsule is known by its content
generate fox --attribute fox.gguf,fox,0 -n 12 --temperature 1 --seed 2 >plain
generate fox -n 12 --temperature 1 --seed 2 | cmp plain - # a weight of 0 changes nothing
generate fox --attribute fox,fox,5 -n 12 --temperature 1 --seed 2 | cmp plain - # nor do two that are equal
generate fox --attribute fox.gguf,,4,2 --attribute ,fox -n 12 --temperature 1 --seed 2 | cmp -s plain - && exit 1
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" generate -t 1 -n 2 "$@" 2>message >text || code=$?
    grep -q -e "$says" message || cat message
    test ! -s text || echo "wrote something"
    echo $code
}
: >empty
generate empty -n 2 >text # BOS alone is something
refused 'No such file' -m "$MODEL" missing
refused 'No such file' -m "$MODEL" --capsule missing
refused 'fox: not a GGUF' -m "$MODEL" --capsule fox
refused "^pith: fox.gguf: the capsule was made for the model with SHA-256 $(sha256sum <"$MODEL" | cut -c 1-64), this one has [0-9a-f]\{64\}" fox.gguf
head -c 500 fox.gguf >short.gguf
refused 'short.gguf' -m "$MODEL" short.gguf
sed 's/compact/compost/' fox.gguf >flipped.gguf
refused 'flipped.gguf' -m "$MODEL" flipped.gguf
refused 'not TOWARD,AWAY' -m "$MODEL" fox --attribute fox
refused 'not TOWARD,AWAY' -m "$MODEL" fox --attribute fox,fox,x
refused 'not TOWARD,AWAY' -m "$MODEL" fox --attribute fox,fox,1,0
refused 'not TOWARD,AWAY' -m "$MODEL" fox --attribute ,
refused 'top-p' -m "$MODEL" fox --top-p 2
refused 'stop: a text of no bytes' -m "$MODEL" fox --stop ''
refused 'only one input' -m "$MODEL" - -
refused 'context is [0-9]*' -m "$MODEL" <(yes fox | head -n 3000)
printf 'good \303(' >bad
refused 'byte 5, line 1, column 6' -m "$MODEL" bad
# who is at fault is named, wherever it stands
refused '^pith: bad: .*byte 5, line 1, column 6' -m "$MODEL" fox -p 'x' bad
refused '^pith: bad: .*byte 5, line 1, column 6' -m "$MODEL" fox --attribute bad,fox
refused '^pith: bad: .*byte 5, line 1, column 6' -m "$MODEL" fox --attribute fox,fox --attribute fox,bad
refused '^pith: fox.gguf: the capsule was made for' fox --attribute ,fox.gguf
# standard input is one input, of attributes too
refused 'only one input' -m "$MODEL" - --attribute -,fox
refused 'only one input' -m "$MODEL" fox --attribute -,-
refused 'only one input' -m "$MODEL" --attribute fox,-
generate fox -n 12 --temperature 1 --seed 2 --attribute -,fox,0 <fox | cmp plain -
# names that other programs have
refused 'did you mean --temperature?' --temp 1
refused 'did you mean --max-tokens?' --n-predict 1
refused 'did you mean --repetition-window?' --repeat-last-n 1
