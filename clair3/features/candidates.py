"""Which pileup columns are worth asking the network about."""

from dataclasses import dataclass

from clair3.errors import check_range

LONG_INDEL_LENGTH = 100_000
"""max_indel_length with --enable_long_indel (spec/cli.md 2.5)."""

HIGHEST_MAPQ = 255
"""A BAM stores a mapping quality in a byte; a higher limit would leave no read."""

LARGEST = 2**31 - 1
"""The core counts in 32 bits."""


@dataclass(frozen=True)
class CandidateOptions:
    """When a pileup column becomes a candidate, and which reads count (spec/features.md A.2, B.5).

    A fraction of 0 is legal: with known sites (--vcf_fn) every covered position is a candidate.
    min_mapq          reads with a lower mapping quality do not count
    min_coverage      reads with a base or a deletion at the column
    snp_min_af        fraction of reads with the most frequent mismatch
    indel_min_af      fraction of reads with an insertion, or with a deletion, after the column
    snp_only          the mismatch decides alone
    head_and_tail     also candidates whose 16-base flanks are not covered
    max_indel_length  longer insertions and deletions are counted but not reported
    scripted          the rules for Illumina reads: those of v2.0.2's scripted engine (B.12)
    known_sites       with scripted: every allowed position is a candidate, whatever the reads show (A.7)
    Raises ConfigError when a value is out of range.
    """

    min_mapq: int = 5
    min_coverage: int = 2
    snp_min_af: float = 0.08
    indel_min_af: float = 0.15
    snp_only: bool = False
    head_and_tail: bool = False
    max_indel_length: int = 50
    scripted: bool = False
    known_sites: bool = False

    def __post_init__(self):
        check_range("min_mq", self.min_mapq, 0, HIGHEST_MAPQ)
        check_range("min_coverage", self.min_coverage, 0, LARGEST)
        check_range("snp_min_af", self.snp_min_af, 0, 1)
        check_range("indel_min_af", self.indel_min_af, 0, 1)
        check_range("max_indel_length", self.max_indel_length, 1, LARGEST)
