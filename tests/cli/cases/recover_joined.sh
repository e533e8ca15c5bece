# mode official: at most one space for each end of a range, no other difference
printf 'a b  c d' >source
try() { printf '{"mode":"%s","text":"%s","ranges":[[0,1],[3,4],[5,6]]}' "$1" "$2" >object
    "$PITH" recover source object 2>&1 && echo || echo "exit $?"; }
try official 'a   c'
try official 'a c'
try official 'a c '
try official 'a    c'
try official 'ac'
try pith 'a   c'
