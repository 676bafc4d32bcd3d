#!/usr/bin/env bash
# The folder that benchmarks/gpu.sh takes, made where there is a network:
#
#     benchmarks/gpu_data.sh DATA IMAGES.zip [CHECKOUT ...]
#
# IMAGES.zip: CIFAR-10 (JPEG), with train/CLASS/*.jpg and test/CLASS/*.jpg. CHECKOUT: official code to
# be timed beside, in folders named auto-attack, TRADES, robust_overfitting, MAIR; what is not named is
# not timed. PYTHON and PLATFORM: of the machine with the GPU.
set -euo pipefail
python=${PYTHON:-3.12} platform=${PLATFORM:-manylinux_2_28_x86_64}
# What a machine with PyTorch, pytest and its plugins may lack; gpu.sh installs what it really lacks.
packages=(hydra-core==1.3.* omegaconf==2.3.* PyYAML msgspec rich markdown-it-py mdurl pygments
  safetensors filelock jinja2 MarkupSafe hypothesis sortedcontainers attrs)

data=$1 images=$2
shift 2
mkdir -p "$data/wheels"
cp "$images" "$data/images.zip"
python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$data/wheels" \
  --python-version "$python" --implementation cp --platform "$platform" \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "${packages[@]}"
python3 -m pip wheel --quiet --no-deps --wheel-dir "$data/wheels" antlr4-python3-runtime==4.9.3
for checkout in "$@"; do
  name=$(basename "$(cd "$checkout" && pwd)")
  mkdir -p "$data/$name"
  (cd "$checkout" && find . -name '*.py' -not -path './.git/*' -print0 | tar -cf - --null -T -) |
    tar -xf - -C "$data/$name"
done
du -sh "$data"
