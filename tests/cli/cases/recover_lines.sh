# methods llmlingua and longllmlingua, modes paper and official: empty lines between parts and
# U+FFFD for a lost character come from nowhere, anything else does not
try() {
    printf '{"method":"%s","mode":"%s","text":"%s","ranges":%s,"parts":[%s]}' "$1" "$2" "$3" "$4" "$parts" >object
    if "$PITH" recover a b object >out 2>message; then
        tr '\n' '/' <out
        echo
    else
        echo "exit $?"
        cat message
    fi
}
R='\ufffd'
printf 'd' >b
printf 'a\n\nb\303\251c' >a
parts='{"start":0,"end":7},{"start":9,"end":10}'
try llmlingua official 'a\n\nd' '[[0,1],[9,10]]'
try llmlingua paper 'd\n\na' '[[9,10],[0,1]]'
try llmlingua paper 'a\n\n\n\nd' '[[0,3],[9,10]]'
try llmlingua official "b${R}c\n\nd" '[[3,4],[6,7],[9,10]]'
try llmlingua official "${R}c${R}" '[[6,7]]'
try llmlingua official "b${R}${R}d" '[[3,4],[9,10]]'
try llmlingua official 'a\n\n\nd' '[[0,1],[9,10]]'
try llmlingua official 'a d' '[[0,1],[9,10]]'
try llmlingua official 'bxc' '[[3,4],[6,7]]'
try llmlingua pith 'a\n\nd' '[[0,1],[9,10]]'
try selective paper 'a\n\nd' '[[0,1],[9,10]]'
# a U+FFFD of the source is text like any other
printf 'a\357\277\275\357\274\214b' >a
parts='{"start":0,"end":8},{"start":10,"end":11}'
try llmlingua official "a${R}b" '[[0,4],[7,8]]'
try llmlingua official "a${R}${R}b" '[[0,4],[7,8]]'
try llmlingua official "a${R},b" '[[0,1],[7,8]]'
try llmlingua official "a${R}\uff0cb" '[[0,1],[4,8]]'
try llmlingua official "ab" '[[0,4],[7,8]]'
