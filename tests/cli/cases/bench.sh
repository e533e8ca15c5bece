# a tiny shape: every figure is there and positive; options in the environment stay out of the child
shape="--layers 1 --width 64 --heads 2 --kv-heads 1 --ff 96 --vocab 256 --window 32 --windows 1 --repeat 1"
export PITH_ARG_JSONL=1 PITH_ARG_OUTPUT=unwanted
"$PITH" bench $shape -t 1 -m "$MODEL" --json -o object
for kind in f32 int8; do
    for key in tokens_per_second model_gops gemm_gops share weight_bytes; do
        "$GET" $kind $key <object | grep -Eq '^[0-9.e+-]+$'
        "$GET" $kind $key <object | grep -q '[1-9]'
    done
done
for key in parameters start_seconds start_peak_kib score_seconds score_peak_kib; do
    "$GET" $key <object | grep -q '[1-9]'
done
"$PITH" bench $shape -t 1 -m "$MODEL" -o table
test ! -e unwanted
<table grep -Eq '^int8 .* %'
