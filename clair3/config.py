"""The options of a calling run: frozen values, one class per subject, checked where they are made.

A default is written here, or in clair3.platforms where it depends on the platform, and nowhere else: every command
line reads it from these classes.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from clair3.errors import ConfigError, check_range
from clair3.platforms import DEFAULT_PLATFORM, PLATFORMS, Platform

LONG_INDEL_LENGTH = 100_000
"""max_indel_length with --enable_long_indel (spec/cli.md 2.5)."""

FAST_SNP_MIN_AF, FAST_MIN_COVERAGE = 0.15, 4
"""Least thresholds with --fast_mode (spec/features.md B.5)."""

HIGHEST_MAPQ = 255
"""A BAM stores a mapping quality in a byte; a higher limit would leave no read."""

LARGEST = 2**31 - 1
"""The C core counts in 32 bits."""

PRECISE, SENSITIVE = "precise", "sensitive"
"""Haploid modes: no heterozygous call at all; or every call with one alternative allele."""

WHATSHAP, LONGPHASE = "whatshap", "longphase"
PROGRAM_NAMES = {WHATSHAP: "WhatsHap", LONGPHASE: "LongPhase"}
"""How v2.0.2's messages call the phasing programs."""

AUTO, CPU, CUDA, MPS = DEVICES = ("auto", "cpu", "cuda", "mps")
FP32, BF16, FP16 = PRECISIONS = ("fp32", "bf16", "fp16")
AMP = "amp"
"""The lower precision that suits the device: fp16 on a GPU, bf16 on a CPU."""

NUMBERED_GPUS = re.compile(r"cuda:(\d+(?:,\d+)*)")


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
    short_read_rules  the rules for Illumina reads: those of v2.0.2's scripted pipeline (B.12)
    known_sites       with short_read_rules: every allowed position is a candidate, whatever the reads show (A.7)
    Raises ConfigError when a value is out of range.
    """

    min_mapq: int = 5
    min_coverage: int = 2
    snp_min_af: float = Platform.snp_min_af
    indel_min_af: float = PLATFORMS[DEFAULT_PLATFORM].indel_min_af
    snp_only: bool = False
    head_and_tail: bool = False
    max_indel_length: int = 50
    short_read_rules: bool = False
    known_sites: bool = False

    def __post_init__(self):
        check_range("min_mq", self.min_mapq, 0, HIGHEST_MAPQ)
        check_range("min_coverage", self.min_coverage, 0, LARGEST)
        check_range("snp_min_af", self.snp_min_af, 0, 1)
        check_range("indel_min_af", self.indel_min_af, 0, 1)
        check_range("max_indel_length", self.max_indel_length, 1, LARGEST)

    @classmethod
    def for_platform(cls, platform: str) -> "CandidateOptions":
        """Return the defaults of a platform."""
        known = PLATFORMS[platform]
        return cls(snp_min_af=known.snp_min_af, indel_min_af=known.indel_min_af, short_read_rules=known.short_reads)


@dataclass(frozen=True)
class ReadFeatureOptions:
    """How reads become the rows of a full-alignment tensor (spec/features.md A.2, C).

    rows              read rows of the tensor
    min_mapq          reads with a lower mapping quality are left out
    max_indel_length  as in CandidateOptions
    dwell             move tables of ONT reads are a ninth channel
    haplotype_tags    reads belong to the haplotypes that their HP tags say, not to those that phased SNPs give them
    min_coverage      least bases at a candidate that realigned reads show (clair3.features.full_alignment)
    """

    rows: int
    min_mapq: int = CandidateOptions.min_mapq
    max_indel_length: int = CandidateOptions.max_indel_length
    dwell: bool = False
    haplotype_tags: bool = False
    min_coverage: int = CandidateOptions.min_coverage

    @classmethod
    def of(cls, candidates: CandidateOptions, platform: str, dwell: bool, haplotype_tags: bool) -> "ReadFeatureOptions":
        """Return the options of a platform for the reads that are looked at for candidates."""
        rows = PLATFORMS[platform].rows
        lengths = candidates.min_mapq, candidates.max_indel_length
        return cls(rows, *lengths, dwell, haplotype_tags, candidates.min_coverage)


@dataclass(frozen=True)
class GvcfOptions:
    """How sites become the blocks of a gVCF.

    base_err       error rate of a read's base
    gq_bin_size    width of a bin of genotype qualities; below 1 is the same as 1 (G8)
    bp_resolution  one line for every site
    Raises ConfigError when base_err is no probability.
    """

    base_err: float = 0.001
    gq_bin_size: int = 5
    bp_resolution: bool = False

    def __post_init__(self):
        if not 0 < self.base_err < 1:
            raise ConfigError(f"--base_err is {self.base_err}; expected an error rate above 0 and below 1")


@dataclass(frozen=True)
class SelectionOptions:
    """Which pileup records are phased or called again, as fractions of their kind.

    var_pct_full     variants of lowest QUAL, for full alignment
    ref_pct_full     reference calls of lowest QUAL, for full alignment; 0: as var_pct_full, but none if genotyping
    var_pct_phasing  heterozygous SNPs of highest QUAL, for phasing; None: nothing is phased
    genotyping       the positions come from --vcf_fn
    Raises ConfigError when a fraction is not in [0, 1].
    """

    var_pct_full: float = Platform.var_pct_full
    ref_pct_full: float = Platform.ref_pct_full
    var_pct_phasing: float | None = Platform.var_pct_phasing
    genotyping: bool = False

    def __post_init__(self):
        for name in ("var_pct_full", "ref_pct_full", "var_pct_phasing"):
            if (fraction := getattr(self, name)) is not None:
                check_range(name, fraction, 0, 1)

    @classmethod
    def for_platform(cls, platform: str) -> "SelectionOptions":
        """Return the defaults of a platform."""
        known = PLATFORMS[platform]
        return cls(known.var_pct_full, known.ref_pct_full, known.var_pct_phasing)


def check_filters(qual: float | None, haploid: str | None) -> None:
    """Raise ConfigError unless qual is None or a number from 0 up, and haploid is None or one of the two modes."""
    if qual is not None and not qual >= 0:
        raise ConfigError(f"--qual is {qual}; expected 0 or more")
    if haploid not in (None, PRECISE, SENSITIVE):
        raise ConfigError(f"haploid mode is {haploid!r}; expected {PRECISE!r}, {SENSITIVE!r} or none")


@dataclass(frozen=True)
class OutputFilter:
    """Which calls are written in the end (spec/calling.md 3.5, 8.3).

    qual             calls of this QUAL or less are LowQual; 0 keeps every PASS
    print_ref_calls  reference calls are written
    haploid          None, PRECISE or SENSITIVE
    """

    qual: float = 2
    print_ref_calls: bool = False
    haploid: str | None = None

    def __post_init__(self):
        check_filters(self.qual, self.haploid)


@dataclass(frozen=True)
class DecodeOptions:
    """What the decoder writes of the network's output, and how (spec/calling.md 3).

    gvcf                calls have PL
    haploid             None, PRECISE or SENSITIVE
    enable_long_indel   insertions and deletions longer than 50 are called
    keep_iupac_bases    letters other than ACGTN stay
    keep_ref_case       bases that are lower case in the FASTA are so in REF and ALT, too, as v2.0.2 writes them
    show_ref            reference calls are written
    qual                divides PASS from LowQual; None passes everything (3.5)
    """

    gvcf: bool = False
    haploid: str | None = None
    enable_long_indel: bool = False
    keep_iupac_bases: bool = False
    keep_ref_case: bool = False
    show_ref: bool = True
    qual: float | None = OutputFilter.qual

    def __post_init__(self):
        check_filters(self.qual, self.haploid)


@dataclass(frozen=True)
class Compute:
    """Where the networks run. Raises ConfigError when the values do not go together.

    device         "cpu", "cuda", "mps", or "auto" until clair3.inference.devices.resolve has looked
    numbers        GPUs of "cuda" by their number among the visible ones; None: all of them
    precision      "fp32", "bf16" or "fp16", or AMP until the device is known
    torch_threads  threads inside one operation of a network on the CPU
    names          models of the GPUs, each once; known after clair3.inference.devices.resolve
    """

    device: str = CPU
    numbers: tuple[int, ...] | None = None
    precision: str = FP32
    torch_threads: int = 1
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.torch_threads < 1:
            raise ConfigError(f"--torch_num_threads={self.torch_threads}; expected a whole number from 1")
        if self.device == CPU and self.precision == AMP:
            object.__setattr__(self, "precision", BF16)
        if self.device == CPU and self.precision == FP16:
            raise ConfigError(
                "--precision=fp16 is for GPUs: a CPU needs ten times as long for it as for fp32; use fp32 or bf16"
            )

    def __str__(self) -> str:
        """As --device takes it: cuda:0,1."""
        return self.device if self.numbers is None else f"{self.device}:{','.join(map(str, self.numbers))}"

    @property
    def identity(self) -> list:
        """What the last digits of a probability may depend on, for the digest of results."""
        threads = self.torch_threads if self.device == CPU else 0
        return [self.device, list(self.names), self.precision, threads]


def parse_device(text: str | None) -> tuple[str, tuple[int, ...] | None]:
    """Return kind and numbers of --device; the CPU when it is not given. Raises ConfigError in v2.0.2's words."""
    if text is None:
        return CPU, None
    if text in DEVICES:
        return text, None
    match = NUMBERED_GPUS.fullmatch(text)
    numbers = tuple(map(int, match.group(1).split(","))) if match else ()
    if not numbers or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"Please specify the device as '--device=cuda:0' or '--device=cuda:0,1', or as {', '.join(DEVICES)}; found "
            f"--device={text}"
        )
    return CUDA, numbers


