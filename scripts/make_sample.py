"""Make the README's sample: a simulated genome whose variants are known, ONT, HiFi and Illumina reads of it.

    python scripts/make_sample.py tests/data/sample

The repository holds what this writes, all of it drawn from one seed by `clair3 simulate` (docs/simulate.md).
"""

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python scripts/make_sample.py`; "clair3" must not mean scripts/clair3.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import main as clair3

CONTIGS = "chr20=135000"
DENSITY = "0.002"
"""Variants per base: twice as many as in a human genome, so that the figures of the sample say something."""
DEPTH = 30
SEED = 20
PLATFORMS = ("ont", "hifi", "ilmn")


def make_sample(folder: Path) -> None:
    """Write ref.fa, truth.vcf.gz, confident.bed, a BAM of each platform, and their indexes."""
    files = (f"--ref_fn={folder / 'ref.fa'}", f"--truth={folder / 'truth.vcf.gz'}")
    clair3(["simulate", "genome", f"--contigs={CONTIGS}", "--density", DENSITY, DENSITY, *common(folder)])
    for platform in PLATFORMS:
        bam = folder / f"{platform}.bam"
        clair3(["simulate", "reads", *files, f"--platform={platform}", f"--depth={DEPTH}", *common(bam)])


def common(output: Path) -> tuple[str, ...]:
    return f"--output={output}", f"--seed={SEED}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    make_sample(parser.parse_args().folder)


if __name__ == "__main__":
    main()
