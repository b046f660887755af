#!/usr/bin/env bash
# Writes OUT/results.md from what a device run has left in OUT and in its logs: card, goals, steps, tables.
set -uo pipefail
: "${OUT:?}" "${logs:?}"

value() { sed -n "s/^$1: //p" "$OUT/machine.txt" | head -1; }
fenced() { printf '```\n' && cat && printf '```\n'; }

{
  printf '# %s, %s\n\n' "$(value card)" "$(value date | cut -dT -f1)"
  printf 'One run of `kernels/cuda/device_run.sh`. Ratios are to what the card itself was measured to do in this run.\n\n'
  printf '| | |\n|---|---|\n'
  sed 's/^\([^:]*\): \(.*\)/| \1 | \2 |/' "$OUT/machine.txt"

  printf '\n## Goals\n'
  for log in "$logs"/bench-*.log; do
    grep -hE ': copy .* matrix rate |^\| ' "$log" 2>/dev/null | sed -E 's/^([^|].*)$/\n\1\n/'
    grep -h 'is left out: ' "$log" 2>/dev/null | sed 's/^/\n/'
  done | sed 's/^| goal .*/&\n|---|---|---|---|---|/'

  printf '\n## Steps\n\nOf those without "ok", nothing below is a result of this card.\n\n'
  grep -v '^$' "$OUT/summary.txt" | fenced

  printf '\n## Engine, random weights of real shapes\n'
  for log in "$logs"/bench-*.log; do
    case $log in *bench-kernels*) continue ;; esac
    printf '\n%s\n\n' "$(basename "$log" .log | sed 's/^bench-//')" && grep -vE '^\||^\{|^$|: copy .* matrix rate |^writing ' "$log" | fenced
  done

  printf '\n## Kernels\n\n'
  grep -vE '^\{' "$logs/bench-kernels.log" 2>/dev/null | fenced
} >"$OUT/results.md"
