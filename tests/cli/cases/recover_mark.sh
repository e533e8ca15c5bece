printf 'abcdefghij' >source
echo '{"text":"bcfg","ranges":[[1,3],[5,7]]}' >object
"$PITH" recover source object; echo
"$PITH" recover source object --mark '..'; echo
"$PITH" recover source object --dropped
