# an error is placed in the part that it is in
cp "$CASES"/story_?.txt .
printf 'first line\nsecond \303\251\303\251 \377 rest\n' >bad
code() { "$PITH" "$@" >/dev/null 2>message && echo 0 || echo $?; }
code compress -m "$MODEL" --context story_a.txt --context bad -q what
grep -c '^pith: bad: .* (byte 23, line 2, column 11)$' message
code compress -m "$MODEL" --context story_a.txt --instruction "$(printf 'a\377')" -q what
grep -c '^pith: instruction: .* (byte 1, line 1, column 2)$' message
code compress -m "$MODEL" --context story_a.txt --keep-tag k -p 'one <k> two' -q what
grep -c '^pith: prompt: .* (byte 4, line 1, column 5)$' message
code rank -m "$MODEL" story_a.txt bad
grep -c '^pith: bad: .* (byte 23, line 2, column 11)$' message
