"""The records of Clair3 v2.0.2, for everyone: each run in tests/data/parity, every file, every field, and the headers.

The data is part of the repository, so nothing here skips: without it these tests fail. Runs of more kinds of reads and
options are in test_golden_runs.py, for who has their data.
"""

import gzip
import shutil

import pytest
import torch
from golden_runs import (
    PARITY,
    PARITY_RUNS,
    assert_same_records,
    assert_same_run,
    decided_records,
    read_records,
    run_arguments,
    with_decided_values,
)

from clair3.cli.main import main as clair3
from clair3.util import process

EXPECTED = PARITY / "expected"


@pytest.fixture
def four_processors(monkeypatch):
    """Let a run have up to four threads whatever the machine has."""
    monkeypatch.setattr(process, "cpu_count", lambda: 4)


@pytest.mark.parametrize(
    "name, threads", [*((name, 2) for name in PARITY_RUNS), ("ont", 1), ("ont", 3), ("ilmn", 1), ("ilmn", 3)]
)
def test_run(four_processors, tmp_path, name, threads):
    clair3(["run", *run_arguments(PARITY, PARITY_RUNS[name], tmp_path, threads)])
    assert_same_run(tmp_path, EXPECTED / name)


def test_every_run_is_compared():
    assert {path.name for path in EXPECTED.iterdir()} == set(PARITY_RUNS)


def test_the_command_lines_are_those_of_the_headers():
    """v2.0.2 wrote the options that it was given into each header."""
    for name, run in PARITY_RUNS.items():
        with gzip.open(EXPECTED / name / "merge_output.vcf.gz", "rt") as lines:
            [written] = [line.split()[1:] for line in lines if line.startswith("##cmdline=")]
        given = [
            f"--bam_fn={run['bam']}",
            f"--ref_fn={run['ref']}",
            f"--model_path={run['model']}",
            f"--platform={run['platform']}",
            "--threads=2",
            "--output=OUT",
            *run["options"],
        ]
        assert sorted(written) == sorted(given), name


def test_the_runs_hold_what_they_compare():
    """Variants of both networks, reference calls, phased, haploid and multi-allelic genotypes, and gVCF blocks."""

    def records(run: str, file: str = "merge_output.vcf.gz") -> list[list[str]]:
        return [record.split("\t") for record in read_records(EXPECTED / run / file)]

    for name in PARITY_RUNS:
        assert {"P", "F"} == {record[7] for record in records(name)}, name
    assert sum(record[6] == "RefCall" for record in records("ont_refcalls")) > 300
    assert sum("|" in record[9][:3] for record in records("hifi_phased", "phased_merge_output.vcf.gz")) > 20
    assert {record[9].split(":")[0] for record in records("ont_haploid")} == {"1"}
    assert all(any("," in record[4] for record in records(name)) for name in ("hifi", "ilmn"))
    for name in ("ont", "hifi", "ilmn"):
        assert sum(record[4] == "<NON_REF>" for record in records(name, "merge_output.gvcf.gz")) > 2000


# --- the comparison can fail -------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """A copy of the files that v2.0.2 wrote for `hifi`, with the values that are others here."""
    folder = shutil.copytree(EXPECTED / "hifi", tmp_path / "hifi")
    for path in folder.iterdir():
        rewrite(path, lambda lines: [line if line.startswith("#") else with_decided_values(line) for line in lines])
    return folder


def rewrite(path, change) -> None:
    """Replace the lines of a compressed file by what change makes of their list."""
    lines = change(gzip.decompress(path.read_bytes()).decode().splitlines())
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


def change_field(column: int, value: str, part: int | None = None):
    """A change of the last record: a column, or one of its parts between colons, gets another value."""

    def change(lines: list[str]) -> list[str]:
        fields = lines[-1].split("\t")
        if part is None:
            fields[column] = value
        else:
            parts = fields[column].split(":")
            parts[part] = value
            fields[column] = ":".join(parts)
        return [*lines[:-1], "\t".join(fields)]

    return change


