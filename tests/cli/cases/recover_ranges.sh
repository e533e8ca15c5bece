# ranges are checked before anything is read through them
printf 'abcdefghij' >source
try() { printf '{"text":"a","ranges":%s}' "$1" >object
    "$PITH" recover source object 2>>message && echo good || echo $?; }
try '[[0,1]]'
try '[[1,0]]'
try '[[0,0]]'
try '[[-1,1]]'
try '[[0,11]]'
try '[[0,9223372036854775807]]'
try '[[0,2],[1,3]]'
try '[[0]]'
try '[["0","1"]]'
try '{}'
try '[0,1'
wc -l <message | tr -d ' '
