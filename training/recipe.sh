#!/bin/sh
# The whole road on this machine: sources, tokenizer, plain pretraining, PIPO fine-tuning, on-policy distillation,
# evaluation, model directory. Started again, it goes on where it was interrupted.
#
#   ./recipe.sh MINUTES [FOLDER ...]
#
# MINUTES of training in all. FOLDERs hold source packages (`node_modules`, `site-packages`); they are read once and
# are not needed again. Settings by environment: PYTHON, CACHE, CONFIG, WORKERS, ROWS, LOADERS.
set -eu
cd "$(dirname "$0")"
minutes=${1:?minutes of training}
shift
python=${PYTHON:-.venv/bin/python}
cache=${CACHE:-.cache}
config=${CONFIG:-configs/pipo-code-9m.json}
cores=$(getconf _NPROCESSORS_ONLN)
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  workers=${WORKERS:-1} rows=${ROWS:-128} loaders=${LOADERS:-$((cores > 3 ? cores - 2 : 1))} rollouts=256
else # a small model's operations are too short to share between threads: one worker with one thread per core
  workers=${WORKERS:-$((cores > 1 ? cores - 1 : 1))} rows=${ROWS:-8} loaders=${LOADERS:-0} rollouts=8
fi
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}" # waiting threads that spin lose to other work
minutes_of() { "$python" -c "print($minutes * $1)"; }
train() { # MODULE ARGUMENTS...
  "$python" -m torch.distributed.run --nproc-per-node "$workers" -m "$@" --config "$config" --data "$cache/data" \
    --tokenizer "$cache/tokenizer" --threads 1 --loaders "$loaders"
}

if [ ! -e "$cache/data/train.jsonl" ] && [ ! -e "$cache/data/train.jsonl.gz" ]; then
  library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  set -- "$@" "$library" "$packages"
  sources=
  for folder in "$@"; do
    case $folder in *node_modules*) sources="$sources --node $folder" ;; *) sources="$sources --python $folder" ;; esac
  done
  # shellcheck disable=SC2086 # folders without spaces
  "$python" -m pipo.data --out "$cache/data" $sources
fi
[ -e "$cache/tokenizer/tokenizer.json" ] ||
  "$python" -m pipo.tokenizer --data "$cache/data" --out "$cache/tokenizer"

train pipo.pretrain --out "$cache/plain" --minutes "$(minutes_of 0.4)" --rows "$rows" --decay-from 0.6
train pipo.sft --backbone "$cache/plain/checkpoint.pt" --out "$cache/sft" --minutes "$(minutes_of 0.4)" \
  --rows "$rows" --pre-gate
train pipo.opd --student "$cache/sft/checkpoint.pt" --teacher "$cache/plain/checkpoint.pt" --out "$cache/opd" \
  --minutes "$(minutes_of 0.2)" --rows "$rollouts"

export_model() { # CHECKPOINT OUT THRESHOLD
  "$python" -m pipo.export --config "$config" --checkpoint "$1" --tokenizer "$cache/tokenizer" --out "$2" --threshold "$3"
}
export_model "$cache/plain/checkpoint.pt" "$cache/models/plain" 0
export_model "$cache/sft/checkpoint.pt" "$cache/models/sft" 0.5
export_model "$cache/opd/checkpoint.pt" "$cache/models/opd" 0.5
quick=$("$python" -c "print('--quick' if $minutes < 120 else '')") # rough numbers for a short training
"$python" -m pipo.evaluate --data "$cache/data" --out "$cache/evaluation" --plain "$cache/models/plain" \
  --sft "$cache/models/sft" --opd "$cache/models/opd" --jobs "$workers" $quick
threshold=$("$python" -c "import json, sys; print(json.load(open(sys.argv[1]))['chosenThreshold'])" "$cache/evaluation/evaluation.json")
export_model "$cache/opd/checkpoint.pt" "$cache/models/opd" "$threshold"
"$python" -m pipo.plot_metrics --out "$cache/evaluation/learning-curves.png" \
  pretraining="$cache/plain" fine-tuning="$cache/sft" distillation="$cache/opd"
echo "model directory: $cache/models/opd, evaluation: $cache/evaluation/evaluation.md"
