# mistakes are told before the work begins, with the option's name, and leave nothing behind
try() {
    local code=0
    "$PITH" train "$@" 2>&1 || code=$?
    echo "= $code"
}
cp "$CASES/text.txt" text
"$PITH" train tokenizer -d text --vocab-size 300 -o tok.gguf -t 1 --held-out-every 0 --no-progress
: >empty
try
try nothing
try base tokenizer
try tokenizer --layers 2
try base --layer 2
try tokenizer
try tokenizer -d text
try tokenizer -d missing -o x.gguf
try tokenizer -d empty -o x.gguf
try tokenizer -d text -o x.gguf --vocab-size 100
try tokenizer -d text -o x.gguf --vocab-size 9000
try tokenizer -d text -o x.gguf --special ''
try tokenizer -d text=0 -o x.gguf
try tokenizer -d text -o nowhere/x.gguf
try base -d text -o x.gguf
try base -d text -o x.gguf --tokenizer missing
try base -d text -o x.gguf --tokenizer text
try base -d empty -o x.gguf --tokenizer tok.gguf
try base -d text -o x.gguf --tokenizer tok.gguf --held-out-every 1
try base -d text -o text --tokenizer tok.gguf
try base -d text -o x.gguf --tokenizer tok.gguf --heads 3 --width 64
try base -d text -o x.gguf --tokenizer tok.gguf -n 10 --warm-up 11
try base -d text -o x.gguf --tokenizer tok.gguf --lr fast
try base -d text -o x.gguf --tokenizer tok.gguf --width 16 --layers 1 --heads 1 --log text --held-out-every 0
try base -d text -o x.gguf --init-from tok.gguf
PITH_ARG_STEPS=0 try base -d text -o x.gguf --tokenizer tok.gguf
try align -d text -m "$MODEL" -o x.gguf
try align -d text -m "$MODEL" -o x.gguf --template '{prompt}'
try evaluate -d text
try evaluate -d missing -m "$MODEL"
try evaluate -d text -m "$MODEL" --held-out-dir text
ls
