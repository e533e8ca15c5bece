# however a part is given, it is the same part; with --context standard input is left alone
cp "$CASES"/story_?.txt .
printf 'When is it closed?' >question
printf 'Answer in one word.' >instruction
run() { "$PITH" compress -m "$MODEL" "$@"; }
run --instruction "$(cat instruction)" -q "$(cat question)" --context story_a.txt --context story_b.txt >one
run --instruction-file instruction --question-file question --context story_a.txt --context story_b.txt | cmp - one
run --context=story_b.txt -f story_a.txt --instruction-file=instruction "-q$(cat question)" | cmp - one
run --context - --context story_b.txt --instruction-file instruction --question-file question <story_a.txt | cmp - one
run - --context story_b.txt --instruction-file instruction --question-file question <story_a.txt | cmp - one
run story_a.txt --context story_b.txt --instruction-file instruction --question-file - <question | cmp - one
run -p "$(cat story_a.txt; echo x)" --context story_b.txt -q why >/dev/null
{ run --context story_a.txt -q why >/dev/null; cat; } <question
echo
# without a --context, standard input is the context
run -q why <story_a.txt | cmp - <(run -q why story_a.txt)
# the last question counts
run -q what -q why story_a.txt | cmp - <(run -q why story_a.txt)
# an empty question or instruction is none
run -q '' --instruction '' story_a.txt | cmp - <(run story_a.txt)
