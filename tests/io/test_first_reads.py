"""What the first reads tell: another platform, tags that are not used, why none of them counts."""

import pysam
import pytest
from tiny_genome import write_fasta, write_reads

from clair3.io.first_reads import warn_of_linked_reads, warn_of_long_reads, warn_of_uncounted_reads
from clair3.io.inputs import check_inputs

PLACES = [("chr1", 10), ("chr1", 30), ("chr2", 5)]


def changed(folder, change):
    """A BAM of three reads, each changed, and what a run knows of it."""
    plain, path = write_reads(folder / "plain.bam", PLACES), folder / "reads.bam"
    with pysam.AlignmentFile(str(plain)) as source, pysam.AlignmentFile(str(path), "wb", template=source) as target:
        for number, read in enumerate(source):
            change(number, read)
            target.write(read)
    pysam.index(str(path))
    return check_inputs(path, write_fasta(folder / "ref.fa"))


def flag(value):
    def change(number, read):
        read.flag = value

    return change


def weak(number, read):
    read.mapping_quality = 3 + number


def bare(number, read):
    read.query_sequence = None


PAIRS, MARKED, WEAK = "3 not in proper pairs", "3 duplicates or failed in quality checks", "below 20 (--min_mq)"


@pytest.mark.parametrize(
    "change, short_reads, reasons",
    [
        (flag(0), True, None),
        (flag(0x3), True, None),
        (flag(0x1), True, PAIRS),
        (flag(0x1), False, None),
        (flag(0x8), True, PAIRS),
        (flag(0x400), True, None),
        (flag(0x400), False, MARKED),
        (flag(0x200), False, MARKED),
        (flag(0x900), False, "3 unmapped, secondary or supplementary"),
        (weak, False, f"3 of mapping quality {WEAK}"),
        (bare, True, "3 without bases"),
        (lambda number, read: number and bare(number, read), True, None),
        (lambda number, read: (weak if number else flag(0x1))(number, read), True,
         f"2 of mapping quality {WEAK}, 1 not in proper pairs"),
    ],
)  # fmt: skip
def test_reads_that_do_not_count(change, short_reads, reasons, tmp_path, caplog):
    found = changed(tmp_path, change)
    caplog.clear()
    warn_of_uncounted_reads(found.alignments, found.reference, found.contigs, 20, short_reads)
    expected = [f"{tmp_path / 'reads.bam'}: none of the first 3 reads counts: {reasons}"] if reasons else []
    assert [record.getMessage() for record in caplog.records] == expected


@pytest.mark.parametrize("lengths, warned", [((1001, 150, 2000), True), ((1000, 150, 2000), False), ((0, 0, 0), False)])
def test_long_reads(lengths, warned, tmp_path, caplog):
    def change(number, read):
        read.query_sequence = "A" * lengths[number] or None
        read.cigarstring = f"10M{lengths[number] - 10}S" if lengths[number] else "10M"

    found = changed(tmp_path, change)
    caplog.clear()
    warn_of_long_reads(found.alignments, found.reference)
    text = (
        f"{tmp_path / 'reads.bam'}: half of the first reads have 1001 bases or more; --platform=ilmn is for short reads"
    )
    assert [record.getMessage() for record in caplog.records] == ([text] if warned else [])


def test_linked_reads(tmp_path, caplog):
    for name, tag in (("none", "RX"), ("linked", "BX")):
        (tmp_path / name).mkdir()
        found = changed(tmp_path / name, lambda number, read, tag=tag: read.set_tag(tag, "A1" if number else None))
        caplog.clear()
        warn_of_linked_reads(found.alignments, found.reference)
        assert [record.getMessage().split(";")[0] for record in caplog.records] == (
            [f"{found.alignments.path}: linked reads (tag BX)"] if tag == "BX" else []
        )
