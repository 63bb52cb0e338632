"""Choose a contig's heterozygous SNPs for phasing, or candidates for full-alignment training, from the pileup VCF."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SelectHetSnp.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("SelectHetSnp")
