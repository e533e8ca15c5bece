code() { "$PITH" "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
code compress -m "$MODEL" -f a b
code compress -m "$MODEL" -p text b
code compress -m "$MODEL" a b
code compress -m "$MODEL" --json --jsonl
code compress -m "$MODEL" --json --heat -p text
code compress -m "$MODEL" --jsonl --heat
code recover a
code recover - -
code inspect
