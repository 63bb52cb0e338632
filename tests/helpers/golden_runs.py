"""Runs of Clair3 v2.0.2: their command lines, and the comparison of their files with ours."""

import gzip
import warnings
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "SAMPLE")
PATH_LINES = ("##cmdline=", "##commandline=", "##reference=")
"""Header lines that hold paths, which are those of another machine in the golden files."""

PARITY = Path(__file__).resolve().parents[1] / "data" / "parity"
"""The golden runs of this repository (tests/data/parity/README.md)."""


def _parity_run(reads: str, model: str, *options: str) -> dict:
    """A run on the reads of a platform, in the form that run.json of a golden run has."""
    return {
        "bam": f"reads/{reads}.bam",
        "ref": "reads/ref.fa",
        "model": f"models/{model}",
        "platform": reads,
        "options": ["--include_all_ctgs", *options],
    }


PARITY_RUNS = {
    "ont": _parity_run("ont", "ont", "--gvcf"),
    "hifi": _parity_run("hifi", "hifi", "--gvcf"),
    "ilmn": _parity_run("ilmn", "hifi", "--gvcf"),
    "ont_refcalls": _parity_run("ont", "ont", "--print_ref_calls", "--qual=10"),
    "ont_haploid": _parity_run("ont", "ont", "--haploid_precise", "--enable_long_indel"),
    "hifi_phased": _parity_run("hifi", "hifi", "--use_whatshap_for_final_output_phasing"),
}
"""The runs in PARITY/expected, by folder name; their paths are relative to PARITY."""


def run_arguments(data: Path, run: dict, output: Path, threads: int = 2) -> list[str]:
    """Return the arguments of `clair3 run` for a golden run whose paths are relative to the folder data."""
    options = list(run["options"])
    for i, option in enumerate(options):
        if option.startswith(("--bed_fn=", "--vcf_fn=")):
            name, value = option.split("=", 1)
            options[i] = f"{name}={data / value}"
    return [
        f"--bam_fn={data / run['bam']}",
        f"--ref_fn={data / run['ref']}",
        f"--model_path={data / run['model']}",
        f"--platform={run['platform']}",
        f"--output={output}",
        f"--threads={threads}",
        "--keep_ref_case",  # as v2.0.2 writes them
        *options,
    ]


def read_records(path: Path) -> list[str]:
    """Return the lines of a compressed VCF or gVCF behind its header, without line ends."""
    with gzip.open(path, "rt") as lines:
        return [line.rstrip("\n") for line in lines if not line.startswith("#")]


def read_header(path: Path) -> list[str]:
    """Return the header lines of a compressed VCF or gVCF but for those that hold paths."""
    with gzip.open(path, "rt") as lines:
        header = [line.rstrip("\n") for line in lines if line.startswith("#")]
    return [line for line in header if not line.startswith(PATH_LINES)]


def describe_difference(actual: str | None, expected: str | None) -> str:
    """Name the first field in which two VCF lines differ, and its two values; None is a line that is not there."""
    if actual is None or expected is None:
        return f"record of v2.0.2 is missing: {expected}" if actual is None else f"record is not in v2.0.2: {actual}"
    ours, theirs = actual.split("\t"), expected.split("\t")
    place = f"{theirs[0]}:{theirs[1]}"
    for name, a, b in zip_longest(COLUMNS, ours, theirs, fillvalue=""):
        if name == "SAMPLE":
            for key, x, y in zip_longest(theirs[8].split(":"), a.split(":"), b.split(":"), fillvalue=""):
                if x != y:
                    return f"{place} {key}: {x!r}, v2.0.2 has {y!r}"
        if a != b:
            return f"{place} {name}: {a!r}, v2.0.2 has {b!r}"
    raise AssertionError(f"the lines are equal: {actual}")


def assert_same_header(actual: Path, expected: Path) -> None:
    """Fail at the first header line without paths that is not that of v2.0.2."""
    for ours, theirs in zip_longest(read_header(actual), read_header(expected)):
        assert ours == theirs, f"header line {ours}, v2.0.2 has {theirs}"


def is_rounding(actual: str | None, expected: str | None) -> bool:
    """Whether two VCF lines differ in QUAL alone, and there in no more than the last decimal place."""
    if actual is None or expected is None:
        return False
    ours, theirs = actual.split("\t"), expected.split("\t")
    if ours[:5] + ours[6:] != theirs[:5] + theirs[6:]:
        return False
    return abs(round(100 * float(ours[5])) - round(100 * float(theirs[5]))) <= 1


