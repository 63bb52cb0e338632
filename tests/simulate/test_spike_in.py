"""clair3 simulate spike: variants written into reads whose copies are known (docs/simulate.md)."""

import random
from array import array
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import UNCONTAMINATED, aligned, check_alignments, make_genome, spelled_copies

from clair3.cli import simulate
from clair3.cli.arguments import make_parser
from clair3.errors import ClairError
from clair3.simulate.profile_choice import load_profile
from clair3.simulate.read_edits import Change, Moves, ReadEdit, parse_change
from clair3.simulate.read_plan import ReadOptions
from clair3.simulate.reads import simulate_reads
from clair3.simulate.spike_in import Sample, SpikeOptions, SpikeVariants, spike
from clair3.simulate.variants import VariantOptions

DENSE = VariantOptions(density=(0.004, 0.006), indels=0.5, structural=0)


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    """Its truth is what real reads have of their own."""
    options = ("--density", 0.001, 0.002, "--indels", 0.1, "--seed", 5)
    return make_genome(tmp_path_factory.mktemp("genome"), "chr20=60000,chr21=20000", *options)


def reads_of(genome: Path, folder: Path, platform: str, **options) -> Path:
    profile = load_profile(platform, platform, np.random.default_rng(0))
    bam = folder / f"{platform}.bam"
    simulate_reads(
        genome / "ref.fa", genome / "truth.vcf.gz", bam, profile, ReadOptions(**options, **UNCONTAMINATED), seed=3
    )
    return bam


def spiked(genome: Path, bam: Path, folder: Path, truth: bool = True, seed: int = 1) -> int:
    folder.mkdir()
    files = (genome / "truth.vcf.gz", genome / "confident.bed") if truth else (None, None)
    return spike(Sample(bam, genome / "ref.fa", *files), SpikeVariants(drawn=DENSE), folder, SpikeOptions(), seed)


@pytest.mark.parametrize("platform", ["hifi", "ilmn"])
def test_reads_without_errors_spell_the_new_copies(genome, tmp_path, platform):
    bam = reads_of(genome, tmp_path, platform, depth=8, error_free=True)
    number = spiked(genome, bam, tmp_path / "out")
    copies = spelled_copies(tmp_path / "out" / "truth.vcf.gz", genome / "ref.fa")
    before = {(read.query_name, read.is_read2): read for read in aligned(bam)}
    seen, longer = Counter(), 0
    for read in aligned(tmp_path / "out" / "reads.bam"):
        text, old = read.query_alignment_sequence, before[read.query_name, read.is_read2]
        places = (read.reference_start, read.reference_end, read.template_length, read.next_reference_start)
        assert places == (old.reference_start, old.reference_end, old.template_length, old.next_reference_start)
        found = tuple(text in copies[read.reference_name, copy] for copy in (0, 1))
        seen[found[int(read.query_name[-1]) - 1], any(found)] += 1
        longer += read.query_length != old.query_length
    # a read in which an indel is at the very end keeps the reference there, and some lie beyond every SNP
    assert seen[False, False] < (0.02 if platform == "hifi" else 0.04) * seen.total()
    assert seen[True, True] > (0.9 if platform == "hifi" else 0.6) * seen.total()
    assert number > 100 and longer > 20
    check_alignments(tmp_path / "out" / "reads.bam", genome / "ref.fa")


