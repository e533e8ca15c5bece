# what is left of texts and answers: a table to look at, or the same as an object
for i in 1 2 3 4 5 6; do
    echo "Text number $i has some words about the weather, the road and the sea."
    echo '<|endoftext|>'
done >texts
cat >questions <<'END'
{"context": "The lamp is red and the door is blue.", "question": "What is red?", "answer": "lamp", "shorter": ["lamp red", "lamp"]}
{"context": "A ship sailed to Norway in the spring.", "question": "Where to?", "answer": "Norway", "shorter": ["ship Norway", "ship"]}
END
look=(-d texts -q questions -m "$MODEL" --held-out-every 0 --texts 2 -l 12 -k 4 -k 2 --max-tokens 4)
"$PITH" train retention "${look[@]}" --no-generate -w full -w none -w truncated -w given -w mean-kv 2>said >shown
awk '{ print $1, $2, $3, $4, NF }' shown
test ! -s said
"$PITH" train retention "${look[@]}" -w full -w last -o table 2>&1
"$GET" rows 0 task <table
"$GET" rows 0 way <table
"$GET" rows 1 slots <table
"$GET" rows 5 count <table
"$PITH" train retention "${look[@]}" -w half 2>&1 || echo $?
"$PITH" train retention "${look[@]}" -k none 2>&1 || echo $?
"$PITH" train retention -m "$MODEL" 2>&1 || echo $?
"$PITH" train retention "${look[@]}" -c texts 2>&1 || echo $?
# nothing has to be left to train on
"$PITH" train retention -q questions -m "$MODEL" -l 12 -k 4 --no-generate --held-out-every 1 -w none -o all 2>&1
"$GET" rows 0 count <all
"$PITH" train retention --help | tr -s ' \n' ' ' | grep -oF '(default \nQuestion: {question}\nAnswer: {answer})'
