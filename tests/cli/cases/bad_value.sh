# every kind of wrong value is a usage error that names the option
code() { "$PITH" "$@" >/dev/null 2>>messages && echo 0 || echo $?; }
code compress -m "$MODEL" -p text --rate 1.5
code compress -m "$MODEL" -p text --rate half
code compress -m "$MODEL" -p text --level letter
code compress -m "$MODEL" -p text --precision f16
code compress -m "$MODEL" -p text --json=maybe
code compress -m "$MODEL" -p text --no-json=true
code compress -m "$MODEL" -p text --keep-regex '('
code bench --layers 0
code bench --layers -1
code bench --layers 4294967296
grep -c 'rate\|level\|precision\|json\|keep-regex\|layers' messages
