# compressors of texts are trained for a model, and put texts into capsules for it
for i in $(seq 1 40); do
    echo "Number $i: the cat sat on the mat and said $((7 * i)) times that it was so."
    echo '<|endoftext|>'
    echo "{\"context\": \"Number $i is $((3 * i)).\", \"question\": \"Which?\", \"answer\": \"$((3 * i))\"}" >>questions
done >text
learn() # recipe, options
{
    "$PITH" train "$1" -d text=2 -m "$MODEL" -t 1 -n 4 -b 4 -l 16 --lr 0.01 --held-out 4 --held-out-every 8 --name c --no-progress "${@:2}"
}
learn 500x -q questions -k 4 -r 4 --elastic -o x.gguf --log log -c run --checkpoint-every 2
grep -o '"source":"[^"]*"' log | sort -u
"$PITH" inspect x.gguf | head -n 2
# a run that was stopped ends with the same bytes
learn 500x -q questions -k 4 -r 4 --elastic -o y.gguf
cmp x.gguf y.gguf
learn 500x --mode official -k 4 -w 8 -o o.gguf
"$PITH" inspect o.gguf | head -n 4
learn icae -k 2 -r 4 --continuation 0.25 -o i.gguf --type f32
"$PITH" inspect i.gguf | head -n 1
learn selfcp --ratio 4 --strategy former,latter=2 --no-norm -o s.gguf
"$PITH" inspect s.gguf | head -n 1
# it goes on from one of the same shape alone
learn 500x -k 4 --elastic --init-from x.gguf -o z.gguf
refused() # what it says, arguments
{
    local code=0 says=$1
    shift
    "$@" 2>message >text.out || code=$?
    grep -q -e "$says" message || cat message
    echo $code
}
refused 'what is trained' learn 500x -k 2 --init-from x.gguf -o never.gguf
refused 'is the init-from already' learn 500x --init-from x.gguf -c x.gguf -o never.gguf
refused 'context is' learn icae -l 4000 -o never.gguf
refused 'data, questions: a file is needed' "$PITH" train icae -o never.gguf
refused 'strategy: "first" is not one of' learn selfcp --strategy first -o never.gguf
refused '{question} and then {answer}' learn selfcp -q questions --template '{question}' -o never.gguf
refused 'line 1' learn 500x -q text -o never.gguf
refused 'is an option of' learn icae --pad -o never.gguf
ls
