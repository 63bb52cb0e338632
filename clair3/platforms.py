"""Sequencing platforms and the defaults that depend on them (spec/cli.md 2.1, 2.5)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """Defaults of one platform. rows is the height of a full-alignment tensor; the others are fractions.

    snp_min_af, indel_min_af       of the reads, for a pileup candidate
    var_pct_full, ref_pct_full     of the variant and reference calls of lowest quality, for full alignment
    var_pct_phasing                of the heterozygous SNPs of highest quality, for phasing
    fast_mode                      --fast_mode raises the thresholds of candidates (spec/cli.md 2.5)
    short_reads                    reads are pairs of short ones: the features of v2.0.2's scripted pipeline, local
                                   realignment before full alignment, candidates in bins (spec/features.md 0,
                                   spec/calling.md 8.2)
    """

    name: str
    rows: int = 55
    snp_min_af: float = 0.08
    indel_min_af: float = 0.08
    var_pct_full: float = 0.3
    ref_pct_full: float = 0.3
    var_pct_phasing: float = 0.7
    fast_mode: bool = False
    short_reads: bool = False


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("ont", rows=89, indel_min_af=0.15, var_pct_full=0.7, ref_pct_full=0.1, fast_mode=True),
        Platform("hifi"),
        Platform("ilmn", short_reads=True),
    )
}
DEFAULT_PLATFORM = "ont"
"""The platform of the sub-commands of v2.0.2 whose --platform may be left out (spec/cli.md 8)."""