def with_decided_values(record: str) -> str:
    """Return a record of v2.0.2 with the values that are others here on purpose (docs/differences.md, gVCF and PL).

    The genotype of positions without reads is missing; PL is 0 for the only genotype of a reference call, and that of
    one allele for haploid genotypes.
    """
    contig, pos, name, ref, alt, *columns, keys, sample = record.split("\t")
    values = dict(zip(keys.split(":"), sample.split(":"), strict=True))
    if "PL" not in values:
        return record
    likelihoods = [int(value) for value in values["PL"].split(",")]
    if alt == ".":
        likelihoods = [0]
    elif len(values["GT"]) == 1:
        alleles = alt.count(",") + 2
        likelihoods = [likelihoods[allele * (allele + 1) // 2 + allele] for allele in range(alleles)]
        likelihoods = [value - min(likelihoods) for value in likelihoods]
    if values.get("MIN_DP") == "0":
        values["GT"] = "." if len(values["GT"]) == 1 else "./."
    values["PL"] = ",".join(map(str, likelihoods))
    return "\t".join([contig, pos, name, ref, alt, *columns, keys, ":".join(values.values())])


def decided_records(records: Iterable[str]) -> list[str]:
    """Return records of v2.0.2 as they are here: with_decided_values, and blocks of N side by side as one."""
    decided: list[str] = []
    before = None  # columns of the last record, if it is a block of N
    for record in map(with_decided_values, records):
        fields = record.split("\t")
        if fields[3:5] != ["N", "<NON_REF>"]:
            before = None
        elif before and before[0] == fields[0] and int(before[7].removeprefix("END=")) + 1 == int(fields[1]):
            depth = min(int(columns[9].split(":")[2]) for columns in (before, fields))
            gt, gq, _, likelihoods = before[9].split(":")
            fields = [*before[:7], fields[7], before[8], f"{gt}:{gq}:{depth}:{likelihoods}"]
            decided[-1] = "\t".join(fields)
            before = fields
            continue
        else:
            before = fields
        decided.append(record)
    return decided


def assert_same_records(actual: list[str], expected: list[str], rounding: bool = False) -> None:
    """Fail at the first record that is not that of v2.0.2, and say in which field.

    With rounding, one record in 100 (always one) may have a QUAL that is 0.01 higher or lower, with a warning: the
    networks' last bits are the processor's (PyTorch has other kernels for other instruction sets), and QUAL has two
    decimals. All other fields have to be the same.
    """
    rounded = []
    for ours, theirs in zip_longest(actual, decided_records(expected)):
        if ours == theirs:
            continue
        difference = describe_difference(ours, theirs)
        assert rounding and is_rounding(ours, theirs), difference
        rounded.append(difference)
    assert len(rounded) <= max(1, len(expected) // 100), rounded
    if rounded:
        warnings.warn(f"rounded otherwise on this machine: {'; '.join(rounded)}", stacklevel=2)


def assert_same_file(actual: Path, expected: Path) -> None:
    """Fail where two compressed VCF or gVCF files differ in a record or in a header line without paths."""
    assert_same_records(read_records(actual), read_records(expected), rounding=True)
    assert_same_header(actual, expected)


def assert_same_gvcf(actual: Path, expected: Path, only_ours: list[str], only_theirs: list[str]) -> None:
    """Fail where two gVCF files differ, but for the lines at the places (contig:pos) that only one of them has."""

    def split(path: Path, places: list[str]) -> tuple[list[str], list[str]]:
        records = [(":".join(record.split("\t")[:2]), record) for record in read_records(path)]
        return [text for place, text in records if place not in places], [p for p, _ in records if p in places]

    our_records, our_places = split(actual, only_ours)
    their_records, their_places = split(expected, only_theirs)
    assert_same_records(our_records, their_records, rounding=True)
    assert (our_places, their_places) == (list(only_ours), list(only_theirs))
    assert_same_header(actual, expected)


def assert_same_run(actual: Path, expected: Path) -> None:
    """Fail where the output folder of a run lacks a file of the expected folder, has one more VCF, or one differs."""
    names = sorted(path.name for path in expected.iterdir())
    assert names, f"{expected} is empty"
    assert sorted(path.name for path in actual.glob("*vcf.gz")) == names
    for name in names:
        assert_same_file(actual / name, expected / name)