@dataclass(frozen=True)
class CallingConfig:
    """A calling run. Paths are absolute; None means not given.

    Made by clair3.cli.run.config_from. Raises ConfigError when a value is out of range.
    qual             calls of this QUAL or less are LowQual; 0: none
    chunk_size       most bases of a chunk; min_contig_size in bases too
    ctg_names        contigs asked for by name
    sites            VCF of the positions to genotype
    blocks           how gVCF blocks are cut
    haploid          None, PRECISE or SENSITIVE
    candidates       which columns become candidates; None: the platform's defaults
    selection        what goes from the pileup stage to phasing and full alignment; None: the platform's defaults
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
    qual: int = OutputFilter.qual
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
    keep_ref_case: bool = False
    enable_long_indel: bool = False
    remove_intermediate_dir: bool = False
    candidates: CandidateOptions | None = None
    selection: SelectionOptions | None = None
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
        if not self.sample_name.strip() or not self.sample_name.isprintable():
            raise ConfigError(
                f"--sample_name={self.sample_name!r}: expected a name without tabs, line breaks and other characters "
                "that cannot be printed, which no VCF can hold"
            )
        if self.candidates is None:
            object.__setattr__(self, "candidates", CandidateOptions.for_platform(self.platform))
        if self.selection is None:
            object.__setattr__(self, "selection", SelectionOptions.for_platform(self.platform))

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
            gvcf=self.gvcf,
            enable_long_indel=self.enable_long_indel,
            keep_iupac_bases=self.keep_iupac_bases,
            keep_ref_case=self.keep_ref_case,
        )
