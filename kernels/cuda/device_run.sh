#!/usr/bin/env bash
# Everything that needs an NVIDIA device, in one go: build, kernels, models, benches with their goals, memory checker.
# Needs nvcc, CMake and a C++ compiler, no Node and no network.
#   [OUT=folder] [LIMIT_S=535] [COMMIT=id] kernels/cuda/device_run.sh [compute capabilities, e.g. "90a" or "80;90a"]
# Without capabilities the device's own. OUT gets a few files: summary.txt, results.md (made for kernels/cuda/results/),
# machine.txt, kernels.md, bench.jsonl, and logs.txt with what every step printed. Every step has its own time limit,
# all of them together LIMIT_S seconds; the exit status is 0 when nothing failed and all tests came to an end. Goals
# that are missed are in the tables and change no status.
set -uo pipefail
cd "$(dirname "$0")/../.."
export OUT=${OUT:-build/device-results}
export build=build/device logs=build/device-logs
deadline=$((SECONDS + ${LIMIT_S:-535}))
failed=0
if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "No NVIDIA device was found on this machine (nvidia-smi lists none)." >&2
  exit 1
fi
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
[ "$capability" = 90 ] && capability=90a  # its matrix instructions are those of this one architecture
export targets=${1:-$capability}
rm -rf "$logs"
mkdir -p "$OUT" "$logs"
rm -f "$OUT"/{summary,machine,logs}.txt "$OUT"/{results,kernels}.md "$OUT/bench.jsonl"

note() { printf '%-38s %-14s %6s  %s\n' "$@" | tee -a "$OUT/summary.txt"; }

# What a step's output says of it in a few words.
outcome() {
  grep -hE '[0-9]+% tests passed|[0-9]+ passed, [0-9]+ failed|ERROR SUMMARY|^pipo_engine_bench: |is left out: ' "$1" |
    tail -1
}

# step NAME SECONDS COMMAND...: its output goes to NAME.log and to logs.txt. 77 is how a test says that it has no
# device, also where ctest passes that on as skipped; 124 is the status where the time was up, before or while it ran.
step() {
  local name=$1 most=$2 left=$((deadline - SECONDS)) began=$SECONDS code result words log=$logs/$1.log
  shift 2
  if [ "$left" -lt 5 ]; then
    note "$name" "no time left" "" ""
    return 124
  fi
  timeout -k 5 "$((most < left ? most : left))" "$@" >"$log" 2>&1
  code=$?
  if [ $code -eq 0 ] && grep -q '\*\*\*Skipped' "$log"; then code=77; fi
  words=$(outcome "$log")
  case $code in
  0) result=ok ;;
  77) result="no device" words="" ;;  # which ctest calls passed
  124 | 137) code=124 result="out of time" ;;
  *) result="FAILED ($code)" ;;
  esac
  note "$name" "$result" "$((SECONDS - began)) s" "$words"
  { printf '\n===== %s: %s\n' "$name" "$result" && cat "$log"; } >>"$OUT/logs.txt"
  return $code
}

must() { step "$@" || failed=1; }
# May run out of time, but not fail.
should() {
  step "$@"
  case $? in 0 | 124) ;; *) failed=1 ;; esac
}

{
  echo "date: $(date -u +%FT%TZ)"
  echo "commit: ${COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}"
  nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit --format=csv,noheader |
    head -1 | awk -F', ' '{ print "card: " $1 "\ncapability: " $2 "\ndriver: " $3 "\nmemory: " $4
                           print "clocks: " $5 " (multiprocessors), " $6 " (memory)\npower limit: " $7 }'
  echo "nvcc: $("${CUDACXX:-nvcc}" --version | grep -o 'release.*')"
  echo "compiler: $(c++ --version | head -1), $(cmake --version | head -1)"
  echo "processors: $(nproc), targets $targets"
} >"$OUT/machine.txt" 2>&1
cat "$OUT/machine.txt"

