# the bash completion completes verbs, options and choices
source <("$PITH" generate-docs bash)
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _pith; echo "${COMPREPLY[*]}"; }
complete_line pith comp
complete_line pith compress --target
complete_line pith compress --level se
complete_line pith inspect --js
complete_line pith help sc
complete_line pith compress --rank-method bm
complete_line pith compress --preset long-l
complete_line pith compress --question-
complete_line pith rank --ran
complete_line pith compress --context-budget ''
cp "$CASES/story_a.txt" .
complete_line pith compress --context story
complete_line pith rank story
