# variables are defaults: the command line wins, a wrong value is named, empty is nothing
"$PITH" compress -m "$MODEL" --rate 0.3 "$CASES/text.txt" >one
export PITH_ARG_MODEL="$MODEL" PITH_ARG_RATE=0.3 PITH_ARG_LEVEL= PITH_ARG_JSON=0
"$PITH" compress "$CASES/text.txt" | cmp - one
PITH_ARG_RATE=0.9 "$PITH" compress --rate 0.3 "$CASES/text.txt" | cmp - one
PITH_ARG_JSON=1 "$PITH" compress --no-json "$CASES/text.txt" | cmp - one
PITH_ARG_FILE=elsewhere "$PITH" compress "$CASES/text.txt" | cmp - one
PITH_ARG_FILE="$CASES/text.txt" "$PITH" compress | cmp - one
PITH_ARG_THREADS=many "$PITH" compress -p text
