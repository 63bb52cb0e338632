#!/usr/bin/env bash
# Calls variants: a thin wrapper around the installed `clair3` command, all arguments passed on.
# It takes the command beside itself (installed), else from .venv here, else from the PATH.
set -eu
# a stream that is closed would be given to the pipes and files of the lines below
{ : <&0; } 2>/dev/null || exec </dev/null
{ : >&1; } 2>/dev/null || exec >/dev/null
{ : >&2; } 2>/dev/null || exec 2>/dev/null
here=$(cd "$(dirname "$(readlink -f "$0" 2>/dev/null || echo "$0")")" && pwd)
for clair3 in "$here/clair3" "$here/.venv/bin/clair3" "$(command -v clair3 || true)"; do
    if [ -f "$clair3" ] && [ -x "$clair3" ]; then exec "$clair3" run "$@"; fi
done
echo "[ERROR] the clair3 command is not installed; run: python3 -m venv .venv && .venv/bin/pip install -c env/constraints.txt -e ." >&2
exit 1
