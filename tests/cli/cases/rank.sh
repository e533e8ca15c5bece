# best first, a score and a name on a line; as JSON with the number of each context
cp "$CASES"/story_?.txt .
q='What does a ticket to the coast cost?'
"$PITH" rank -q "$q" --rank-method bm25 story_a.txt story_b.txt story_c.txt >order
head -n 1 order | cut -f 2
cut -f 2 order | sort
cut -f 1 order | sort -g -r | cmp - <(cut -f 1 order)
"$PITH" rank -q "$q" --rank-method bm25 story_a.txt --context story_b.txt --context story_c.txt | cmp - order
"$PITH" rank -q "$q" --rank-method bm25 --context story_a.txt - story_c.txt <story_b.txt | cut -f 2 | sort
printf '%s' "$q" >question
"$PITH" rank --question-file question --rank-method bm25 story_a.txt story_b.txt story_c.txt -o file
cmp file order
"$PITH" rank -q "$q" --json --rank-method bm25 story_a.txt story_b.txt story_c.txt >object
for key in index name; do "$GET" contexts 0 $key <object; done
"$GET" contexts 3 <object
"$GET" rank_method <object
"$GET" model <object | cmp - <("$PITH" compress --json -p x | "$GET" model)
# every ranker gives every context a place; without a question by the perplexity of each
for method in auto llmlingua longllmlingua bm25 gzip random hybrid; do
    "$PITH" rank -q "$q" --rank-method $method story_?.txt | cut -f 2 | sort | tr '\n' ' '
done
echo
"$PITH" rank --rank-method llmlingua story_?.txt | wc -l
"$PITH" rank --rank-method llmlingua -t 1 story_?.txt >one
"$PITH" rank --rank-method llmlingua -t 2 story_?.txt | cmp - one
"$PITH" rank -v -q "$q" story_a.txt 2>&1 >/dev/null | grep -c '^pith: 1 contexts ranked in '
