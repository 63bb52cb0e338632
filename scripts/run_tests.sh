#!/usr/bin/env bash
# Install with the development tools into .venv and run every check: the second of the README's two commands.
# Further arguments go to pytest, e.g. -m "not slow". Skipped tests are listed with the reason. Processes, one for each
# processor but no more than four, take the test files in turn; -n 0 runs them one after the other.
set -eu
cd "$(dirname "$0")/.."
bash scripts/install.sh dev,train,export,plots
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest -q -rs -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