def test_noisy_reads_keep_their_errors_and_carry_the_variants(genome, tmp_path):
    bam = reads_of(genome, tmp_path, "ont", depth=20, tagged=1.0, wrong=0.0, moves=True)
    number = spiked(genome, bam, tmp_path / "out")
    check_alignments(tmp_path / "out" / "reads.bam", genome / "ref.fa")
    old = {read.query_name: read for read in aligned(bam) if not read.is_supplementary}
    untouched = changed = 0
    for read in aligned(tmp_path / "out" / "reads.bam"):
        before = old[read.query_name]
        assert (np.array(read.get_tag("mv"))[1:] == 1).sum() == read.query_length == len(read.query_qualities)
        same = read.query_sequence == before.query_sequence
        untouched, changed = untouched + same, changed + (not same)
        if same:
            assert read.to_string() == before.to_string()
    assert changed > 40 and number > 100
    fractions = Counter()
    with pysam.VariantFile(str(tmp_path / "out" / "truth.vcf.gz")) as truth:
        file, own = pysam.AlignmentFile(str(tmp_path / "out" / "reads.bam")), known_places(genome)
        for record in truth:
            genotype = record.samples[0]["GT"]
            if len(record.ref) > 1 or set(map(len, record.alts)) != {1} or (record.chrom, record.pos) in own:
                continue
            bases = Counter()
            for column in file.pileup(record.chrom, record.start, record.stop, truncate=True, min_base_quality=0):
                bases.update(base.upper() for base in column.get_query_sequences())
            fractions[sum(map(bool, genotype)), "alt"] += bases[record.alts[0]]
            fractions[sum(map(bool, genotype)), "all"] += bases.total()
    assert 0.42 < fractions[1, "alt"] / fractions[1, "all"] < 0.58
    assert 0.9 < fractions[2, "alt"] / fractions[2, "all"]


def known_places(genome: Path) -> set[tuple[str, int]]:
    with pysam.VariantFile(str(genome / "truth.vcf.gz")) as truth:
        return {(record.chrom, record.pos) for record in truth}


def first_bases(records: list[pysam.VariantRecord]) -> list[pysam.VariantRecord]:
    """One record of each variant: the bases of an MNP stand apart."""
    behind = {(record.chrom, record.stop) for record in records if len(record.ref) == 1}
    return [record for record in records if (record.chrom, record.start) not in behind]


def test_the_truth_holds_old_and_new(genome, tmp_path):
    bam = reads_of(genome, tmp_path, "hifi", depth=8)
    number = spiked(genome, bam, tmp_path / "out")
    with pysam.VariantFile(str(tmp_path / "out" / "truth.vcf.gz")) as truth:
        records = list(truth)
    own = known_places(genome)
    assert own <= {(record.chrom, record.pos) for record in records}
    assert [(record.chrom, record.pos) for record in records] == sorted((one.chrom, one.pos) for one in records)
    new = [record for record in records if (record.chrom, record.pos) not in own]
    first = first_bases(new)
    assert len(first) == number < len(new)
    for record in new:
        assert record.samples[0].phased
        assert all(abs(pos - record.pos) > SpikeOptions.gap for name, pos in own if name == record.chrom)
    for one, other in pairwise(first):
        assert one.chrom != other.chrom or other.start - one.stop >= SpikeOptions.gap - 1
    regions = (genome / "confident.bed").read_text().split()
    assert (tmp_path / "out" / "confident.bed").read_text().split() == regions


def test_tags_tell_the_copies_when_no_truth_does(genome, tmp_path):
    """Without the truth of the reads, places where they agree on a difference are left alone and out of the regions."""
    bam = reads_of(genome, tmp_path, "hifi", depth=16, tagged=1.0, wrong=0.0)
    number = spiked(genome, bam, tmp_path / "out", truth=False)
    regions = [line.split() for line in (tmp_path / "out" / "confident.bed").read_text().splitlines()]
    inside = {(name, pos) for name, start, end in regions for pos in range(int(start), int(end))}
    own = known_places(genome)
    assert sum((name, pos - 1) in inside for name, pos in own) < 0.2 * len(own)
    tags, both = Counter(), 0
    with pysam.VariantFile(str(tmp_path / "out" / "truth.vcf.gz")) as truth:
        records = list(truth)
    assert len(first_bases(records)) == number > 50
    file = pysam.AlignmentFile(str(tmp_path / "out" / "reads.bam"))
    for record in records:
        if len(record.ref) == 1 and len(record.alts[0]) == 1 and sum(map(bool, record.samples[0]["GT"])) == 1:
            for column in file.pileup(record.chrom, record.start, record.stop, truncate=True, min_base_quality=0):
                for read in column.pileups:
                    if read.query_position is not None:
                        copy = record.samples[0]["GT"][read.alignment.get_tag("HP") - 1]
                        base = read.alignment.query_sequence[read.query_position]
                        tags[record.alleles[copy] == base] += 1
                        both += 1
    assert tags[True] > 0.97 * both > 0


