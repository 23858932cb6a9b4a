#!/usr/bin/env bash
# Writes the lock files the image is built from; --upgrade takes newer releases. Needs uv.
#   lock-build.txt  what builds the wheels
#   lock-cpu.txt    the CPU image
#   lock-gpu.txt    the GPU image, whose base brings CUDA and cuDNN
#   lock-cuda.txt   the GPU image with CUDA and cuDNN from wheels, for any other base
set -euo pipefail
cd "$(dirname "$0")/.."

# The package and the stand-ins of packaging/ are built from this repository: they have no hash.
compile() {
  local name=$1
  shift
  uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-emit-package facefusion-runner --no-emit-package opencv-python \
    --custom-compile-command requirements/lock.sh --output-file "requirements/lock-$name.txt" "$@"
}

compile build "$@" - <<<hatchling
compile cpu "$@" - <<'EOF'
./packaging/opencv-python-headless
.[cpu,c2pa]
EOF
compile cuda --no-emit-package onnxruntime "$@" - <<'EOF'
./packaging/onnxruntime-gpu[cuda]
./packaging/opencv-python-headless
.[gpu,c2pa]
EOF
compile gpu --no-emit-package onnxruntime "$@" - <<'EOF'
./packaging/onnxruntime-gpu
./packaging/opencv-python-headless
.[gpu,c2pa]
EOF
