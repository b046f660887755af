#!/bin/sh
# Sources -> tokenizer -> pretraining -> PIPO fine-tuning -> evaluation -> model directory, on this machine.
# Usage: ./small_run.sh NODE_MODULES MINUTES
set -eu
cd "$(dirname "$0")"
modules=${1:?folder with node packages}
minutes=${2:?minutes of training}
python=${PYTHON:-.venv/bin/python}
cache=${CACHE:-.cache}
threads=${THREADS:-2}
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}" # waiting threads that spin lose to other work
config=configs/pipo-code-9m.json

library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
first=$("$python" -c "import sys; print(float(sys.argv[1]) / 3)" "$minutes")
second=$("$python" -c "import sys; print(float(sys.argv[1]) * 2 / 3)" "$minutes")

[ -e "$cache/data/train.jsonl" ] ||
  "$python" -m pipo.data --out "$cache/data" --python "$library" --python "$packages" --node "$modules"
[ -e "$cache/tokenizer/tokenizer.json" ] ||
  "$python" -m pipo.tokenizer --data "$cache/data" --out "$cache/tokenizer"

set -- --config "$config" --data "$cache/data" --tokenizer "$cache/tokenizer" --threads "$threads"
"$python" -m pipo.pretrain "$@" --out "$cache/pretrain" --minutes "$first"
"$python" -m pipo.sft "$@" --backbone "$cache/pretrain/checkpoint.pt" --out "$cache/sft" --minutes "$second"
export_model() {
  "$python" -m pipo.export --config "$config" --checkpoint "$cache/sft/checkpoint.pt" \
    --tokenizer "$cache/tokenizer" --out "$cache/model" --threshold "$1"
}
export_model 0.5
"$python" -m pipo.evaluate --model "$cache/model" --data "$cache/data" --out "$cache/evaluation" --threads "$threads" \
  --tasks 96
export_model "$("$python" -c "import json, sys; print(json.load(open(sys.argv[1]))['chosenThreshold'])" "$cache/evaluation/evaluation.json")"
echo "model directory: $cache/model"
