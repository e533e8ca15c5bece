# variables give parts too, and what the command line names beats them
cp "$CASES"/story_?.txt .
printf why >question
run() { "$PITH" compress -m "$MODEL" "$@"; }
run -q why story_a.txt --context story_b.txt >one
PITH_ARG_QUESTION=why run story_a.txt --context story_b.txt | cmp - one
PITH_ARG_QUESTION_FILE=question run story_a.txt --context story_b.txt | cmp - one
PITH_ARG_QUESTION=what run --question-file question story_a.txt --context story_b.txt | cmp - one
PITH_ARG_QUESTION_FILE=absent run -q why story_a.txt --context story_b.txt | cmp - one
PITH_ARG_INSTRUCTION_FILE=absent run --instruction 'Do it.' -q why story_a.txt >two
PITH_ARG_INSTRUCTION='Do it.' run -q why story_a.txt | cmp - two
PITH_ARG_CONTEXT=absent run -q why story_a.txt --context story_b.txt | cmp - one
PITH_ARG_FILE=absent run -q why --context story_a.txt --context story_b.txt | cmp - one
PITH_ARG_CONTEXT=story_a.txt run -q why | cmp - <(run -q why story_a.txt)
PITH_ARG_QUESTION=what PITH_ARG_QUESTION_FILE=question run story_a.txt
