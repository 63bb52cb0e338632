"""Everything a calling run is told, checked."""

import importlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from clair3.calling.selection import SelectionOptions
from clair3.errors import ConfigError, check_range
from clair3.features.candidates import CandidateOptions
from clair3.features.full_alignment import ReadFeatureOptions
from clair3.genotype.decode import DecodeOptions, check_filters
from clair3.inference.compute import CPU, Compute
from clair3.io.gvcf import GvcfOptions
from clair3.phasing.phasers import LONGPHASE, WHATSHAP
from clair3.util.process import uninterrupted

PROGRAM_NAMES = {WHATSHAP: "WhatsHap", LONGPHASE: "LongPhase"}
"""How v2.0.2's messages call the phasing programs."""


@dataclass(frozen=True)
class CallingConfig:
    """A calling run. Paths are absolute; None means not given.

    Made by clair3.cli.run.config_from. Raises ConfigError when a value is out of range.
    qual             calls of this QUAL or less are LowQual; 0: none
    chunk_size       most bases of a chunk; min_contig_size in bases too
    ctg_names        contigs asked for by name
    sites            VCF of the positions to genotype
    blocks           how gVCF blocks are cut
    haploid          None, "precise" or "sensitive"
    selection        what goes from the pileup stage to phasing and full alignment
    phaser           program between the networks, WHATSHAP or LONGPHASE; final_phaser for the output, or None
    haplotag         write the reads with their haplotypes
    whatshap         how to start WhatsHap, longphase how to start LongPhase; None: the usual one
    allow_unphased_contigs  a contig that cannot be phased is called without phase; otherwise the run fails
    compute          devices, precision and threads of the networks
    conv_padding     of the full-alignment network: "auto" as its file says, or one of CONV_PADDINGS
    resume           take up what an interrupted run left in the output folder
    dwell            move tables of ONT reads are a ninth channel
    haplotype_tags   reads belong to the haplotypes that their HP tags say, not to those that phasing gives them
    enable_long_indel  insertions and deletions longer than 50 are called; candidates.max_indel_length follows it
    """

    bam: Path
    reference: Path
    model_dir: Path
    threads: int
    platform: str
    output: Path
    bed: Path | None = None
    sites: Path | None = None
    ctg_names: tuple[str, ...] | None = None
    include_all_ctgs: bool = False
    min_contig_size: int = 0
    sample_name: str = "SAMPLE"
    qual: int = 2
    chunk_size: int = 5_000_000
    pileup_model_prefix: str = "pileup"
    fa_model_prefix: str = "full_alignment"
    conv_padding: str = "auto"
    pileup_only: bool = False
    print_ref_calls: bool = False
    gvcf: bool = False
    blocks: GvcfOptions = field(default_factory=GvcfOptions)
    all_contigs_in_gvcf: bool = False
    haploid: str | None = None
    keep_iupac_bases: bool = False
    enable_long_indel: bool = False
    remove_intermediate_dir: bool = False
    candidates: CandidateOptions = field(default_factory=CandidateOptions)
    selection: SelectionOptions = field(default_factory=lambda: SelectionOptions(0.7, 0.1, 0.7))
    phaser: str = WHATSHAP
    final_phaser: str | None = None
    haplotag: bool = False
    whatshap: str | None = None
    longphase: str | None = None
    allow_unphased_contigs: bool = False
    dwell: bool = False
    haplotype_tags: bool = False
    compute: Compute = field(default_factory=Compute)
    resume: bool = False
    command_line: str | None = None

    def __post_init__(self):
        check_range("qual", self.qual, 0)
        check_filters(self.qual, self.haploid)
        check_range("chunk_size", self.chunk_size, 1)
        if not self.sample_name or set(self.sample_name) & set("\t\r\n"):
            raise ConfigError(f"--sample_name={self.sample_name!r}: expected a name without tabs and line breaks")

    def resolved(self) -> "CallingConfig":
        """The same run with its devices looked up and taken into use.

        Raises ConfigError, naming what was found, when one is not there, and DeviceError when one cannot be used.
        """
        if self.compute.device == CPU:
            return self  # torch takes a second to load
        with uninterrupted():
            devices = importlib.import_module("clair3.inference.devices")
        compute = devices.resolve(self.compute)
        devices.take_gpus(compute)
        return replace(self, compute=compute)

    @property
    def workers(self) -> int:
        """Parts that are called at a time: each may use torch_threads threads."""
        return max(1, self.threads // self.compute.torch_threads)

    @property
    def writes_gvcf(self) -> bool:
        """With --pileup_only, --gvcf only adds PL (spec/cli.md 9.6)."""
        return self.gvcf and not self.pileup_only

    @property
    def rows(self) -> ReadFeatureOptions:
        """How reads become rows of full-alignment tensors."""
        return ReadFeatureOptions.of(self.candidates, self.platform, self.dwell, self.haplotype_tags)

    @property
    def decoding(self) -> DecodeOptions:
        """How candidates become calls; --qual and haploid modes act later, on what is written (spec/calling.md 3.5)."""
        return DecodeOptions(
            gvcf=self.gvcf, enable_long_indel=self.enable_long_indel, keep_iupac_bases=self.keep_iupac_bases
        )
