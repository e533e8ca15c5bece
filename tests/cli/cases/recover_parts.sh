# a result of several parts wants the same parts
cp "$CASES"/story_?.txt .
"$PITH" compress -m "$MODEL" --instruction 'Do it.' -q why story_a.txt --context story_b.txt --json >object
try() { "$PITH" recover "$@" 2>&1 | head -n 1 && test "${PIPESTATUS[0]}" = 0 || echo "exit ${PIPESTATUS[0]}"; }
"$PITH" recover object --context story_a.txt --context story_b.txt --instruction 'Do it.' -q why >text
"$PITH" recover story_a.txt story_b.txt object --instruction 'Do it.' -q why | cmp - text
"$PITH" recover story_a.txt object --context story_b.txt --instruction 'Do it.' -q why -v 2>&1 >/dev/null |
    grep -c 'bytes kept in'
# all of it as one text does as well
{ printf 'Do it.\n\n'; cat story_a.txt; printf '\n\n'; cat story_b.txt; printf '\n\nwhy'; } >joined
"$PITH" recover joined object | cmp - text
"$PITH" recover - object <joined | cmp - text
code() { "$PITH" recover "$@" 2>message >/dev/null && echo 0 || echo $?; cat message; }
code story_a.txt object --instruction 'Do it.' -q why
code story_b.txt story_a.txt object --instruction 'Do it.' -q why
code story_a.txt story_b.txt object --instruction 'Do it.' -q how
code story_a.txt story_b.txt object --instruction 'Do it.' -q because
"$PITH" compress -m "$MODEL" story_a.txt --json >object
code story_a.txt story_b.txt object
