# options stand under headings, each under one; long lists of choices are told in the sentence
"$PITH" help compress >long
grep -E '^[A-Z].*:$' long
grep -c -e '--context-budget TEXT' long
grep -c -e '--preset CHOICE' long
grep -c -e '--format auto|text|markdown|json|chat$' long
tr -s ' \n' ' ' <long >line
grep -o 'One of: none, paper-gsm8k, .*, release-longllmlingua\. (default none)' line | wc -l
grep -o 'Drop whole contexts[^(]*([^)]*)' line | grep -o '(.*)'
# every parameter of the library has its heading: none stands before the first
sed '/^Input:$/,$d' long | grep -c -e ' --' || true
"$PITH" help rank | grep -E '^[A-Z].*:$'
"$PITH" help rank | grep -c -e '--rate ' || true
"$PITH" generate-docs man | grep -c 'fIMethods llmlingua and longllmlingua'
