"""Make the error profiles that `clair3 simulate` ships, from real reads under permissive licences.

    python scripts/make_profiles.py ../shared/data

What a small slice of a genome cannot tell (read lengths, chimeras, junk) is that of spec/training.md E.3.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

if __package__ in (None, ""):  # started as `python scripts/make_profiles.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.simulate.estimation import estimate
from clair3.simulate.observation import count_errors
from clair3.simulate.profile import format_profile
from clair3.simulate.profile_choice import FOLDER, normal_quantiles

DEEPEST = 1e9

SOURCES = {
    "ont": (
        "real/nfcore_ont_chr22_16.57M/reads.bam", "ref.fa", None, None,
        "ONT, sample and chemistry unknown, 40 kb of GRCh38 chr22; a fork of nf-core/test-datasets (MIT)",
        {"lengths": np.clip(8000 * np.exp(0.8 * normal_quantiles(21)), 500, 100_000).tolist(), "chimeras": 0.003,
         "junk": [0.01, 60.0]},
    ),
    "hifi": (
        "train/real/hg002_hifi_revio_chr11_1.25M/reads.bam", "ref.fa.gz", None, None,
        "HG002, PacBio Revio, 181 kb of chr11; test data of yangao07/longcallD (MIT)",
        {"chimeras": 0.0, "junk": [0.0, 0.0]},
    ),
    "ilmn": (
        "train/real/na12878_ilmn_chr3_hg19/reads.bam", "ref.fa.gz", "truth.vcf.gz", "confident_approx.bed",
        "NA12878, Illumina HiSeq 2x101, 486 kb of hg19 chr3; test data of benedictpaten/marginPhase (MIT), truth "
        "Platinum Genomes",
        {"lengths": [150.0, 150.0], "insert": [420.0, 90.0], "chimeras": 0.0, "junk": [0.002, 20.0], "rise": 2.0,
         "decline": 0.5},
    ),
}  # fmt: skip
"""BAM, reference, truth and regions beside it, where they come from, and what is not learned."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the real reads")
    for name, (bam, ref, truth, bed, text, given) in SOURCES.items():
        path = parser.parse_args().data / bam
        truth, bed = (path.with_name(file) if file else None for file in (truth, bed))
        counts, facts = count_errors(path, path.with_name(ref), truth, bed, DEEPEST)
        learned = estimate(name, counts, facts)
        origin = {
            "made_by": "scripts/make_profiles.py",
            "reads": text,
            "bases": str(int(counts.bases.sum())),
            "not_learned": ", ".join(given),
        }
        profile = replace(learned, **given, origin=origin)
        (FOLDER / f"{name}.json").write_text(format_profile(profile) + "\n")


if __name__ == "__main__":
    main()
