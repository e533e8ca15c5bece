head -c 1000 "$MODEL" >cut.gguf
"$PITH" inspect cut.gguf 2>/dev/null && exit 1
"$PITH" compress -m cut.gguf -p text
