"""Whole streams of realigned reads: against the slow reference, on simulated reads with truth, and by the command."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pysam
import pytest
import realignment_reference as reference
from golden_runs import PARITY
from hypothesis import given, settings
from hypothesis import strategies as st
from random_short_reads import (
    CONTIG,
    LENGTH,
    Sample,
    make_late_insertion_sample,
    make_rare_insertion_sample,
    make_repeat_sample,
    make_sample,
    write_bam,
)

from clair3 import core
from clair3.cli.main import main
from clair3.config import ReadFeatureOptions
from clair3.core.short_reads import write_realigned
from clair3.errors import ClairError
from clair3.features.full_alignment import iter_realigned
from clair3.io.fasta import read_reference
from clair3.legacy.realign_reads import realign_reads, requested_region
from clair3.records import Region

ROOT = Path(__file__).resolve().parents[2]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&()*+./:;<=>?[]^`{|}~"


def name_of(number: int) -> str:
    return "".join(DIGITS[number // 87**k % 87] for k in (4, 3, 2, 1, 0))


def read_sam(path: Path) -> list[pysam.AlignedSegment]:
    with pysam.AlignmentFile(str(path)) as file:
        return list(file)


def realigned(sample, region: Region, intervals=None) -> list[pysam.AlignedSegment]:
    """What the core makes of a sample."""
    path = sample.bam.with_name("realigned.sam")
    with core.Source(sample.bam, sample.fasta) as source:
        write_realigned(source, region, intervals, path, sam=True)
    return read_sam(path)


def expected(sample, region: Region, intervals=None) -> list[reference.Read]:
    """What the reference makes of it."""
    taken = []
    for read in sample.reads:
        end = read.start + sum(length for length, op in read.cigar if op in "M=XDN")
        inside = intervals is None or any(a < end and read.start < b for a, b in intervals)
        if read.mapq >= 5 and inside and read.start < region.end + 1000 and end > region.start - 1000:
            read.order, read.best = len(taken), None
            taken.append(read)
    offset = max(0, region.start - 5000)
    return reference.realign(taken, sample.reference[offset : region.end + 5000], offset)


def agree(sample, region: Region, intervals=None) -> list[reference.Read]:
    found, known = realigned(sample, region, intervals), expected(sample, region, intervals)
    rows = [(r.query_name, r.reference_start, r.cigarstring, r.query_sequence, r.mapping_quality) for r in found]
    assert rows == [(name_of(r.order), r.place, reference.text(r.best or r.cigar), r.letters, r.mapq) for r in known]
    return known


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_agrees_with_the_reference(tmp_path_factory, seed):
    """The whole contig, or a part of it with intervals, as the options of a run cut it."""
    sample, rng = make_sample(seed, tmp_path_factory.mktemp("sample")), random.Random(seed)
    agree(sample, Region(CONTIG, 0, LENGTH))
    start = rng.randrange(LENGTH - 1000)
    agree(sample, Region(CONTIG, start, rng.randint(start + 500, LENGTH)))
    cuts = sorted(rng.sample(range(LENGTH), 6))
    intervals = np.array(cuts).reshape(-1, 2)
    agree(sample, Region(CONTIG, cuts[0], cuts[-1]), intervals)


@pytest.mark.parametrize("seed", range(8))
def test_reads_between_two_windows(tmp_path, seed):
    """A read that belongs to the next window brings nothing into the graph of this one (D.4)."""
    agree(make_rare_insertion_sample(seed, tmp_path / "sample"), Region(CONTIG, 0, LENGTH))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_agrees_on_repeats(tmp_path, seed):
    """Windows close to each other, reads over two of them, alleles of two or three reads (spec/features.md D.4)."""
    agree(make_repeat_sample(seed, tmp_path), Region(CONTIG, 0, LENGTH))


def test_skips_and_pads_are_taken(tmp_path):
    """Reads with N or P in their CIGAR are realigned with the others, and candidates are found in them."""
    sample = make_rare_insertion_sample(0, tmp_path / "sample")
    start = 330
    letters = {end: sample.reference[start:430] + sample.reference[end : end + 50] for end in (430, 630)}
    for cigar, end in (([(100, "M"), (2, "P"), (50, "M")], 430), ([(100, "M"), (200, "N"), (50, "M")], 630)):
        sample.reads.append(reference.Read(start, cigar, letters[end], [40] * 150))
    sample.reads.sort(key=lambda read: read.start)
    write_bam(random.Random(0), sample.bam, sample.reads)
    known = agree(sample, Region(CONTIG, 0, LENGTH))
    assert {"100M2P50M", "100M200N50M"} <= {reference.text(read.cigar) for read in known}
    with core.Source(sample.bam, sample.fasta) as source:
        found = list(iter_realigned(source, CONTIG, np.array([400]), ReadFeatureOptions(55, 5, min_coverage=2)))
    assert 400 in np.concatenate([batch.pos for batch in found])


@pytest.mark.parametrize("seed", [2, 11])
def test_the_graph_is_made_of_all_reads(tmp_path, seed):
    """Also of those behind the first thousand, which are not realigned (D.4, D.5); in these samples it matters."""
    known = agree(make_late_insertion_sample(seed, tmp_path), Region(CONTIG, 0, LENGTH))
    assert any("S" in reference.text(read.cigar) and "I" in reference.text(read.best or []) for read in known)


CROPS = ("01-graph-reads", "02-clip-beside-gap", "03-pieces-of-cigar", "04-first-columns", "05-pass-or-lowqual")
CROPS += ("06-deletion-missed", "07-genotype-changes")


@pytest.mark.parametrize("crop", CROPS)
def test_crops_of_new_genomes(shared_data, tmp_path, crop):
    """Reads of v2.0.2, which a rule that was stated wrongly once put elsewhere (D.4, D.5.6)."""
    folder = shared_data / "golden" / "diff" / crop
    realign_reads(folder / "reads.bam", folder / "ref.fa", "chr20", tmp_path / "realigned.bam")
    with pysam.AlignmentFile(str(tmp_path / "realigned.bam")) as reads:
        found = sorted(read.to_string().split("\t")[:9] for read in reads)
    lines = (folder / "expected" / "realigned.sam").read_text().splitlines()
    assert found == sorted(line.split("\t")[:9] for line in lines if not line.startswith("@"))


def test_the_random_samples_are_worth_it(tmp_path):
    """Reads are realigned, moved, and get insertions and deletions that they did not show before."""
    seen = Counter()
    for seed in (8, 14):
        sample = make_sample(seed, tmp_path / str(seed))
        for read in agree(sample, Region(CONTIG, 0, LENGTH)):
            seen["reads"] += 1
            if read.best is not None:
                new = reference.text(read.best)
                seen["changed"] += 1
                seen["moved"] += read.best_start != read.start
                seen.update(op for op in "ID" if op in new and op not in reference.text(read.cigar))
    assert seen["changed"] > seen["reads"] / 20 and min(seen[key] for key in ("moved", "I", "D")) > 3, seen


# ---- simulated reads -------------------------------------------------------------------------------------------------


PART = (60_000, 140_000)


def test_realigned_reads_show_the_true_indels(shared_data, tmp_path):
    """More reads show a true indel as the truth spells it, hardly any stops doing so, and no read loses a base."""
    folder = shared_data / "sim" / "small"
    before = folder / "ilmn.bam"
    after = tmp_path / "realigned.bam"
    realign_reads(before, folder / "ref.fa", "chr20", after, *PART)
    with pysam.VariantFile(str(folder / "truth.vcf.gz")) as truth:
        indels = {
            (record.pos, len(alt) - len(record.ref))
            for record in truth.fetch("chr20", *PART)
            for alt in record.alts
            if len(alt) != len(record.ref) and alt[0] == record.ref[0]
        }
    shown = [Counter(indel for read in fetched(path) for indel in indels_of(read)) for path in (before, after)]
    reads = [sum(count[indel] for indel in indels) for count in shown]
    assert len(indels) > 15 and reads[1] > reads[0]
    assert sum(shown[1][indel] < shown[0][indel] for indel in indels) <= len(indels) / 20


def fetched(path: Path) -> list[pysam.AlignedSegment]:
    with pysam.AlignmentFile(str(path)) as file:
        return [read for read in file.fetch("chr20", *PART) if read.mapping_quality >= 5 and not read.is_supplementary]


def indels_of(read: pysam.AlignedSegment):
    """(1-based position of the base before it, bases more than the reference) of each indel."""
    pos = read.reference_start
    for op, length in read.cigartuples:
        if op in (1, 2):
            yield pos, length if op == 1 else -length
        pos += length if op in (0, 2, 3, 7, 8) else 0


def test_invariants_on_simulated_reads(tmp_path):
    """Sorted; names in use once; sequences, qualities and flags are those of the file; CIGARs fit; TLEN is PNEXT."""
    folder = PARITY / "reads"
    after = tmp_path / "realigned.bam"
    realign_reads(folder / "ilmn.bam", folder / "ref.fa", "chr21", after)
    with pysam.AlignmentFile(str(folder / "ilmn.bam")) as file:
        length = file.get_reference_length("chr21")
        given_reads = [read for read in file.fetch("chr21") if read.mapping_quality >= 5]
    found = list(pysam.AlignmentFile(str(after)).fetch("chr21"))
    starts = [read.reference_start for read in found]
    assert starts == sorted(starts)
    assert len({read.query_name for read in found}) == len(found) > 0.98 * len(given_reads)
    by_name = {name_of(i): read for i, read in enumerate(given_reads)}
    for read in found:
        old = by_name[read.query_name]
        assert (read.query_sequence, read.flag, read.mapping_quality) == (
            *(old.query_sequence, old.flag, old.mapping_quality),
        )
        assert list(read.query_qualities) == list(old.query_qualities)
        assert read.infer_query_length() == len(read.query_sequence)
        assert 0 <= read.reference_start and read.reference_end <= length
        assert abs(read.reference_start - old.reference_start) < 300
        assert (read.next_reference_id, read.next_reference_start) == (old.next_reference_id, old.next_reference_start)
        assert read.template_length == old.next_reference_start + 1


def test_deep_reads(shared_data, tmp_path):
    """280 reads at each base: the first 1000 of a window are realigned, the others stay."""
    folder = shared_data / "sim" / "deep"
    realign_reads(folder / "ilmn.bam", folder / "ref.fa", "chr22", tmp_path / "realigned.bam")
    found = list(pysam.AlignmentFile(str(tmp_path / "realigned.bam")))
    with pysam.AlignmentFile(str(folder / "ilmn.bam")) as file:
        assert len(found) >= 0.98 * sum(read.mapping_quality >= 5 for read in file.fetch("chr22"))


# ---- odd reads -------------------------------------------------------------------------------------------------------


def with_changes(folder: Path, *changes: dict) -> Sample:
    """A sample some of whose records, every fifth, get other fields."""
    sample = make_sample(3, folder)
    rewritten = folder / "odd.bam"
    with pysam.AlignmentFile(str(sample.bam)) as file, pysam.AlignmentFile(str(rewritten), "wb", template=file) as out:
        records = list(file)
        for i, change in enumerate(changes):
            record = records[5 * i]
            for field, value in change.items():
                setattr(record, field, value)
        for record in records:
            out.write(record)
    pysam.index(str(rewritten))
    sample.bam = rewritten
    return sample


def test_odd_records_are_left_out_or_stay(tmp_path):
    """No bases (secondary records), no CIGAR, no qualities, and a read longer than all margins (B17)."""
    long_read = {"query_sequence": "ACGT" * 2500, "cigarstring": "10000M", "query_qualities": [40] * 10_000}
    without = {"query_sequence": None, "cigarstring": "30M", "flag": 256, "mapping_quality": 60}
    sample = with_changes(
        tmp_path / "odd",
        without,
        {"cigarstring": None, "flag": 4, "mapping_quality": 60},
        {"query_qualities": None, "mapping_quality": 60},
        long_read | {"mapping_quality": 60},
    )
    found = realigned(sample, Region(CONTIG, 0, LENGTH))
    assert Counter(len(read.query_sequence) for read in found)[10_000] == 1
    assert all(read.query_sequence and read.cigarstring for read in found)
    assert sum(read.query_qualities is None for read in found) == 1


def test_haplotype_tags_keep_their_first_digit(tmp_path):
    sample = make_sample(1, tmp_path / "tags")
    found = realigned(sample, Region(CONTIG, 0, LENGTH))
    assert {read.get_tag("HP") if read.has_tag("HP") else None for read in found} == {None, 1, 2, 3}


@pytest.mark.parametrize("seed, start, deleted", [(17, 905, 6000), (38, 920, 10_200)])
def test_long_deletions_are_evidence_to_their_end(tmp_path, seed, start, deleted):
    """Under two of them, chunks further on too, windows are longer than 1000 and left alone (D.3)."""
    sample, under = make_sample(seed, tmp_path / "long"), range(start + 50, start + 50 + deleted)
    plain = sum(read.best is not None and read.start in under for read in agree(sample, Region(CONTIG, 0, LENGTH)))
    letters = sample.reference[start : start + 50] + sample.reference[under.stop : under.stop + 50]
    at = sum(read.start <= start for read in sample.reads)
    cigar = [(50, "M"), (deleted, "D"), (50, "M")]
    sample.reads[at:at] = [reference.Read(start, cigar, letters, [40] * 100) for _ in range(2)]
    write_bam(random.Random(0), sample.bam, sample.reads)
    found = agree(sample, Region(CONTIG, 0, LENGTH))
    assert plain > 20
    assert not any(read.best is not None and read.start in under for read in found)


# ---- memory ----------------------------------------------------------------------------------------------------------


PEAK = """
import sys
from pathlib import Path
import numpy as np
from clair3 import core
from clair3.core.short_reads import write_realigned
from clair3.core.short_reads import iter_short_reads
from clair3.config import ReadFeatureOptions
from clair3.features.full_alignment import realignment_bins
from clair3.records import Region

