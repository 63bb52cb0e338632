"""Every run of v2.0.2: the same records, all columns, and the same header lines."""

import json
from pathlib import Path

import pytest
from golden_runs import (
    assert_same_file,
    assert_same_gvcf,
    assert_same_header,
    assert_same_records,
    read_records,
    run_arguments,
)

from clair3.cli.main import main as clair3

GOLDEN = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
OUTPUTS = ("pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz", "phased_merge_output.vcf.gz")
EARLY = "ont_random"
"""No candidate for full alignment: v2.0.2 leaves the pileup rows unfiltered in the merged VCF (fixed, cli 9.7)."""

COVERED = {
    "ont_chr21": "ont_cram has the same records",
    "ont_chunk100k": "no record depends on --chunk_size: test_whole_pipeline.py, test_same_bytes_on_golden_reads",
    "ilmn_gvcf": "ilmn in test_parity.py is the same contig with --gvcf",
    "ont_print_ref": "ont_refcalls in test_parity.py",
    "ont_haploid_precise": "ont_haploid_precise_phased and real_ecoli_haploid",
    "ont_long_indel": "hifi_long_indel and ont_hot",
}
"""Runs that are not made again, and what shows the same."""

GVCF_DEFECTS = {
    "ont_gvcf": ([], ["chr21:39478"]),
    "deep_hifi": ([], ["chrX:7778"]),
    "hifi_hot": (["chr20:164618", "chr20:257496", "chr21:800", "chr21:947", "chr21:39479"], ["chr21:39478"]),
}
"""Lines of the gVCF that only we have, and that only v2.0.2 has: variants it loses (G2), whole blocks of which only the
right part is left (G3)."""


def runs():
    """Names of the runs that left a pileup VCF."""
    for path in sorted(GOLDEN.glob("golden/runs/*/run.json")):
        if (path.parent / "pileup.vcf.gz").exists():
            yield path.parent.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in runs() if name not in ("ont_pileup_only", "ont_disable_c", *COVERED)]
)
def test_whole_run(name, tmp_path):
    folder = GOLDEN / "golden" / "runs" / name
    run = json.loads((folder / "run.json").read_text())
    clair3(["run", *run_arguments(GOLDEN, run, tmp_path)])
    for output in OUTPUTS:
        if name == EARLY and output == "merge_output.vcf.gz":
            expected = [row for row in read_records(folder / output) if row.split("\t")[4] != "."]
        elif (folder / output).exists():
            expected = read_records(folder / output)
        else:
            assert not (tmp_path / output).exists(), output
            continue
        assert_same_records(read_records(tmp_path / output), expected, rounding=True)
        assert_same_header(tmp_path / output, folder / output)
    if (folder / "merge_output.gvcf.gz").exists():
        assert_same_gvcf(
            tmp_path / "merge_output.gvcf.gz", folder / "merge_output.gvcf.gz", *GVCF_DEFECTS.get(name, ((), ()))
        )


def test_no_contig_is_left(shared_data, tmp_path):
    """v2.0.2 was given a contig that does not exist, which is refused here; so none is long enough."""
    folder = shared_data / "golden" / "runs" / "ont_empty_ctg"
    run = json.loads((folder / "run.json").read_text()) | {"options": ["--min_contig_size=100000000"]}
    clair3(["run", *run_arguments(GOLDEN, run, tmp_path)])
    name = "merge_output.vcf.gz"
    assert read_records(tmp_path / name) == read_records(folder / name) == []
    assert_same_header(tmp_path / name, folder / name)


def test_pileup_only(shared_data, tmp_path):
    folder = shared_data / "golden" / "runs" / "ont_pileup_only"
    clair3(["run", *run_arguments(GOLDEN, json.loads((folder / "run.json").read_text()), tmp_path)])
    assert_same_file(tmp_path / "pileup.vcf.gz", folder / "pileup.vcf.gz")


def test_scripted_pipeline_gives_the_compiled_records(shared_data, tmp_path):
    """--disable_c_impl runs the one engine; v2.0.2's scripted one differs in letter case and in ties (A10, 1.3)."""
    folder = shared_data / "golden" / "runs" / "ont_disable_c"
    run = json.loads((folder / "run.json").read_text())
    for output, more in (("with", []), ("without", ["--disable_c_impl=no"])):
        clair3(["pileup", *run_arguments(GOLDEN, run, tmp_path / output), *more])
    found = read_records(tmp_path / "with" / "pileup.vcf.gz")
    assert found == read_records(tmp_path / "without" / "pileup.vcf.gz")
    scripted = read_records(folder / "pileup.vcf.gz")
    assert_same_header(tmp_path / "with" / "pileup.vcf.gz", folder / "pileup.vcf.gz")
    different = [(a, b) for a, b in zip(found, scripted, strict=True) if a.upper() != b.upper()]
    for ours, theirs in different:  # the same site, decided otherwise between equally supported alleles
        a, b = ours.split("\t"), theirs.split("\t")
        assert a[:2] == b[:2] and a[9].split(":")[2] == b[9].split(":")[2]
        assert sorted(a[9].split(":")[3].split(",")) == sorted(b[9].split(":")[3].split(","))


def test_every_run_is_here(shared_data):
    others = {path.parent.name for path in GOLDEN.glob("golden/runs/*/run.json")} - set(runs())
    assert len(list(runs())) >= 46 and others == {"ont_empty_ctg"} and set(COVERED) <= set(runs())


@pytest.mark.parametrize(
    "crop", [folder.name for folder in sorted(GOLDEN.glob("golden/diff/*")) if (folder / "expected").is_dir()]
)
def test_crops_of_new_genomes(crop, tmp_path):
    """Illumina: places where four rules that had been stated wrongly gave other records (D.4, D.5.6, C.13.9)."""
    folder = GOLDEN / "golden" / "diff" / crop
    options = ["--ctg_name=chr20", "--var_pct_full=1", "--ref_pct_full=1"]
    run = {"bam": folder / "reads.bam", "ref": folder / "ref.fa", "model": "models/hifi_sim", "platform": "ilmn"}
    clair3(["run", *run_arguments(GOLDEN, run | {"options": options}, tmp_path, threads=1)])
    for name in ("pileup", "full_alignment", "merge_output"):
        lines = (folder / "expected" / f"{name}.vcf").read_text().splitlines()
        expected = [line for line in lines if not line.startswith("#")]
        assert_same_records(read_records(tmp_path / f"{name}.vcf.gz"), expected, rounding=True)
