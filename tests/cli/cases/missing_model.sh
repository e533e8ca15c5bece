"$PITH" compress -m no-such-model.gguf -p text