def test_what_is_left_out_is_told(genome, tmp_path, caplog):
    """Reads in pieces, where a variant would contradict another piece; reads on a contig that the FASTA lacks."""
    old, bam = reads_of(genome, tmp_path, "hifi", depth=8), tmp_path / "odd.bam"
    with pysam.AlignmentFile(str(old)) as source:
        header = source.header.to_dict()
        header["SQ"].append({"SN": "decoy", "LN": 90000})
        with pysam.AlignmentFile(str(bam), "wb", header=header) as target:
            reads = [read.to_dict() for read in source.fetch("chr20")]
            for values in (*reads, *(dict(values, ref_name="decoy") for values in reads[:3])):
                target.write(pysam.AlignedSegment.from_dict(values, target.header))
    pysam.index(str(bam))
    spiked(genome, bam, tmp_path / "plain")
    lost = f"{bam}: left out the reads on 1 contigs that are not in {genome / 'ref.fa'}: decoy"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [lost]
    caplog.clear()
    with pysam.AlignmentFile(str(bam)) as source, pysam.AlignmentFile(str(old), "wb", template=source) as target:
        for number, read in enumerate(source.fetch("chr20")):
            if number % 4 == 0:
                read.set_tag("SA", "chr21,1,+,50M,60,0;")
            target.write(read)
    pysam.index(str(old))
    spiked(genome, old, tmp_path / "out")
    left = len(list(aligned(old))) - len(list(aligned(tmp_path / "out" / "reads.bam")))
    told = f"{tmp_path / 'out' / 'reads.bam'}: left out {left} alignments over variants: of reads in pieces (tag SA), "
    assert left > 0 and [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{told}or without bases or qualities"
    ]


def test_the_same_bytes_again_and_others_by_another_seed(genome, tmp_path):
    bam = reads_of(genome, tmp_path, "ont", depth=6, tagged=0.5)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        spiked(genome, bam, tmp_path / name, seed=seed)
    files = ("reads.bam", "reads.bam.bai", "truth.vcf.gz", "confident.bed")
    one, again, other = ([(tmp_path / name / file).read_bytes() for file in files] for name in "abc")
    assert one == again and one[0] != other[0] and one[2] != other[2]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted((*files, "truth.vcf.gz.tbi"))


# ---- one read ----

REF = "GATTACACACACGTTTTTTGCATCGA"
#      01234567890123456789012345


@pytest.mark.parametrize(
    "pos, ref, alt, change",
    [
        (2, "T", "C", Change(2, "T", "C")),
        (1, "ATTA", "AGTC", Change(2, "TTA"[0] + "TA", "GTC")),
        (18, "T", "TT", Change(13, "", "T", 6)),
        (17, "TT", "T", Change(13, "T", "", 5)),
        (8, "ACA", "A", Change(4, "AC", "", 6)),
        (6, "A", "ACA", Change(4, "", "AC", 8)),
        (3, "TA", "GCC", None),
        (4, "A", "A", None),
    ],
)
def test_changes_are_left_aligned(pos, ref, alt, change):
    assert REF[pos : pos + len(ref)] == ref
    assert parse_change(REF, pos, ref, alt) == change


def read_of(seq: str, cigar: str, pos: int = 0, reverse: bool = False, **tags) -> pysam.AlignedSegment:
    read = pysam.AlignedSegment()
    read.query_sequence, read.query_qualities = (
        seq,
        pysam.qualitystring_to_array("".join(chr(40 + i % 40) for i in range(len(seq)))),
    )
    read.query_name, read.flag, read.reference_id, read.reference_start = "r", 16 if reverse else 0, 0, pos
    read.cigarstring, read.mapping_quality = cigar, 60
    for name, value in tags.items():
        read.set_tag(name, value)
    return read


