# what a capsule knows of its text: recall, answers, instructions
printf 'The quick brown fox jumps over the lazy dog.' >source
"$PITH" encode -m "$MODEL" -M cc -n 4 -k 4 -t 1 source -o c.gguf 2>said
probe() { "$PITH" probe -m "$MODEL" -t 1 c.gguf "$@"; }
probe source >map
tail -n 1 map | sed 's/[0-9.]\{2,\}/N/g;s/[0-9]/N/g'
probe <source | cmp map -
probe source --color always | grep -c "$(printf '\033')"
probe source --html page.html --json >report
grep -c '<html' page.html
"$GET" tokens 0 start <report
"$GET" recall <report | grep -c '^[0-9]'
"$GET" tokens 3 soft <report | grep -c '^[0-9]'
probe source --trigger 'Again:' | cmp -s map - && exit 1
cat >questions <<'END'
{"kind": "general", "question": "\nWhat is it about?", "answer": " a fox and a dog"}

{"kind": "specific", "question": "\nWhat colour is the fox?", "answer": " brown"}
{"kind": "specific", "question": "\nWhat is the dog?", "answer": " lazy"}
END
probe source --questions questions >table
wc -l <table
sed -n '2p;6p' table
probe source --questions questions --json >report
"$GET" kinds 1 kind <report
"$GET" kinds 1 count <report
awk -v h="$("$GET" kinds 0 hard <report)" -v s="$("$GET" kinds 0 soft <report)" \
    -v n="$("$GET" kinds 0 none <report)" -v k="$("$GET" kinds 0 kept <report)" \
    'BEGIN { d = (n - s) / (n - h) - k; exit !(d < 1e-6 && d > -1e-6) }'
# an answer that nothing can be said of would make all means of its kind nothing
printf '{"kind": "a", "question": "x", "answer": "y"}\n\n{"kind": "a", "question": "x", "answer": ""}\n' >none
cat >instructions <<'END'
{"name": "fox", "text": "The quick brown fox"}
{"name": "dog", "text": "jumps over the lazy dog."}
END
probe source --instructions instructions --samples 2 -n 4 --seed 1 --json >report
"$GET" samples <report
"$GET" instructions 1 name <report
"$GET" instructions 0 capsule <report | grep -c '[0-9]'
probe source --instructions instructions --samples 2 -n 4 --seed 1 --json | cmp report -
probe source --instructions instructions --samples 2 -n 4 -p ' So: ' | wc -l
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" probe -t 1 "$@" 2>message >text || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
printf 'Another text.' >other
refused 'stands for a text with SHA-256' -m "$MODEL" c.gguf other
refused 'made for the model' c.gguf source
refused 'other: not a GGUF' -m "$MODEL" other source
refused 'expected CAPSULE' -m "$MODEL"
refused 'exclude each other' -m "$MODEL" c.gguf source --questions questions --instructions instructions
refused 'are for recall' -m "$MODEL" c.gguf source --questions questions --html x.html
refused 'is for --instructions' -m "$MODEL" c.gguf source -p x
refused 'line 1: no object with a string called name' -m "$MODEL" c.gguf source --instructions questions
refused 'line 1: not JSON' -m "$MODEL" c.gguf source --questions source
: >empty
refused 'there is no record' -m "$MODEL" c.gguf source --questions empty
refused '^pith: none: line 3: the answer has no token' -m "$MODEL" c.gguf source --questions none
refused 'with 0 there are no texts' -m "$MODEL" c.gguf source --instructions instructions -n 0
refused 'only one input' -m "$MODEL" c.gguf --questions -
ls
