# the bash completion completes verbs, options and choices
source <("$PITH" generate-docs bash)
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _pith; echo "${COMPREPLY[*]}"; }
complete_line pith comp
complete_line pith compress --target
complete_line pith compress --level se
complete_line pith inspect --js
complete_line pith help sc
