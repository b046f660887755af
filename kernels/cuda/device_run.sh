#!/usr/bin/env bash
# Everything that needs a GPU, in one go: build, tests, memory checker, bench. Results go to the folder $OUT.
#   OUT=/tmp/results kernels/cuda/device_run.sh [capabilities, e.g. "90a"]
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/device-results}
mkdir -p "$OUT"
build=build/device
{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv
  nvcc --version | tail -2
} >"$OUT/machine.txt" 2>&1
targets=${1:-"80;90a"}

cmake -S . -B $build -DPIPO_BUILD_ADDON=OFF -DPIPO_BUILD_TESTS=ON -DPIPO_CUDA_TARGETS="$targets" >"$OUT/build.log" 2>&1 &&
  cmake --build $build -j "$(nproc)" >>"$OUT/build.log" 2>&1
built=$?
tests=not-run checker=not-run bench=not-run
if [ $built -eq 0 ]; then
  (cd $build && timeout 240 ctest -R '^cuda_' --output-on-failure) >"$OUT/tests.log" 2>&1
  tests=$?
  (timeout 60 $build/test/cuda/cuda_ops_bench) >"$OUT/bench.txt" 2>&1
  bench=$?
  if command -v compute-sanitizer >/dev/null; then
    checker=0
    for tool in memcheck racecheck; do
      for test in $build/test/cuda/cuda_*_test; do
        case $test in *emulated* | *library*) continue ;; esac
        timeout 60 compute-sanitizer --tool $tool --error-exitcode 9 "$test" >>"$OUT/checker.log" 2>&1 || checker=$?
      done
    done
  fi
fi
{
  echo "build $built, tests $tests, memory checker $checker, bench $bench (0 is success)"
  grep -E "tests passed|tests failed|\*\*\*" "$OUT/tests.log" 2>/dev/null
  cat "$OUT/bench.txt" 2>/dev/null
} | tee "$OUT/summary.txt"
[ "$built" = 0 ] && [ "$tests" = 0 ]
