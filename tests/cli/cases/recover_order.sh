# ranges of several parts may have changed places, but no byte is taken twice
printf abc >a
printf defg >b
printf hi >c
parts='{"start":0,"end":3},{"start":5,"end":9},{"start":11,"end":13}'
try() { printf '{"text":"%s","ranges":%s,"parts":[%s]}' "$1" "$2" "$parts" >object
    "$PITH" recover a b c object "${@:3}" 2>&1 && echo || echo "exit $?"; }
try 'fghiab' '[[7,9],[11,13],[0,2]]'
try 'fghiab' '[[7,9],[11,13],[0,2]]' --mark '..'
try 'fghiab' '[[7,9],[11,13],[0,2]]' --dropped
try 'fghiab' '[[7,9],[11,13],[1,3]]'
try 'fgfg' '[[7,9],[7,9]]'
try 'fgg' '[[7,9],[8,9]]'
try 'ab' '[[0,2],[2,2]]'
try 'ab' '[[0,2],[13,14]]'
parts=
printf '{"text":"fgab","ranges":[[7,9],[0,2]]}' >object
cat a b c >all
"$PITH" recover all object 2>&1 || echo "exit $?"
