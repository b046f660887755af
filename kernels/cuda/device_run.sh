#!/usr/bin/env bash
# Everything that needs an NVIDIA device, in one go: build, kernels, models, memory checker, benches. Needs nvcc, CMake
# and a C++ compiler, no Node and no network.
#   [OUT=folder] [LIMIT_S=530] kernels/cuda/device_run.sh [compute capabilities, e.g. "90a" or "80;90a"]
# Logs, machine.txt and summary.txt go to OUT. Every step has its own time limit, all of them together LIMIT_S seconds;
# the exit status is 0 when the build, the tests and the memory checker were successful.
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/device-results}
targets=${1:-"80;90a"}
build=build/device
deadline=$((SECONDS + ${LIMIT_S:-530}))
failed=0
if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "No NVIDIA device was found on this machine (nvidia-smi lists none)." >&2
  exit 1
fi
mkdir -p "$OUT"
rm -f "$OUT"/*.log "$OUT"/*.txt "$OUT"/*.md

note() { printf '%-26s %-16s %6s  %s\n' "$@" | tee -a "$OUT/summary.txt"; }

# step NAME SECONDS COMMAND...: its output goes to NAME.log. 77 is how a test says that it has no device; 124 is the
# status where the time was up, before or while it ran.
step() {
  local name=$1 most=$2 left=$((deadline - SECONDS)) began=$SECONDS code result
  shift 2
  if [ "$left" -lt 5 ]; then
    note "$name" "no time left" "" ""
    return 124
  fi
  timeout -k 5 "$((most < left ? most : left))" "$@" >"$OUT/$name.log" 2>&1
  code=$?
  case $code in
  0) result=ok ;;
  77) result="no device" ;;
  124 | 137) code=124 result="out of time" ;;
  *) result="FAILED ($code)" ;;
  esac
  note "$name" "$result" "$((SECONDS - began)) s" "$(grep -hE 'tests passed|[0-9]+ passed, [0-9]+ failed|ERROR SUMMARY' "$OUT/$name.log" | tail -1)"
  return $code
}

must() { step "$@" || failed=1; }

{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null
  nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total,memory.free,clocks.max.sm,clocks.max.mem,power.limit --format=csv
  "${CUDACXX:-nvcc}" --version | tail -2
  cmake --version | head -1
  c++ --version | head -1
  echo "$(nproc) processors, targets $targets"
} >"$OUT/machine.txt" 2>&1
cat "$OUT/machine.txt"

compile() {
  cmake -S . -B $build -DCMAKE_BUILD_TYPE=Release -DPIPO_BUILD_ADDON=OFF -DPIPO_BUILD_TESTS=ON -DPIPO_CUDA_REPORT=ON \
    -DPIPO_CUDA_TARGETS="$targets" && cmake --build $build -j "$(nproc)" --target pipo_device
}
export build targets
export -f compile
if ! step build 260 bash -c compile; then
  tail -30 "$OUT/build.log"
  exit 1
fi
kernels/cuda/compile_report.sh $build >"$OUT/kernels.md" 2>&1

# One program after the other: they share the device, and a fault in one must not hide the rest.
must kernels 90 ctest --test-dir $build --no-tests=error -L device -E engine --output-on-failure
must models 70 ctest --test-dir $build --no-tests=error -L device -R engine --output-on-failure
step kernels-bench 40 $build/test/cuda/cuda_ops_bench
bench() { # NAME SECONDS SIZE DTYPE
  step "bench-$1" "$2" $build/native/tools/pipo_engine_bench --kernels cuda --size "$3" --dtype "$4" --prompt 512,2048,8192 --repeat 5 --cache "${TMPDIR:-/tmp}/pipo-device-bench"
}
bench 0.8b-int8 40 0.8b int8
bench 4b-int4 60 4b int4
bench 4b-bf16 80 4b bf16

# It slows everything down many times over, so it has what time is left, and running out of it is no failure.
if command -v compute-sanitizer >/dev/null; then
  check() { # TOOL SECONDS PROGRAM
    step "$1-$(basename "$3")" "$2" compute-sanitizer --tool "$1" --error-exitcode 9 "$3"
    case $? in 0 | 124) ;; *) failed=1 ;; esac
  }
  for program in $build/test/cuda/cuda_*_test; do
    case $program in *emulated* | *library_test | *memory_test) continue ;; esac  # these need no device
    check memcheck 30 "$program"
  done
  for program in $build/test/cuda/engine/cuda_engine_*_test; do check memcheck 40 "$program"; done
  for program in $build/test/cuda/cuda_*_test; do
    case $program in *emulated* | *library_test | *memory_test) continue ;; esac
    check racecheck 30 "$program"
  done
else
  note "memory checker" "not here" "" ""
fi

for log in "$OUT"/*bench*.log; do
  [ -e "$log" ] || continue
  printf '\n== %s\n' "$(basename "$log" .log)"
  cat "$log"
done | tee -a "$OUT/summary.txt"
exit $failed
