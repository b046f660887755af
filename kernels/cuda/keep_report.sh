#!/bin/sh
# Runs a compiler that was given -Xptxas=-v and keeps what ptxas says of the kernels in <object>.ptxas.
for word in "$@"; do
  [ "$previous" = "-o" ] && object=$word
  previous=$word
done
"$@" >"$object.ptxas" 2>&1
status=$?
if [ $status -ne 0 ]; then rm -f "$object"; fi
grep -v -e '^ptxas info' -e 'bytes stack frame' "$object.ptxas" >&2
exit $status
