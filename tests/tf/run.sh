#!/usr/bin/env bash
# Compare the checkpoint reader with real TensorFlow 2.15: makes an environment with it (.venv-tf, about 2 GB), writes
# checkpoints of fresh networks there, and reads them here. Some minutes the first time, one minute after that.
#   bash tests/tf/run.sh
# The same for models of your own, which may be prefixes or SavedModel folders:
#   bash tests/tf/run.sh pileup=/models/v1/pileup hifi=/models/v1/full_alignment        (ont, hifi, ilmn, dwell)
# TF_VENV is another place for the environment, PYTHON_TF a Python of 3.9 to 3.11 if none is found, PYTHON the one this
# program runs on. Exit code 77: TensorFlow cannot be had here, nothing was checked.
set -eu
cd "$(dirname "$0")/../.."
environment=${TF_VENV:-.venv-tf}
here=${PYTHON:-.venv/bin/python}
if [ ! -x "$environment/bin/python" ]; then
    for python in ${PYTHON_TF:-python3.11 python3.10 python3.9 python3}; do
        if "$python" -c 'import sys, venv; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; then
            "$python" -m venv "$environment"
            break
        fi
    done
    if [ ! -x "$environment/bin/python" ]; then
        echo "tests/tf: skipped, no Python of 3.9 to 3.11 was found for TensorFlow 2.15 (PYTHON_TF names one)" >&2
        exit 77
    fi
fi
if ! "$environment/bin/python" -m pip install --quiet "tensorflow==2.15.*"; then
    echo "tests/tf: skipped, TensorFlow 2.15 could not be installed into $environment" >&2
    exit 77
fi
checkpoints=$(mktemp -d)
trap 'rm -rf "$checkpoints"' EXIT
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= "$environment/bin/python" tests/tf/write_checkpoints.py "$checkpoints" "$@"
CLAIR3_TF_CHECKPOINTS="$checkpoints" "$here" -m pytest -q -rs tests/tf