# What another library's matrix product reaches on this device, where Python has PyTorch; beside the build, which does
# not need the device.
other_product() {
  timeout 150 python3 - <<'PYTHON'
import torch
a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
best = 0.0
for _ in range(6):
    begin.record()
    for _ in range(10):
        a @ b
    end.record()
    end.synchronize()
    best = max(best, 10 * 2 * 8192**3 / begin.elapsed_time(end) / 1e9)
print(f"{best:.1f}")
PYTHON
}
other_product >"$logs/other-product.txt" 2>/dev/null &
other_product_runs=$!

compile() {
  cmake -S . -B $build -DCMAKE_BUILD_TYPE=Release -DPIPO_BUILD_ADDON=OFF -DPIPO_BUILD_TESTS=ON -DPIPO_CUDA_REPORT=ON \
    -DPIPO_CUDA_TARGETS="$targets" && cmake --build $build -j "$(nproc)" --target pipo_device
}
export -f compile
if ! step build 260 bash -c compile; then
  tail -30 "$logs/build.log"
  exit 1
fi
kernels/cuda/compile_report.sh $build >"$OUT/kernels.md" 2>&1

wait $other_product_runs
tflops=$(grep -E '^[0-9.]+$' "$logs/other-product.txt" || echo 0)
note "another library's product" "$([ "$tflops" = 0 ] && echo "not here" || echo ok)" "" "$tflops TFLOP/s"

# One program after the other: they share the device, and a fault in one must not hide the rest.
must kernels 80 ctest --test-dir $build --no-tests=error -L device -E 'engine|native' --output-on-failure
must models 80 ctest --test-dir $build --no-tests=error -L device -R 'engine|native' --output-on-failure
should bench-kernels 45 $build/test/cuda/cuda_ops_bench

# The largest model's file is 9 GB; in memory it is written and read quickest.
models=${TMPDIR:-/tmp}
free_in_memory=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${free_in_memory:-0}" -gt $((12 << 20)) ]; then models=/dev/shm; fi
models=$(mktemp -d "$models/pipo-device-bench.XXXXXX")
trap 'rm -rf "$models"' EXIT
bench() { # SIZE DTYPE SECONDS
  should "bench-$1-$2" "$3" $build/native/tools/pipo_engine_bench --kernels cuda --size "$1" --dtype "$2" --context 1024 \
    --prompt 512,2048,8192 --steps 48 --repeat 5 --matrix-tflops "$tflops" --cache "$models"
  rm -rf "${models:?}"/*
  grep -h '^{"results"' "$logs/bench-$1-$2.log" >>"$OUT/bench.jsonl" 2>/dev/null
}
bench 4b bf16 80
bench 4b int4 60
bench 9b int4 70
bench 0.8b int4 30
kernels/cuda/device_results.sh

# It slows everything down many times over, so it has what time is left, and running out of it is no failure.
check() { # TOOL SECONDS PROGRAM
  local name
  name=$1-$(basename "$3")
  step "$name" "$2" compute-sanitizer --tool "$1" --error-exitcode 9 "$3"
  case $? in
  0 | 124) ;;
  *)
    if grep -q 'Device not supported' "$logs/$name.log"; then
      note "memory checker" "refuses this device" "" ""
      return 1
    fi
    failed=1
    ;;
  esac
}
checks() {
  local program kernels=()
  for program in $build/test/cuda/cuda_*_test; do
    case $program in *emulated* | *library_test | *memory_test | *engine_test) continue ;; esac  # no kernels, or all
    kernels+=("$program")
  done
  for program in "${kernels[@]}"; do check memcheck 25 "$program" || return; done
  check memcheck 40 $build/test/cuda/cuda_engine_test
  check memcheck 40 $build/test/cuda/engine/cuda_native_steps_test
  for program in "${kernels[@]}"; do check racecheck 25 "$program"; done
}
if command -v compute-sanitizer >/dev/null; then checks; else note "memory checker" "not here" "" ""; fi

kernels/cuda/device_results.sh
sed -n '/^## Goals/,/^## Steps/p' "$OUT/results.md" | sed '$d' | tee -a "$OUT/summary.txt"
exit $failed