@pytest.mark.parametrize(
    "seq, cigar, change, new, new_cigar, differences",
    [
        # a SNP
        (REF, "26M", Change(2, "T", "C"), "GACTACACACACGTTTTTTGCATCGA", "26M", 1),
        # a lost T where the read had lost one: two are missing
        ("GATTACACACACGTTTTTGCATCGA", "13M1D12M", Change(13, "T", "", 5), "GATTACACACACGTTTTGCATCGA", "13M2D11M", 2),
        # a lost T where the read had one too many: nothing to see
        ("GATTACACACACGTTTTTTTGCATCGA", "13M1I13M", Change(13, "T", "", 5), REF, "26M", 0),
        # a gained unit, in a read with a wrong base behind the repeat
        ("GATTACACACACGTTTTTTGCATCGT", "=".join(("25", "1X")), Change(4, "", "AC", 8),
         "GATTACACACACACGTTTTTTGCATCGT", "4M2I22M", 3),
        # the read errs all over the place
        ("GATTACACACACGGCATCGA", "13M6D7M", Change(13, "T", "", 5), None, None, None),
        ("GAATACACACACGTTTTTTGCATCGA", "26M", Change(2, "T", "C"), None, None, None),
    ],
)  # fmt: skip
def test_an_allele_in_a_read(seq, cigar, change, new, new_cigar, differences):
    edit = ReadEdit(read_of(seq, cigar, NM=9, MD="26"), REF.encode())
    shift = edit.find_shift(change)
    if new is None:
        assert shift is None
        return
    edit.write(change, shift)
    read = edit.finish()
    assert (read.query_sequence, read.cigarstring, read.get_tag("NM")) == (new, new_cigar, differences)
    assert len(read.query_qualities) == len(new) and not read.has_tag("MD")


@pytest.mark.parametrize("reverse", [False, True])
def test_move_tables_follow(reverse):
    """Blocks of deleted bases go, new bases take as long as their neighbours."""
    blocks = [1 + i % 3 for i in range(len(REF))]
    table = [6, *(move for count in blocks[:: -1 if reverse else 1] for move in [1] + [0] * (count - 1))]
    read = read_of(REF, "26M", reverse=reverse)
    read.set_tag("mv", array("b", table))
    assert Moves.from_read(read).blocks == blocks
    edit = ReadEdit(read, REF.encode())
    for change in (Change(20, "CA", ""), Change(8, "", "GG")):
        edit.write(change, 0)
    found = Moves.from_read(edit.finish()).blocks
    assert found[:8] == blocks[:8] and found[10:22] == blocks[8:20] and found[22:] == blocks[22:]
    assert read.get_tag("mv")[0] == 6


@given(st.integers(0, 2**32))
@settings(max_examples=200)
def test_an_edited_read_spells_its_copy(seed):
    """Whatever the errors of a read, writing and then aligning give the bases that were meant."""
    rng = random.Random(seed)
    text = "".join(rng.choice("ACGT") * rng.randint(1, 5) for _ in range(40))
    seq, cigar, at = "", [], 10
    while at < len(text) - 10:
        kind, size = rng.choice((0, 0, 0, 1, 2)), rng.randint(1, 3)
        if kind == 0 or not cigar or cigar[-1][0] != 0:
            size = rng.randint(3, 15)
            size, kind = min(size, len(text) - at), 0
            seq += "".join(base if rng.random() < 0.95 else rng.choice("ACGT") for base in text[at : at + size])
        seq += "".join(rng.choice("ACGT") for _ in range(size)) if kind == 1 else ""
        at += size if kind != 1 else 0
        cigar.append((kind, size))
    if cigar[-1][0] != 0:
        return
    read = read_of(seq, "".join(f"{size}{'MID'[kind]}" for kind, size in cigar), 10)
    pos, size = rng.randint(12, len(text) - 20), rng.randint(1, 3)
    ref, alt = rng.choice(((text[pos : pos + size + 1], text[pos]), (text[pos], text[pos] + rng.choice("ACGT") * size)))
    change = parse_change(text, pos, ref, alt)
    edit = ReadEdit(read, text.encode())
    end, shift = edit.end, edit.find_shift(change)
    if shift is None:
        return
    base = edit.base_at(change.pos + shift - 1) + 1  # behind the base before the change
    turned = change.alt[shift % size :] + change.alt[: shift % size] if change.alt else ""
    wanted = seq[:base] + turned + seq[base + len(change.ref) :]
    edit.write(change, shift)
    made = edit.finish()
    assert made.query_sequence == wanted and made.reference_start == 10 and made.reference_end == end
    runs = made.cigartuples
    assert runs[0][0] == runs[-1][0] == 0 and all(one[0] != other[0] for one, other in pairwise(runs))


