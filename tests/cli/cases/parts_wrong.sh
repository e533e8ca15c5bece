# wrong combinations are usage errors, missing files are not
cp "$CASES"/story_?.txt .
code() { "$PITH" "$@" >/dev/null 2>>messages </dev/null && echo 0 || echo $?; }
code compress -q what --question-file story_a.txt story_b.txt
code compress --instruction what --instruction-file story_a.txt story_b.txt
code compress --context - --context - -q what
code compress --question-file - story_a.txt --context -
code compress --question-file -
code compress - --instruction-file - -q what
code compress -p text story_a.txt --context story_b.txt
code compress story_a.txt story_b.txt
code compress --jsonl --context story_a.txt
code compress -M longllmlingua story_a.txt
code compress -M longllmlingua -q '' story_a.txt
code compress --percentile 50 -M llmlingua story_a.txt
code compress --context-budget 100 -q what story_a.txt
code compress --force-context-ids first -q what story_a.txt
code compress --preset everything story_a.txt
code compress --context
code compress -q
code score --context story_a.txt
code score -q what story_a.txt
code rank
code rank -q what
code rank -q what --rate 0.5 story_a.txt
code recover object
code recover - - -q what
code recover story_a.txt object --response - --context -
code recover story_a.txt object --response story_b.txt --dropped
code recover --original story_a.txt --response story_b.txt
code recover --original story_a.txt --compressed story_b.txt
code recover --original story_a.txt --compressed story_b.txt --response story_c.txt object
code compress --context absent -q what
code compress --question-file absent story_a.txt
code compress --instruction-file absent story_a.txt
code compress --context . story_a.txt
code rank -q what absent story_a.txt
code recover absent object
code recover --original absent --compressed story_a.txt --response story_b.txt
code recover --original story_a.txt --compressed story_b.txt --response absent
grep -c 'absent: No such file' messages
grep -c "is an option of 'pith compress'" messages
