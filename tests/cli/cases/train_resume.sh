# kill -9 in the middle loses at most the interval, a signal nothing; the bytes of the result are
# those of a run without any of it, and the log has every step once
cat "$CASES"/story_*.txt "$CASES/text.txt" >text
"$PITH" train tokenizer -d text --vocab-size 300 -o tok.gguf -t 1 --no-progress
train=("$PITH" train base -d text --tokenizer tok.gguf --name tiny --layers 2 --width 32 --heads 2
    --length 64 -b 4 -n 160 --held-out-every 0 --optimizer muon --checkpoint-every 20)
a=(-c a.ckpt --log a.log -o a.gguf)
b=(-c b.ckpt --log b.log -o b.gguf)
steps() { if [ -e "$1" ]; then grep -c '"event":"step"' "$1" || true; else echo 0; fi; }
# interrupt SIGNAL STEPS: runs until so many steps are done, and sends the signal
interrupt() {
    "${train[@]}" "${b[@]}" -t 1 2>said &
    local child=$!
    for i in $(seq 1 1000); do
        [ "$(steps b.log)" -ge "$2" ] && break
        sleep 0.02
    done
    kill "-$1" "$child"
    code=0
    wait "$child" 2>/dev/null || code=$?
    echo "$1: exit $code"
    test ! -e b.gguf
}
"${train[@]}" "${a[@]}" -t 2 --no-progress
interrupt KILL 45
before=$(steps b.log)
interrupt TERM 90
# at most the 20 updates since the last checkpoint were done twice; a line may be torn
after=$(sed -n 's/^pith: going on after step \([0-9]*\) of 160$/\1/p' said)
test "$after" -ge $((before - 21))
test "$after" -le "$before"
last=$(steps b.log)
grep -qx "pith: stopped after step $last of 160; the same command goes on from 'b.ckpt'" said
"${train[@]}" "${b[@]}" -t 1 2>said
grep -qx "pith: going on after step $last of 160" said
cmp a.gguf b.gguf
cut -d, -f1-6 a.log >a.steps
cut -d, -f1-6 b.log | cmp - a.steps
test "$(wc -l <b.log)" -eq 160
# done is done: nothing is learned again, the result is written again
rm b.gguf
"${train[@]}" "${b[@]}" -t 1 --no-progress
cmp a.gguf b.gguf
# another run's checkpoint is refused, and may be passed over
echo "more" >>text
code=0
"${train[@]}" "${b[@]}" --no-progress 2>said || code=$?
echo "another text: exit $code"
grep -q fingerprint said
"${train[@]}" "${b[@]}" -n 5 --no-resume --no-progress
test "$(wc -l <b.log)" -eq 5