def test_bad_input_is_one_line(genome, tmp_path):
    bam = reads_of(genome, tmp_path, "hifi", depth=6)
    letter = pysam.FastaFile(str(genome / "ref.fa")).fetch("chr20", 99, 100).upper()
    (tmp_path / "ref.vcf").write_text(f"chr20\t100\t.\t{'A' if letter != 'A' else 'C'}\t{letter}\t.\t.\t.\tGT\t1|1\n")
    (tmp_path / "row.vcf").write_text("chr20\t100\t.\tA\n")
    (tmp_path / "name.vcf").write_text(f"20\t100\t.\t{letter}\t{'A' if letter != 'A' else 'C'}\t.\t.\t.\tGT\t1|1\n")
    (tmp_path / "name.bed").write_text("20\t0\t60000\n")
    (tmp_path / "short.fa").write_text(f">chr20\n{'ACGT' * 1000}\n")
    pysam.faidx(str(tmp_path / "short.fa"))
    whole = bytearray(bam.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
    (tmp_path / "broken.bam").write_bytes(whole)
    (tmp_path / "broken.bam.bai").write_bytes(Path(f"{bam}.bai").read_bytes())
    files = ("--bam_fn", bam, "--ref_fn", genome / "ref.fa", "--output", tmp_path / "out")
    cases = [
        (files, "--variants"),
        ((*files, "--density", 0.2, 0.1), "--density"),
        ((*files, "--density", 0.001, 0.002, "--gap", -1), "gap"),
        ((*files, "--density", 0.001, 0.002, "--clear", 2), "clear"),
        ((*files, "--variants", tmp_path / "ref.vcf"), "chr20:100"),
        ((*files, "--variants", tmp_path / "no.vcf"), "no.vcf"),
        ((*files, "--density", 0.001, 0.002, "--truth", tmp_path / "row.vcf"), "row.vcf"),
        ((*files, "--density", 0.001, 0.002, "--ctg_name", "chr7"), "chr7"),
        (("--bam_fn", tmp_path / "no.bam", *files[2:], "--density", 0.001, 0.002), "no.bam"),
        (("--bam_fn", tmp_path / "broken.bam", *files[2:], "--density", 0.001, 0.002), "broken.bam: cannot be read to"),
        ((*files[:3], tmp_path / "short.fa", *files[4:], "--density", 0.001, 0.002), "chr20 has 60000 bases in"),
        ((*files, "--density", 0.001, 0.002, "--truth", tmp_path / "name.vcf"), "has no contig chr20 but 20"),
        ((*files, "--density", 0.001, 0.002, "--bed_fn", tmp_path / "name.bed"), "has no contig chr20 but 20"),
        ((*files, "--variants", tmp_path / "name.vcf"), "has no contig chr20 but 20"),
    ]
    for words, named in cases:
        args = make_parser(simulate, "", "clair3 simulate").parse_args(list(map(str, ("spike", *words))))
        with pytest.raises(ClairError) as error:
            simulate.run(args)
            pytest.fail(str(words))
        assert named in str(error.value) and "\n" not in str(error.value), words
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    into = (*files[:4], "--output", tmp_path, "--density", 0.001, 0.002)
    bam.rename(tmp_path / "reads.bam")
    Path(f"{bam}.bai").rename(tmp_path / "reads.bam.bai")
    with pytest.raises(ClairError, match="is the input"):
        words = ("spike", "--bam_fn", tmp_path / "reads.bam", *into[2:])
        simulate.run(make_parser(simulate, "", "clair3 simulate").parse_args(list(map(str, words))))
