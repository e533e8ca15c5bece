# 1,000 contexts: the one that answers is ranked first and stays, and the ranges build the text again
for i in $(seq 1 1000); do echo "Context $i tells of the number $((i * 7919 % 1000)) and of little else." >$i; done
parts=()
for i in $(seq 1 1000); do parts+=(--context $i); done
question=(-q 'Which context tells of the number 500?')
"$PITH" rank --rank-method bm25 "${question[@]}" $(seq 1 1000) >order
wc -l <order
sort -u order | wc -l
head -n 1 order | cut -f 2
"$PITH" compress -M longllmlingua --rank-method bm25 --rate 0.05 "${parts[@]}" "${question[@]}" --json >object
"$GET" parts 999 name <object
test "$("$GET" parts 499 place <object)" != null
test "$(($("$GET" kept_tokens <object) * 20))" -le "$("$GET" source_tokens <object)"
"$PITH" recover object "${parts[@]}" "${question[@]}" >text
"$PITH" compress -M longllmlingua --rank-method bm25 --rate 0.05 "${parts[@]}" "${question[@]}" | cmp - text
grep -c 500 text
