"""Sequencing platforms: everything that depends on them. A new platform is one more entry of PLATFORMS."""

from dataclasses import dataclass

NANOPORE, CIRCULAR_CONSENSUS, SYNTHESIS = "nanopore", "circular consensus", "synthesis"
"""How reads are made, which says how simulated ones err."""

BASECALL_MODEL, INSTRUMENT, PLATFORM = "basecall_model", "instrument", "platform"
"""Fields of a read group (clair3.models.choose.ReadGroup) that may tell which model the reads need."""


@dataclass(frozen=True)
class Platform:
    """What is particular to the reads of one platform (spec/cli.md 2.1, 2.5). Numbers without unit are fractions.

    name                        as --platform takes it
    read_group_platforms        values of PL of its read groups, upper case; simulated reads have the first
    technology                  NANOPORE, CIRCULAR_CONSENSUS or SYNTHESIS
    model_field                 field of a read group that chooses the model
    default_model               folder of the model of this package
    rows                        read rows of a full-alignment tensor
    snp_min_af, indel_min_af    of the reads, for a pileup candidate
    var_pct_full, ref_pct_full  of the variant and reference calls of lowest quality, for full alignment
    var_pct_phasing             of the heterozygous SNPs of highest quality, for phasing
    fast_mode                   --fast_mode raises the thresholds of candidates
    short_reads                 reads are pairs of short ones: the features of v2.0.2's scripted pipeline, local
                                realignment before full alignment, candidates in bins (spec/features.md 0,
                                spec/calling.md 8.2)
    move_tables                 reads may have move tables, and so a channel of dwell times
    read_type                   READTYPE of the reads that the models are for; None: any
    longphase_option            what LongPhase is told about the reads
    minimap2_preset             how simulated reads are aligned
    accurate_preset             the same for reads with few errors, of a recent minimap2; None: no other one
    truth_distance              most bases between the members of a group of truth variants and candidates
    truth_partition             most candidates, and most truth variants, of such a group (spec/training.md A.5)
    """

    name: str
    read_group_platforms: tuple[str, ...]
    technology: str
    model_field: str
    default_model: str
    minimap2_preset: str
    rows: int = 55
    snp_min_af: float = 0.08
    indel_min_af: float = 0.08
    var_pct_full: float = 0.3
    ref_pct_full: float = 0.3
    var_pct_phasing: float = 0.7
    fast_mode: bool = False
    short_reads: bool = False
    move_tables: bool = False
    read_type: str | None = None
    longphase_option: str = "--pb"
    accurate_preset: str | None = None
    truth_distance: int = 100
    truth_partition: int = 15


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            "ont",
            read_group_platforms=("ONT", "NANOPORE"),
            technology=NANOPORE,
            model_field=BASECALL_MODEL,
            default_model="ont",
            minimap2_preset="map-ont",
            accurate_preset="lr:hq",
            rows=89,
            indel_min_af=0.15,
            var_pct_full=0.7,
            ref_pct_full=0.1,
            fast_mode=True,
            move_tables=True,
            longphase_option="--ont",
        ),
        Platform(
            "hifi",
            read_group_platforms=("PACBIO",),
            technology=CIRCULAR_CONSENSUS,
            model_field=INSTRUMENT,
            default_model="hifi",
            minimap2_preset="map-hifi",
            read_type="CCS",
            truth_distance=200,
            truth_partition=20,
        ),
        Platform(
            "ilmn",
            read_group_platforms=("ILLUMINA",),
            technology=SYNTHESIS,
            model_field=PLATFORM,
            default_model="ilmn_simulated",  # ilmn is the name of a published one
            minimap2_preset="sr",
            short_reads=True,
        ),
    )
}

DEFAULT_PLATFORM = "ont"
"""The platform of the sub-commands of v2.0.2 whose --platform may be left out (spec/cli.md 8)."""
