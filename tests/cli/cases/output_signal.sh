# a signal in the middle of a run leaves nothing behind
mkfifo records
exec 3<>records
"$PITH" compress -m "$MODEL" --jsonl records -o lines 2>/dev/null &
child=$!
echo '{"id":1,"text":"one two three"}' >&3
for i in $(seq 1 200); do
    [ -n "$(ls lines.?????? 2>/dev/null)" ] && break
    sleep 0.05
done
ls | grep -c '^lines\.......$'
kill -TERM "$child"
wait "$child" || echo "exit $?"
ls