CHANGES = [
    *((change_field(column, "0"), name) for column, name in enumerate(("CHROM", "POS", "ID", "REF", "ALT", "QUAL"))),
    *((change_field(column, "0"), name) for column, name in enumerate(("FILTER", "INFO", "FORMAT"), 6)),
    *((change_field(9, "7", part), name) for part, name in enumerate(("GT", "GQ", "DP", "AD", "AF"))),
    (lambda lines: lines[:-1], "record of v2.0.2 is missing"),
    (lambda lines: [*lines, lines[-1]], "record is not in v2.0.2"),
    (lambda lines: [line for line in lines if "ID=LowQual" not in line], "LowQual"),
    (lambda lines: [lines[0], "##more=1", *lines[1:]], "##more"),
]


@pytest.mark.parametrize("change, message", CHANGES, ids=[message for _, message in CHANGES])
@pytest.mark.parametrize("file", ["merge_output.vcf.gz", "full_alignment.vcf.gz"])
def test_a_changed_line_is_refused(copied, change, message, file):
    assert_same_run(copied, EXPECTED / "hifi")
    rewrite(copied / file, change)
    with pytest.raises(AssertionError, match=message):
        assert_same_run(copied, EXPECTED / "hifi")


def test_a_changed_gvcf_block_is_refused(copied):
    rewrite(copied / "merge_output.gvcf.gz", change_field(9, "0,0,1", 3))
    with pytest.raises(AssertionError, match=r"scaffold_1:\d+ PL: '0,0,1', v2.0.2 has"):
        assert_same_run(copied, EXPECTED / "hifi")


def test_a_missing_or_further_file_is_refused(copied):
    shutil.copy(copied / "pileup.vcf.gz", copied / "phased_merge_output.vcf.gz")
    with pytest.raises(AssertionError):
        assert_same_run(copied, EXPECTED / "hifi")
    (copied / "phased_merge_output.vcf.gz").unlink()
    (copied / "pileup.vcf.gz").unlink()
    with pytest.raises(AssertionError):
        assert_same_run(copied, EXPECTED / "hifi")


def test_only_the_last_digit_of_a_quality_may_be_rounded_otherwise(copied):
    """One record in a hundred may have a QUAL 0.01 off, as processors without AVX2 give it, and nothing else."""
    original = decided_records(read_records(EXPECTED / "hifi" / "pileup.vcf.gz"))

    def shifted(count: int, by: int, **others) -> list[str]:
        records = [record.split("\t") for record in original]
        for fields in records[:count]:
            fields[5] = f"{(round(100 * float(fields[5])) + by) / 100:.2f}"
            fields[7] = others.get("info", fields[7])
        return ["\t".join(fields) for fields in records]

    with pytest.warns(UserWarning, match="rounded otherwise .* QUAL"):
        assert_same_records(shifted(2, 1), original, rounding=True)
    for other in (shifted(3, 1), shifted(1, 2), shifted(1, 1, info="X"), original[:-1]):
        with pytest.raises(AssertionError):
            assert_same_records(other, original, rounding=True)
    with pytest.raises(AssertionError, match="QUAL"):
        assert_same_records(shifted(1, 1), original)


@pytest.mark.parametrize("factor", [1, 1.01])
def test_a_changed_weight_is_refused(tmp_path, factor):
    """One percent more on the weights of a layer gives other qualities; the same with no change gives the same."""
    model = shutil.copytree(PARITY / "models" / "hifi", tmp_path / "model")
    weights = torch.load(model / "pileup.pt", weights_only=True)
    name = [name for name, value in weights.items() if value.ndim == 2][-1]
    weights[name] = weights[name] * factor
    torch.save(weights, model / "pileup.pt")
    run = PARITY_RUNS["hifi_phased"] | {"model": model, "options": ["--ctg_name=chr22"]}
    clair3(["run", *run_arguments(PARITY, run, tmp_path / "out")])
    actual, all_contigs = (
        read_records(folder / "pileup.vcf.gz") for folder in (tmp_path / "out", EXPECTED / "hifi_phased")
    )
    expected = [record for record in all_contigs if record.startswith("chr22\t")]
    if factor == 1:
        assert_same_records(actual, expected, rounding=True)
        assert expected
    else:
        with pytest.raises(AssertionError, match="chr22:.* QUAL"):
            assert_same_records(actual, expected, rounding=True)
