"""Golden full-alignment features of v2.0.2 (native engine), asked of the slow reference."""

import json
from dataclasses import replace

import full_alignment_reference as reference
import numpy as np
import pysam
import pytest
from full_alignment_reference import reference_full_alignment
from haplotag_reference import read_phased_snps
from pileup_reference import Read
from random_full_alignment import DEFAULTS
from random_reads import read_bam


@pytest.fixture
def align():
    """align(ref, reads, candidates, **options) by the slow reference."""

    def run(ref, reads, candidates, **options):
        return reference_full_alignment(ref, reads, candidates, **(DEFAULTS | options))

    return run


def test_golden_key_orders(align, shared_data):  # B.7
    lines = (shared_data / "golden/altinfo_key_order_cases.jsonl").read_text().splitlines()
    assert lines
    for case in map(json.loads, lines):
        reads = [Read(20, f"1M{len(word)}I", "C" + word) for word in case["insertions_read_order"]]
        reads += [Read(20, f"1M{length}D", "C") for length in case["deletion_lengths_read_order"]]
        reads = [replace(read, name=f"r{i}") for i, read in enumerate(reads)]
        text = align("C" * 200, reads, [20], max_indel_length=100).alt_info[0]
        keys = text.split("-")[1].split()[::2]
        assert [key[2:] for key in keys if key[0] == "I"] == case["full_alignment_insertion_order"]
        assert [len(key) - 1 for key in keys if key[0] == "D"] == case["full_alignment_deletion_lengths"]


SIM = ("sim/small/ref.fa", "sim/deep/ref.fa")
GOLDEN = [
    # name, candidates where not of that name, BAM, reference, contig, run whose phasing is used
    ("ont_full_alignment", None, "sim/small/ont.bam", SIM[0], "chr20", "ont_default"),
    ("ont_full_alignment_all", None, "sim/small/ont.bam", SIM[0], "chr20", "ont_default"),
    ("ont_full_alignment_nophase", "ont_full_alignment", "sim/small/ont.bam", SIM[0], "chr20", None),
    ("hifi_full_alignment", None, "sim/small/hifi.bam", SIM[0], "chr20", "hifi_default"),
    ("hifi_full_alignment_all", None, "sim/small/hifi.bam", SIM[0], "chr20", "hifi_default"),
    ("hifi_full_alignment_nophase", "hifi_full_alignment", "sim/small/hifi.bam", SIM[0], "chr20", None),
    *(
        (f"deep_{platform}_{contig}_{which}", None, f"sim/deep/{platform}.bam", SIM[1], contig, f"deep_{platform}")
        for platform in ("ont", "hifi")
        for contig in ("chr21", "chr22", "chrX")
        for which in ("full_alignment", "full_alignment_all")
    ),
    *(
        (
            f"dwell_hac5_full_alignment{suffix}",
            "dwell_hac5_full_alignment",
            "real/hg002_ont_r104_hac5_chr20_5.00M/reads.bam",
            "real/ref_chr20_0-10M.fa.gz",
            "chr20",
            run,
        )
        for suffix, run in (("", "real_ont_hac5_dwell"), ("_nophase", None))
    ),
]
"""All golden full-alignment tensors but the Illumina ones, which another engine made."""

QUICK = {"ont_full_alignment", "hifi_full_alignment", "dwell_hac5_full_alignment", "deep_hifi_chr21_full_alignment_all"}


def golden_case(row):
    name = row[0]
    quick = name in QUICK or (name.startswith("deep_") and not name.endswith("_all"))
    return pytest.param(*row, id=name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("name, candidates, bam, fasta, contig, run", [golden_case(row) for row in GOLDEN])
def test_golden_tensors(align, shared_data, name, candidates, bam, fasta, contig, run):
    tensors = shared_data / "golden" / "tensors"
    golden = np.load(tensors / f"{name}.npz")
    with pysam.FastaFile(str(shared_data / fasta)) as file:
        ref = file.fetch(contig)
    candidates = reference.read_candidates(tensors / f"{candidates or name}.bed", contig)
    assert [pos + 1 for pos in candidates] == golden["position"].tolist()
    phased = shared_data / f"golden/runs/{run}/stages/phase_vcf/phased_{contig}.vcf.gz"
    options = {
        "snps": read_phased_snps(phased, contig) if run else None,
        "rows": golden["tensor"].shape[1],
        "dwell": golden["tensor"].shape[3] == 9,
    }
    result = align(ref, read_bam(shared_data / bam, contig, qualities=True), candidates, **options)
    assert result.alt_info == golden["alt_info"].tolist()
    np.testing.assert_array_equal(result.tensors, golden["tensor"])
