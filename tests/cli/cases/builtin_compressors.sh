# the compressors that come with the built-in model belong to it: what they keep of texts makes these
# likelier than nothing does, and than the memory of another text; 500x likelier than selfcp
models=$CASES/../../../models
cat >texts <<'END'
{"context": "The bridge over the river was closed in the winter of 1962, when the ice had damaged two of its pillars. It was opened again in the summer of the following year, after the town had paid for the repairs."}
{"context": "A cell takes in oxygen and gives off carbon dioxide. The energy that is set free in this way is stored in molecules, which carry it to all the places in the cell where work is done."}
{"context": "She put the letter on the table and went to the window. It was raining, and the street was empty. For a long time she looked at the house on the other side, where nobody had lived for years."}
{"context": "The company was founded by two brothers in the north of England. At first they made clocks, then, when clocks did not sell any more, parts of aeroplanes, and in the end they were bought by a larger firm."}
END
"$PITH" train retention -q texts --held-out-every 0 -c "$models/builtin.500x.gguf" -c "$models/builtin.selfcp.gguf" \
    -l 40 -k 5 --no-generate -w none -w compressor -w shuffled -t 1 -o table 2>said
nll() { "$GET" rows "$1" nll <table; }
for i in 0 1 2 3 4; do echo "$i $("$GET" rows $i way <table) $("$GET" rows $i method <table)"; done
less() { awk -v a="$(nll "$1")" -v b="$(nll "$2")" 'BEGIN { exit !(a < b) }' || echo "row $1 is no better than row $2"; }
less 1 0; less 2 0; less 1 3; less 2 4; less 1 2
"$PITH" encode --compressor "$models/builtin.500x.gguf" "$CASES/story_a.txt" -o story.capsule -t 1 2>said
"$PITH" inspect story.capsule --json | tr -d '\n' | "$GET" capsule method
"$PITH" generate --capsule story.capsule --regenerate -n 8 -t 1 >written
test -s written
