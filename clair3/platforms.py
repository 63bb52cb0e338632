"""Sequencing platforms and the defaults that depend on them (spec/cli.md 2.1, 2.5)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """Defaults of one platform. rows is the height of a full-alignment tensor; the others are fractions.

    snp_min_af, indel_min_af       of the reads, for a pileup candidate
    var_pct_full, ref_pct_full     of the variant and reference calls of lowest quality, for full alignment
    var_pct_phasing                of the heterozygous SNPs of highest quality, for phasing
    short_reads                    reads are pairs of short ones: v2.0.2's scripted features, local realignment before
                                   full alignment, candidates in bins (spec/features.md 0, spec/calling.md 8.2)
    """

    name: str
    rows: int
    indel_min_af: float
    var_pct_full: float
    ref_pct_full: float
    snp_min_af: float = 0.08
    var_pct_phasing: float = 0.7
    short_reads: bool = False


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("ont", rows=89, indel_min_af=0.15, var_pct_full=0.7, ref_pct_full=0.1),
        Platform("hifi", rows=55, indel_min_af=0.08, var_pct_full=0.3, ref_pct_full=0.3),
        Platform("ilmn", rows=55, indel_min_af=0.08, var_pct_full=0.3, ref_pct_full=0.3, short_reads=True),
    )
}
