# phrases of a response are put in the place they had in the original prompt, from a result or from files
cp "$CASES"/story_?.txt .
parts=(-q 'When is it closed?' --context story_a.txt --context story_b.txt)
"$PITH" compress "${parts[@]}" --json >object
"$PITH" compress "${parts[@]}" >short
{ cat story_a.txt; printf '\n\n'; cat story_b.txt; printf '\n\nWhen is it closed?'; } >joined
# words that do not stand in the prompt come back as they were
printf 'Perhaps never.' >response
"$PITH" recover object "${parts[@]}" --response response
echo
printf 'Monday kept words: %s' "$(head -c 60 short)" >response
"$PITH" recover object "${parts[@]}" --response response >one
"$PITH" recover story_a.txt story_b.txt object -q 'When is it closed?' --response - <response | cmp - one
"$PITH" recover --original joined --compressed short --response response | cmp - one
"$PITH" recover --original joined --compressed short --response response -o two
cmp one two
"$PITH" recover --original joined --compressed - --response response -m "$MODEL" <short >model
"$PITH" recover --original joined --compressed short --response response --count-with "$MODEL" | cmp - model
# a phrase that lost its middle gets it back
printf 'The festival was held on the 14th of July in the small town of Marly.' >original
printf 'festival held 14th July Marly.' >compressed
printf 'It was held 14th July' >response
"$PITH" recover --original original --compressed compressed --response response
echo
: >empty
"$PITH" recover --original original --compressed compressed --response empty | wc -c
"$PITH" recover --original empty --compressed empty --response response
echo
# a response does not save a result that is not of this source
sed 's/bakery/pantry/' story_a.txt >other
"$PITH" recover other story_b.txt object -q 'When is it closed?' --response response 2>/dev/null || echo "exit $?"
"$PITH" recover --original original --compressed compressed --response response -m absent 2>/dev/null || echo "exit $?"