bam, fasta, stream, *places = sys.argv[1:]

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

def realign(pos):
    bins = realignment_bins(np.array(pos, np.int64))
    if stream == "features":
        rule = ReadFeatureOptions(55, haplotype_tags=True, min_coverage=2)
        return sum(len(part) for part in iter_short_reads(source, "chr1", bins, rule))
    write_realigned(source, Region("chr1", pos[0], pos[-1] + 1), bins, Path(bam).with_name("realigned.bam"))
    return len(pos)

pos = [int(place) for place in places]
with core.Source(bam, fasta) as source:
    realign(pos[:1])
    before = peak()
    assert realign(pos) >= len(pos)
    print(peak() - before)
"""
"""Prints by how many bytes many places of a contig take more memory than one."""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizers hold freed memory back")
@pytest.mark.parametrize("stream", ["features", "file"])
def test_far_apart_places_keep_memory_flat(tmp_path, stream):
    """No letters are held of what lies between the places, no evidence of what lies under a deletion of 34 Mb."""
    rng, fasta, bam = random.Random(1), tmp_path / "ref.fa", tmp_path / "reads.bam"
    block = "".join(rng.choices("ACGT", k=50_000))
    length, places = 800 * len(block), [k * 2_000_000 + 1_000 for k in range(20)]
    fasta.write_text(">chr1\n" + block * 800 + "\n")
    pysam.faidx(str(fasta))
    header = pysam.AlignmentHeader.from_references(["chr1"], [length])
    with pysam.AlignmentFile(str(bam), "wb", header=header) as out:
        for place in places:
            for k in range(8):
                start = place - 60 + 5 * k
                letters = (block * 2)[start % len(block) :][:100]
                at = place - start
                letters = letters[:at] + {"A": "C", "C": "G", "G": "T", "T": "A"}[letters[at]] + letters[at + 1 :]
                cigar = "50M34000000D50M" if stream == "file" and place == places[0] and k == 7 else "100M"
                fields = {"name": f"{place}_{k}", "flag": "0", "ref_name": "chr1", "ref_pos": str(start + 1)}
                fields |= {"map_quality": "60", "cigar": cigar, "next_ref_name": "*", "next_ref_pos": "0"}
                fields |= {"length": "0", "seq": letters, "qual": "I" * 100, "tags": []}
                out.write(pysam.AlignedSegment.from_dict(fields, header))
    pysam.index(str(bam))
    command = [sys.executable, "-c", PEAK, str(bam), str(fasta), stream, *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 12_000_000


# ---- the command --------------------------------------------------------------------------------------------------


def test_command_writes_an_indexed_bam_and_sam_text(tmp_path, capfd):
    folder = PARITY / "reads"
    options = [f"--bam_fn={folder / 'ilmn.bam'}", f"--ref_fn={folder / 'ref.fa'}", "--ctgName=chr21"]
    part = ["--ctgStart=5001", "--ctgEnd=9000"]
    main(["RealignReads", *options, *part, f"--read_fn={tmp_path / 'part.bam'}"])
    capfd.readouterr()
    main(["RealignReads", *options, *part])
    sam = capfd.readouterr().out
    (tmp_path / "part.sam").write_text(sam)
    with pysam.AlignmentFile(str(tmp_path / "part.bam")) as file:
        assert file.header.to_dict()["SQ"] and file.has_index()
        rows = [read.to_string() for read in file.fetch("chr21")]
    assert rows == [read.to_string() for read in read_sam(tmp_path / "part.sam")] and len(rows) > 500
    assert all(read.reference_start < 10_000 and read.reference_end > 4_000 for read in read_sam(tmp_path / "part.sam"))


def test_command_takes_the_reads_of_candidates(tmp_path):
    folder, regions = PARITY / "reads", tmp_path / "candidates"
    regions.write_text("chr20\t5\t39\nchr21\t8000\t8034\nchr21\t5000\t5034\n")
    files = folder / "ilmn.bam", folder / "ref.fa"
    assert requested_region(read_reference(files[1]), "chr21", None, None, regions)[0] == Region(
        "chr21", 5000, 8035
    )  # A.10
    realign_reads(*files, "chr21", tmp_path / "some.bam", candidates=regions)
    found = list(pysam.AlignmentFile(str(tmp_path / "some.bam")))
    assert found and len(found) < 200
    for read in found:  # where they lay before is hardly anywhere else
        assert any(
            read.reference_start < end + 10 and read.reference_end > start - 10
            for start, end in ((8000, 8034), (5000, 5034))
        )
    realign_reads(*files, "chr22", tmp_path / "none.bam", candidates=regions)
    assert not list(pysam.AlignmentFile(str(tmp_path / "none.bam")))


def test_what_cannot_be_realigned_is_said_in_a_line(tmp_path):
    folder = PARITY / "reads"
    bam, fasta, out = folder / "ilmn.bam", folder / "ref.fa", tmp_path / "out.bam"
    copy = tmp_path / "copy.bam"
    copy.write_bytes(bam.read_bytes())
    Path(f"{copy}.bai").write_bytes(Path(f"{bam}.bai").read_bytes())
    for words, arguments in (
        ("no such contig", (bam, fasta, "chrQ", out)),
        ("no such part", (bam, fasta, "chr21", out, 50_000, 60_000)),
        ("no such part", (bam, fasta, "chr21", out, -5, 60_000)),
        ("is the input", (copy, fasta, "chr21", copy)),
        ("cannot be written", (bam, fasta, "chr21", tmp_path / "none" / "out.bam")),
        ("not found", (tmp_path / "none.bam", fasta, "chr21", out)),
    ):
        with pytest.raises(ClairError, match=words):
            realign_reads(*arguments)
    assert copy.read_bytes() == bam.read_bytes() and not out.exists()


def test_damage_fails_and_leaves_no_file(tmp_path):
    folder, copy = PARITY / "reads", tmp_path / "copy.bam"
    damaged = bytearray((folder / "ilmn.bam").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 3000] = bytes(3000)
    copy.write_bytes(damaged)
    Path(f"{copy}.bai").write_bytes((folder / "ilmn.bam.bai").read_bytes())
    with pytest.raises(ClairError, match="copy.bam"):
        realign_reads(copy, folder / "ref.fa", "chr21", tmp_path / "out.bam", 10_000, 30_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.bam", "copy.bam.bai"]


def test_cancelled(tmp_path):
    folder, flag = PARITY / "reads", core.CancelFlag()
    flag.set()
    with core.Source(folder / "ilmn.bam", folder / "ref.fa") as source, pytest.raises(core.CancelledError):
        write_realigned(source, Region("chr21", 0, 40_000), None, tmp_path / "out.bam", cancel=flag)
