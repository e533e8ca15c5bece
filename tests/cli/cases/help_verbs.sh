# every verb explains itself, the same way three times, and no letter means two things
"$PITH" --help >program
"$PITH" help | cmp - program
for verb in compress score rank encode generate probe bank inspect recover bench help; do
    grep -q "^  $verb " program
    "$PITH" "$verb" --help >long
    "$PITH" "$verb" -h | cmp - long
    "$PITH" help "$verb" | cmp - long
    grep -q "^Usage: pith $verb \[options\]" long
    grep -q -e '-h, --help ' long
    test -z "$(grep -oE '^  -[A-Za-z],' long | sort | uniq -d)"
    test -z "$(grep -oE -- '--(\[no-\])?[a-z0-9-]+ ' long | sort | uniq -d)"
    test "$(wc -L <long)" -le 88
done
