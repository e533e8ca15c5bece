# a text becomes a capsule of a few rows, the same bytes every time; wrong ones are refused
text='The quick brown fox jumps over the lazy dog, and the cat sleeps on the mat.'
encode() { "$PITH" encode -m "$MODEL" -M cc -n 4 -k 2 -t 1 "$@"; }
encode -p "$text" -o a.gguf 2>said
test "$(grep -c "^pith: wrote 'a.gguf': cc, 2 slots for [0-9]* tokens" said)" = 1
encode -p "$text" -o b.gguf --json >report 2>said
test ! -s said
cmp a.gguf b.gguf
encode -p "$text" -o c.gguf --seed 9 2>said
cmp -s a.gguf c.gguf && exit 1
printf '%s' "$text" | encode -t 2 -o d.gguf 2>said
cmp a.gguf d.gguf
for key in method kind slots source_bytes question_tokens stored_bytes; do "$GET" $key <report; done
for key in source_tokens file_bytes flops_full flops_capsule flops_cached cache_full_bytes cache_capsule_bytes \
    encode_seconds read_text_seconds read_capsule_seconds; do
    "$GET" $key <report | grep -q '^[0-9]' || echo "$key"
done
"$GET" record steps <report
"$GET" source_sha256 <report | grep -q "$(printf '%s' "$text" | sha256sum | cut -d ' ' -f 1)"
# other types take other room, and are the same capsule
for type in f32 int8; do
    encode -p "$text" --capsule-type $type -o $type.gguf --json | "$GET" stored_bytes
done
"$PITH" inspect a.gguf | sed -n '1p;3p;6p'
"$PITH" inspect --json int8.gguf | tr -d ' \n' >described
"$GET" capsule type <described
"$GET" capsule record kl <described
"$GET" capsule model_sha256 <described | grep -q "$(sha256sum <"$MODEL" | cut -d ' ' -f 1)"
encode -p "$text" --kl reverse -o e.gguf --json | "$GET" record kl
# auto: this model was not trained to gist
"$PITH" encode -m "$MODEL" -n 1 -k 1 -t 1 -p "$text" -o f.gguf --json | "$GET" method
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" encode -m "$MODEL" -n 2 -t 1 "$@" 2>message || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
: >empty
refused 'expected --output' -p x
refused 'expected --output' -p x -o -
refused 'the text is empty' -o x.gguf empty
refused 'No such file' -o x.gguf missing
refused 'nowhere' -M cc -k 1 -p "$text" -o nowhere/x.gguf
refused 'not trained to gist' -M gist -p x -o x.gguf
refused 'model with an adapter' -M cc --lora "$CASES/../../data/lora.gguf" -m "$MODEL" -p x -o x.gguf
refused 'slots: 0 is outside' -k 0 -p x -o x.gguf
refused 'not auto|gist|cc' -M llmlingua -p x -o x.gguf
printf 'good \303(' >bad
refused 'byte 5, line 1, column 6' -o x.gguf bad
# a place that cannot be written is seen before the work is done: with so many steps this would never end
refused 'nowhere/x.gguf: No such file' -M cc -n 100000000 -p "$text" -o nowhere/x.gguf
mkdir folder
refused 'folder: Is a directory' -M cc -n 100000000 -p "$text" -o folder
# a pipe is written in place, a link goes on to name what is replaced
mkfifo pipe
encode -p "$text" -o pipe --json >report &
cat pipe >piped
wait
test -p pipe
cmp a.gguf piped
"$GET" file_bytes <report | cmp - <(wc -c <a.gguf)
: >real.gguf
chmod 600 real.gguf
ln -s real.gguf link.gguf
encode -p "$text" -o link.gguf 2>said
test -L link.gguf
cmp a.gguf real.gguf
stat -c %a real.gguf
"$PITH" compress -M cc -p x 2>&1 || echo $?
ls
