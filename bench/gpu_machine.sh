#!/usr/bin/env bash
# Everything that wants a device, on a machine that has one and may have no network: builds, checks that results are the
# CPU's bit for bit, runs the sanitizer on small sizes, measures. Stops at the first step that fails.
#
#   bench/gpu_machine.sh [OUTPUT-FOLDER] [CMAKE-ARCHITECTURE, default 90a-real]
#
# Wants Python with its headers, numpy, pybind11, pytest, hypothesis; nvcc, cmake, a C++20 compiler. What is missing of the
# Python packages is taken from wheels in the folder .whl, where that is there.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly OUT=$(realpath -m "${1:-gpu-results}") ARCH=${2:-90a-real}
mkdir -p "$OUT"
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

if [ -d .whl ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$OUT/site" .whl/*.whl
    export PYTHONPATH="$OUT/site"
fi

{
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader
    nvcc --version | tail -n 2
    cmake --preset cuda -G Ninja -DDQCORE_CUDA_ARCHS="$ARCH" -Dpybind11_DIR="$(python3 -m pybind11 --cmakedir)" \
        -DPython_EXECUTABLE="$(command -v python3)"
    time cmake --build --preset cuda --parallel "$(nproc)"
} >"$OUT/build.log" 2>&1 || { tail -n 30 "$OUT/build.log"; exit 1; }

export PYTHONPATH="$PWD/build/cuda${PYTHONPATH:+:$PYTHONPATH}"
python3 -m dqcore info | tee "$OUT/info.log"

timeout 180 python3 -m pytest -q -m gpu -p no:cacheprovider tests/test_gpu.py 2>&1 | tee "$OUT/tests.log" | tail -n 15
# A test that was skipped has shown nothing.
! grep -q "skipped" <(tail -n 1 "$OUT/tests.log")

if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck initcheck; do
        timeout 120 compute-sanitizer --tool "$tool" --error-exitcode 9 python3 bench/gpu_small.py 2>&1 | tail -n 3
    done | tee "$OUT/sanitizer.log"
else
    echo "no compute-sanitizer here" | tee "$OUT/sanitizer.log"
fi

timeout 400 python3 bench/bench_cuda.py --json "$OUT/bench.json" 2>&1 | tee "$OUT/bench.log"
