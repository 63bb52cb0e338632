#!/usr/bin/env bash
# Install into .venv, make the sample, call variants on it: the first of the README's two commands.
# On macOS as on Linux: needs Python 3.10 or later with venv, and a C compiler.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet -c env/constraints.txt -e .
.venv/bin/python scripts/make_sample.py sample
./run_clair3.sh --bam_fn=sample/reads.bam --ref_fn=sample/ref.fa --model_path=sample/model --platform=ont \
    --threads=2 --output="$PWD/sample/output" --gvcf --var_pct_full=0.95 --ref_pct_full=0.95
echo "calls: sample/output/merge_output.vcf.gz (from an untrained model with random weights: they mean nothing)"
