#!/usr/bin/env bash
# What the compiler made of the CUDA kernels, as Markdown: registers, static shared memory, stack and spills of every
# kernel on every target, and how large the library is.
#   kernels/cuda/compile_report.sh [build folder]
# A build with PIPO_CUDA_REPORT=ON knows the spills. Of any other the library is asked, with cuobjdump: it knows only
# the stack, which also holds arrays (those of sines in double precision), and from sm_90 on it counts 1024 bytes of the
# system's to the shared memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
library=$(find "${1:-build}" -name libpipo_cuda.so -type f | head -1)
[ -n "$library" ] || { echo "no libpipo_cuda.so in ${1:-build}" >&2; exit 1; }
folder=$(dirname "$(dirname "$library")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Both print: target, kernel, registers, shared bytes, stack bytes, spilled bytes.
from_compiler() {
  tr -d "'" | awk '
    /Compiling entry function/ { name = $7; target = $NF }
    /bytes stack frame/ { stack = $1; spilled = $5 }
    /Used [0-9]+ registers/ {
      shared = 0
      for (i = 1; i <= NF; ++i) { if ($i ~ /^registers/) registers = $(i - 1); if ($i ~ /^smem/) shared = $(i - 2) }
      print target, name, registers, shared, stack, spilled
    }'
}
from_library() {
  cuobjdump --dump-resource-usage "$library" | awk '
    /^arch = / { target = $3 }
    /^ *Function / { name = $2; sub(/:$/, "", name) }
    / REG:/ {
      for (i = 1; i <= NF; ++i) { split($i, part, ":"); value[part[1]] = part[2] }
      print target, name, value["REG"], value["SHARED"], value["STACK"], "?"
    }'
}

find "$folder" -name '*.ptxas' -exec cat {} + | from_compiler >"$work/usage"
[ -s "$work/usage" ] || from_library >"$work/usage"

# Names as in the sources, without namespaces and parameters.
c++filt <"$work/usage" 2>/dev/null >"$work/names" || cp "$work/usage" "$work/names"
type='\(pipo::kernels::WeightType\)'
sed -E "s/${type}0/f32/g; s/${type}1/bf16/g; s/${type}2/int8/g; s/${type}3/int4/g" "$work/names" |
  sed -E 's/\([A-Za-z:]+\)([0-9])/\1/g; s/pipo::cuda:://g; s/ void / /; s/, /,/g' |
  sed -E 's/\([^()]*\)(( [0-9?]+){4})$/\1/' >"$work/table"

echo "Registers of a thread / bytes of static shared memory / bytes of stack / bytes spilled. Bold: spills, or may be."
echo
sort -k2,2 -k1,1V "$work/table" | awk '
  !($1 in seen) { seen[$1] = 1; targets[++n] = $1 }
  !($2 in listed) { listed[$2] = 1; kernels[++m] = $2 }
  {
    spills = $6 == "?" ? $5 > 0 : $6 > 0
    mark = spills ? "**" : ""
    cell[$2, $1] = mark $3 " / " $4 " / " $5 " / " $6 mark
    spilling[$1] += spills
  }
  END {
    header = "| kernel |"; rule = "|---|"; last = "| kernels in bold, of " m " |"
    for (t = 1; t <= n; ++t) {
      header = header " " targets[t] " |"
      rule = rule "---|"
      last = last " " spilling[targets[t]] " |"
    }
    print header; print rule
    for (k = 1; k <= m; ++k) {
      line = "| " kernels[k] " |"
      for (t = 1; t <= n; ++t) line = line " " cell[kernels[k], targets[t]] " |"
      print line
    }
    print last
  }'

echo
echo "| part of the library | kB |"
echo "|---|---|"
echo "| the whole file | $(($(stat -c %s "$library") / 1000)) |"
command -v cuobjdump >/dev/null || exit 0
cp "$library" "$work/library.so"
(cd "$work" && cuobjdump -xelf all library.so && cuobjdump -xptx all library.so) >/dev/null
for part in $(cd "$work" && ls | sed -nE 's/.*\.((sm|compute)_[0-9a-z]+\.(cubin|ptx))$/\1/p' | sort -uV); do
  echo "| $part, before compression | $(($(cat "$work"/*."$part" | wc -c) / 1000)) |"
done
