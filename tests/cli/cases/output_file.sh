# the same bytes as on standard output, the mode of a new or of the old file, nothing left beside it
umask 022
"$PITH" compress -m "$MODEL" "$CASES/text.txt" >expected
"$PITH" compress -m "$MODEL" "$CASES/text.txt" -o new
cmp new expected
stat -c %a new
echo old >old && chmod 600 old
ln -s old link
"$PITH" compress -m "$MODEL" "$CASES/text.txt" -o link
cmp old expected
stat -c %a old
test -L link
"$PITH" compress -m "$MODEL" "$CASES/text.txt" -o /dev/null
cp "$CASES/text.txt" same
"$PITH" compress -m "$MODEL" same -o same
cmp same expected
ls
