#!/usr/bin/env bash
# Install this checkout into .venv, which is made where it is missing; extras are given by name:
#   bash scripts/install.sh [dev,train,...]
# On Linux without an NVIDIA driver PyTorch's CPU build is taken: what pip takes there by itself has CUDA, several GB more.
set -eu
cd "$(dirname "$0")/.."
extras=${1:+"[$1]"}
constraints=env/constraints.txt
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
pip() { .venv/bin/python -m pip install --quiet -c $constraints "$@"; }
has_torch() { .venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; }
has_driver() { [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null; }

if [ "$(uname)" = Linux ] && ! has_torch && ! has_driver; then
    torch=$(sed -n 's/^torch==//p' $constraints)
    echo "no NVIDIA driver here: installing the CPU build of PyTorch $torch"
    pip --retries 1 --timeout 30 --extra-index-url https://download.pytorch.org/whl/cpu "torch==$torch+cpu" ||
        echo "the CPU build could not be had; pip takes what it finds"
fi
pip -e ".$extras"
