# demonstrations in a bank: added as texts and as capsules, listed, found by a question
cat "$CASES"/text.txt "$CASES"/story_?.txt >text
"$PITH" train selfcp -m "$MODEL" -d text --ratio 4 -l 16 -n 2 -b 2 -t 1 --held-out-every 0 --no-progress -o c.gguf
"$PITH" train selfcp -m "$MODEL" -d text --ratio 4 -l 16 -n 2 -b 2 -t 1 --held-out-every 0 --seed 1 --no-progress -o d.gguf
printf 'The quick brown fox jumps over the lazy dog.' >fox
printf 'Rain fell on the quiet town all night long.' >rain
printf 'It is 2026.' >year
bank() { local verb=$1; shift; "$PITH" bank "$verb" "$@" -m "$MODEL" --compressor c.gguf -t 1; }
bank add demos fox rain 2>&1
"$PITH" encode -m "$MODEL" --compressor c.gguf -t 1 year -o year.capsule 2>said
"$PITH" bank add demos year.capsule 2>&1
"$PITH" bank list demos
"$PITH" bank list demos --json >listed
"$GET" entries 1 slots <listed
"$GET" entries 1 source_tokens <listed
"$GET" entries 2 name <listed
"$GET" entries 0 method <listed
test "$("$GET" entries 1 source_sha256 <listed)" = "\"$(sha256sum rain | cut -d' ' -f1)\""
# every way to ask is the same, and the best of three is the best of one
bank find demos fox >found
wc -l <found
cut -f 1 found | sort -rg | cmp - <(cut -f 1 found)
bank find demos <fox | cmp found -
bank find demos - <fox | cmp found -
bank find demos -p "$(cat fox)" | cmp found -
bank find demos fox --top 1 | cmp - <(head -n 1 found)
bank find demos fox --top 2 --json >report
"$GET" found 0 name <report
test "$("$GET" found 1 name <report)" = "\"$(sed -n 2p found | cut -f 2)\""
"$PITH" encode -m "$MODEL" --compressor c.gguf -t 1 fox --capsule-type f32 -o fox.capsule 2>said
bank find demos fox.capsule | cmp found -
"$PITH" bank find demos fox.capsule --capsule-type f32 -o joined | cmp found - # needs no model
# the best stands last in what they make together
slots=$("$PITH" bank list demos | awk '{ n += $1 } END { print n }')
slots_of() { "$PITH" inspect "$1" --json | tr -d '\n' | "$GET" capsule slots; }
test "$(slots_of joined)" = "$slots"
"$PITH" bank find demos fox.capsule --top 1 --capsule-type f32 -o best | cut -f 2
size=$(($(slots_of best) * 64 * 4)) # rows of 64 numbers
for file in joined best; do tail -c $((size + 32)) "$file" | head -c "$size" >"$file.numbers"; done
cmp joined.numbers best.numbers
"$PITH" generate -m "$MODEL" -t 1 -n 2 --ignore-eos --capsule joined -p ' And' --json | "$GET" tokens
# pipes are written in place, links are followed, and a file's mode stays
mkfifo pipe
cat pipe >piped &
"$PITH" bank find demos fox.capsule --capsule-type f32 -o pipe | cmp found -
wait
test -p pipe
cmp piped joined
"$PITH" bank find demos fox.capsule --capsule-type f32 -o /dev/stdout | head -c "$(wc -c <joined)" | cmp - joined
echo >target
chmod 600 target
ln -s target link
"$PITH" bank find demos fox.capsule --capsule-type f32 -o link | cmp found -
test -L link
cmp target joined
stat -c %a target
cat pipe >piped &
"$PITH" bank add pipe year.capsule 2>&1
wait
test -p pipe
"$PITH" bank list piped
cp demos target
"$PITH" bank add link fox.capsule 2>&1
test -L link
stat -c %a target
# many at once
for i in 1 2 3 4 5 6; do cp year.capsule "$i.capsule"; done
for i in 1 2 3 4 5 6; do "$PITH" bank add many $i.capsule 2>said.$i & done
wait
"$PITH" bank list many | cut -f 3 | sort | tr '\n' ' '
# described
"$PITH" inspect demos | sed -n '1,/^  model/p' | cut -d , -f 1-3 | sed 's/^  model .*/  model/'
"$PITH" inspect demos --json | tr -d '\n' >report
"$GET" bank names 2 <report
test "$("$GET" bank slots <report)" = "$slots"
"$PITH" inspect joined | grep -c 'SHA-256 $' || true
cp demos before
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$PITH" bank "$@" >text 2>message || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
refused "fox: the bank has an entry 'fox'" add demos year fox -m "$MODEL" --compressor c.gguf
refused 'expected --compressor FILE' add demos year
refused 'expected add BANK FILE' add demos
refused "'drop' is none of add, list and find" drop demos
refused 'expected add|list|find BANK' add
refused 'expected list BANK' list demos fox
refused 'one question only' find demos fox rain
refused 'one question only' find demos fox -p fox
refused '--prompt and --output are for find' list demos -o x
refused '--json is for list and find' add demos fox --json
refused 'a capsule is no text' find demos fox -o -
refused 'no bank of capsules' list fox.capsule
refused 'missing: .*No such file' find missing fox
"$PITH" encode -m "$MODEL" -M mean -k 2 -t 1 fox -o kv 2>said
refused 'kv: a bank holds capsules of embeddings' add demos kv
"$PITH" encode -m "$MODEL" -M mean --pool hidden -k 2 -t 1 fox -o hidden 2>said
refused 'hidden: the capsules differ in method: selfcp and mean' add demos hidden
refused 'differ in method' find demos hidden
refused 'the bank is of the compressor' find demos fox -m "$MODEL" --compressor d.gguf
refused 'the bank is of the compressor with SHA-256' add demos year -m "$MODEL" --compressor d.gguf
refused '--top is for find' list demos --top 2
refused '--top is for find' add demos fox --top 2
PITH_ARG_TOP=1 PITH_ARG_OUTPUT=x "$PITH" bank list demos | wc -l
refused 'demos: a bank of capsules, no model' find demos fox --compressor c.gguf -m demos
refused 'c.gguf: a compressor, no model' find demos fox --compressor c.gguf -m c.gguf
cp c.gguf kept
refused "-o/--output: 'demos' is the bank already" find demos fox.capsule -o demos
refused "-o/--output: 'fox.capsule' is the query already" find demos fox.capsule -o fox.capsule
refused "-o/--output: 'c.gguf' is the compressor already" find demos fox --compressor c.gguf -o c.gguf
cmp kept c.gguf
head -c 1000 demos >damaged
refused 'damaged: ' list damaged
cmp before demos
