#!/usr/bin/env bash
# Install into .venv, call variants on the sample with the default model, evaluate them: the first of the README's commands.
#   bash scripts/quick_demo.sh [ont|hifi|ilmn]
# On macOS as on Linux: needs Python 3.10 or later with venv, and a C compiler.
set -eu
platform=${1:-ont}
cd "$(dirname "$0")/.."
sample=tests/data/sample
output=demo/$platform
[ -f "$sample/$platform.bam" ] || { echo "[ERROR] $sample has no reads of '$platform'; give ont, hifi or ilmn" >&2; exit 2; }
bash scripts/install.sh
./run_clair3.sh --bam_fn="$sample/$platform.bam" --ref_fn="$sample/ref.fa" --platform="$platform" --threads=2 --output="$PWD/$output"
.venv/bin/clair3 evaluate "$output/merge_output.vcf.gz" "$sample/truth.vcf.gz" "$sample/confident.bed" "$sample/ref.fa" \
    --json "$output/figures.json" > "$output/figures.txt"
head -n 4 "$output/figures.txt"
echo "calls:   $output/merge_output.vcf.gz"
echo "figures: $output/figures.txt, $output/figures.json"
