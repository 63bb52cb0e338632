"""The pileup rules for Illumina reads (spec/features.md B.12): the slow reference, the C core and golden data agree."""

import gzip
import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from core_pileup import ANYTHING, EVERYWHERE, core_pileup, with_defaults
from examples import examples
from golden_runs import decided_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pileup_reference import CHANNELS, Read
from random_reads import (
    Case,
    cases,
    clip_cigar,
    fit_cigar,
    random_case,
    random_ops,
    read_letters,
    rules,
    write_case,
)
from short_read_reference import mpileup, read_texts, scripted_pileup

from clair3 import core
from clair3.cli.main import main as clair3
from clair3.config import CandidateOptions
from clair3.features.chunks import Chunk
from clair3.features.pileup import iter_pileup
from clair3.io.bed import allowed_in_bed, clip, target_intervals
from clair3.records import Region, TensorBatch

SCRIPTED = CandidateOptions(indel_min_af=0.08, short_read_rules=True)
CHANNEL = {name: i for i, name in enumerate(CHANNELS)}


@pytest.fixture(params=["reference", "core"])
def pileup(request, tmp_path):
    """pileup(ref, reads, **options) by the slow reference and by the C core."""
    core_engine = partial(core_pileup, tmp_path, short_read_rules=True)
    return with_defaults(scripted_pileup if request.param == "reference" else core_engine)


# -- golden data -------------------------------------------------------------------------------------


def test_golden_tensors(shared_data):
    golden = np.load(shared_data / "golden" / "tensors" / "ilmn_pileup.npz")
    reads, reference = shared_data / "sim" / "small" / "ilmn.bam", shared_data / "sim" / "small" / "ref.fa"
    with core.Source(reads, reference) as source:
        batch = core.pileup(source, Region("chr20", 99_966, 200_033), SCRIPTED, EVERYWHERE).batch()
    np.testing.assert_array_equal(batch.pos + 1, golden["position"])
    np.testing.assert_array_equal(batch.tensors, golden["tensor"])
    assert [batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref)] == golden["alt_info"].tolist()
    windows = [text.split(":")[2] for text in golden["position_info"].tolist()]
    assert batch.ref.tobytes().decode() == "".join(window[16] for window in windows)


def test_golden_tensors_as_text(shared_data, tmp_path):
    """The command gives the same with the 33 reference letters; v2.0.2's part reaches beyond its own positions."""
    golden = np.load(shared_data / "golden" / "tensors" / "ilmn_pileup.npz")
    small, output = shared_data / "sim" / "small", tmp_path / "tensors"
    files = [f"--bam_fn={small / 'ilmn.bam'}", f"--ref_fn={small / 'ref.fa'}", "--ctgName=chr20"]
    options = ["--platform=ilmn", "--indel_min_af=0.08", "--ctgStart=100001", "--ctgEnd=200000"]
    clair3(["CreateTensorPileup", *files, *options, f"--tensor_can_fn={output}"])
    lines = [line.split("\t") for line in output.read_text().splitlines()]
    rows = np.flatnonzero((golden["position"] > 100_000) & (golden["position"] <= 200_000))
    assert [":".join(line[:3]) for line in lines] == golden["position_info"][rows].tolist()
    assert [line[4] for line in lines] == golden["alt_info"][rows].tolist()
    found = np.array([line[3].split(" ") for line in lines], np.int32).reshape(-1, 33, 18)
    np.testing.assert_array_equal(found, golden["tensor"][rows])


def records(path: Path) -> list[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as lines:
        return [line.rstrip("\n") for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(
    "run, contig",
    [
        ("ilmn_default", "chr20"),
        ("ilmn_default", "chr21"),
        ("ilmn_gvcf", "chr21"),
        *[("deep_ilmn", contig) for contig in ("chr21", "chr22", "chrX")],
        ("real_ilmn_na12878", "chr22"),
    ],
)
def test_golden_pileup_calls(run, contig, shared_data, tmp_path):
    folder = shared_data / "golden" / "runs" / run
    inputs = json.loads((folder / "run.json").read_text())
    files = [f"--{name}_fn={shared_data / inputs[name]}" for name in ("bam", "ref")]
    files += [f"--chkpnt_fn={shared_data / inputs['model'] / 'pileup'}", f"--call_fn={tmp_path / 'calls.vcf'}"]
    gvcf = [f"--gvcf={'--gvcf' in inputs['options']}", f"--temp_file_dir={tmp_path}"]
    clair3(["CallVarBam", *files, *gvcf, f"--ctgName={contig}", "--pileup", "--platform=ilmn"])
    rows = [row for row in records(folder / "pileup.vcf.gz") if row.startswith(f"{contig}\t")]
    expected = decided_records(rows)
    assert records(tmp_path / "calls.vcf") == expected and expected


# -- rules -------------------------------------------------------------------------------------------


def covered(length: int, *spans: tuple[int, int], count: int = 3) -> tuple[str, list[Read]]:
    """A contig of A with `count` reads over each [start, end) of it."""
    reads = [Read(start, f"{end - start}M", "A" * (end - start)) for start, end in spans for _ in range(count)]
    return "A" * length, sorted(reads, key=lambda read: read.pos)


@pytest.mark.parametrize(
    "flag, kept",
    [(0, 1), (0x3, 1), (0x203, 1), (0x403, 1), (0x1, 0), (0x8, 0), (0xB, 0), (0x4, 0), (0x100, 0), (0x800, 0)],
)
def test_read_filter(pileup, flag, kept):  # A.2, third column
    read = Read(0, "3M", "ACG", flag)
    assert pileup("ACGT", [read]).has_column.tolist() == [kept] * 3 + [False]
    assert pileup("ACGT", [replace(read, mapq=4)]).has_column.sum() == 0


@pytest.mark.parametrize(
    "cigar, seq, text",
    [
        ("2M2I3I1M", "ACGGTTTA", "a c+5ggttt a"),  # neighbours are one insertion
        ("1M1I1P2I1M", "AGGTC", "a+4g#gt c"),  # pads are written
        ("1M2P1D1M", "AC", "a # c"),  # but do not start an insertion alone
        ("1M2I2D1M", "AGGC", "a+2gg-2nn # # c"),  # the deletion behind counts too
        ("1M1D2D1M", "AC", "a-1n #-2nn # # c"),
        ("1M1P1I1D1M", "AGC", "a+2#g-1n # c"),
        ("1M2N1I1M", "AGC", "a < <+1g c"),
        ("1M1D2I1M", "AGGC", "a-1n #+2gg c"),
        ("1S2I2M1I", "TGGACG", "a c+1g"),
    ],
)
def test_cigar_to_text(cigar, seq, text):  # B.12.3
    reverse = list(read_texts(Read(7, cigar, seq, 0x10)))
    assert " ".join(shown for _, shown in reverse) == text
    forward = " ".join(shown for _, shown in read_texts(Read(7, cigar, seq)))
    assert forward == text.upper().replace("#", "*").replace("<", ">")


def test_indels_in_channels_and_support(pileup):  # B.12.3-5
    ref = "ACGTACGTACGTACGTA" + "A" + "ttacgtACGTACGTACGT"
    head, tail = ref[:18].upper(), ref[18:].upper()
    reads = [
        Read(0, f"18M1I1P2I{len(tail)}M", head + "AGT" + tail),
        Read(0, f"18M2I2P2I{len(tail)}M", head + "AGAT" + tail, 0x10),
        Read(0, f"18M1I2D{len(tail) - 2}M", head + "R" + tail[2:]),  # an IUPAC letter goes to the reverse strand
        Read(0, f"18M2D{len(tail) - 2}M", head + tail[2:]),
        Read(0, f"18M{len(tail)}M", head[:-1] + "C" + tail),
        Read(0, f"18M{len(tail)}M", head[:-1] + "N" + tail),
    ]
    found = pileup(ref, reads)
    row = found.columns[17]
    assert [row[CHANNEL[name]] for name in ("I", "I1", "i", "i1", "D", "D1")] == [1, 1, 2, 1, 2, 2]
    assert found.alt_info[found.candidates.index(17)] == "5-IAA*GT 1 IAAG##AT 1 IAR 1 DTT 2 XC 1"
    assert (found.n_ref[17], found.n_total[17]) == (4, 10)
    assert found.columns[16, CHANNEL["#"]] == 0  # the N is nowhere


def test_long_deletions_are_listed(pileup):  # seen in the golden tensors, whatever --enable_long_indel says
    ref = "ACGT" * 60
    reads = [Read(0, "60M80D60M", ref[:60] + ref[140:200])] * 2 + [Read(0, "200M", ref[:200])] * 2
    found = pileup(ref, reads)
    assert found.alt_info[found.candidates.index(59)] == f"4-D{ref[60:140]} 2 RT 2"


@pytest.mark.parametrize("start, head, tail", [(100, 0, 0), (0, 0, 0), (100, 16, 16), (0, 16, 16)])
def test_candidates_of_a_run(pileup, start, head, tail):  # B.12.8: no base is lost on the right or at the contig start
    found = pileup(*covered(400, (start, start + 200)), head_and_tail=head > 0)
    assert found.candidates == list(range(start + 16 - head, start + 184 + tail))


def test_no_more_than_1000_pads_are_written(tmp_path):
    reads = [Read(0, "20M" + "268435455P" * 9 + "1I20M", "A" * 41)] * 3
    found = core_pileup(tmp_path, "A" * 40, reads, 0, 40, short_read_rules=True, **ANYTHING)
    assert found.alt_info[found.candidates.index(19)] == "3-IA" + "*" * 1000 + "A 3"


def test_head_and_tail(pileup):  # B.12.8
    ref, reads = covered(200, (10, 15), (40, 100), (150, 160))
    found = pileup(ref, reads, head_and_tail=True)
    # every run has zeros before it, the last one also behind; what ends the other runs is lost
    assert found.candidates == [*range(40, 84), *range(150, 160)]
    window = found.tensors[found.candidates.index(152)]
    assert np.flatnonzero(window.any(axis=1)).tolist() == list(range(14, 24))


@pytest.mark.parametrize(
    "letters, snp_min_af, hit",
    [
        ("AAAC", 0.25, True),
        ("AAC", 0.33333334, False),  # double precision, unlike the native rules
        ("A" * 9 + "C", 0.1, True),
        ("ACC", 1.0, True),  # the most frequent is not the reference
        ("AC", 1.0, False),  # of equals the first seen is the most frequent
        ("CA", 1.0, True),
        ("AACN", 0.33, True),  # N does not count
    ],
)
def test_candidate_rule(pileup, letters, snp_min_af, hit):  # B.12.7
    reads = [Read(0, "40M", "A" * 20 + letter + "A" * 19) for letter in letters]
    found = pileup("A" * 40, reads, snp_min_af=snp_min_af, indel_min_af=1.0)
    assert (20 in found.candidates) == hit


def test_known_sites_are_candidates_whatever_the_reads_show(pileup):  # A.7
    ref = "A" * 20 + "NX" + "A" * 30
    reads = [Read(0, "20M1N1I1N30M", "A" * 20 + "G" + "A" * 30)]
    allowed = [(18, 23)]
    assert pileup(ref, reads, allowed=allowed).candidates == []
    found = pileup(ref, reads, allowed=allowed, known_sites=True)
    assert found.candidates == [18, 19, 20, 22]  # X is no nucleotide code
    assert found.alt_info[2] == "0-ING 1"  # v2.0.2: 0-IAG 1


def test_gvcf_changes_no_candidate(tmp_path):
    ref, reads = covered(200, (10, 80), (90, 140))
    bam, fasta = write_case(tmp_path, Case(ref, tuple(reads), 0, 200))
    rule = CandidateOptions(snp_min_af=0, indel_min_af=0, short_read_rules=True)
    with core.Source(bam, fasta) as source:
        plain, gvcf = (core.pileup(source, Region("chr1", 0, 200), rule, EVERYWHERE, gvcf) for gvcf in (False, True))
    assert plain.pos.tolist() == gvcf.pos.tolist() == [*range(26, 64), *range(106, 124)]
    assert gvcf.site_counts().sum() == 2 * 3 * 120


def test_a_bed_changes_no_site_counts(tmp_path):
    """Between intervals the blocks say what the reads show, as with other platforms (spec/calling.md G6)."""
    ref, reads = covered(300, (0, 300))
    bam, fasta = write_case(tmp_path, Case(ref, tuple(reads), 0, 300))
    some = target_intervals(np.array([[100, 110], [220, 221]]))
    with core.Source(bam, fasta) as source:
        found = [core.pileup(source, Region("chr1", 0, 300), SCRIPTED, EVERYWHERE, True, None, t) for t in (None, some)]
    whole, bed = (pileup.site_counts() for pileup in found)
    np.testing.assert_array_equal(whole, bed)
    assert bed[:, 160].min() > 0


def test_bed(pileup):  # A.6: one base to the left, and deletions that reach the interval
    ref, reads = covered(300, (0, 300))
    assert pileup(ref, reads, targets=[(100, 110)]).candidates == list(range(99, 110))
    assert pileup(ref, reads, targets=[(10, 12), (100, 100 + 1)]).candidates == [99, 100]  # no columns before 0
    longer = [Read(0, "90M12D198M", "A" * 288)] * 2
    assert pileup(ref, reads + longer, targets=[(100, 110)]).candidates == [89, *range(99, 110)]
    longer = [Read(0, f"{at}M30D100M", "A" * (at + 100)) for at in (83, 84)]
    assert pileup(ref, reads + longer, targets=[(100, 110)]).candidates[0] == 83  # its window starts 33 before
    assert pileup(ref, reads, targets=[(100, 110)], head_and_tail=True).candidates == list(range(99, 110))


def test_chunks_do_not_matter(tmp_path):
    """The same candidates from one chunk and from many, with a BED and zeros at the edges."""
    rng, length = np.random.default_rng(7), 2000
    ref, reads = "".join(rng.choice(list("ACGT"), length)), []
    for pos in rng.choice([*range(560), *range(720, 1700)], 300).tolist():  # a gap in between and at the end
        cigar = fit_cigar(random_ops(rng, 0.1), 100)
        reads.append(Read(pos, clip_cigar(cigar, (0, 0, 0, 0)), ""))
        reads[-1] = replace(reads[-1], seq=read_letters(rng, ref, pos, reads[-1].cigar, 0.1, 0.01))
    bed = np.array([[30, 400], [500, 501], [800, length]])
    bam, fasta = write_case(tmp_path, Case(ref, tuple(sorted(reads, key=lambda read: read.pos)), 0, length))
    rule = CandidateOptions(snp_min_af=0.2, indel_min_af=0.2, head_and_tail=True, short_read_rules=True)
    with core.Source(bam, fasta) as source:
        for intervals in (None, bed):
            targets = None if intervals is None else target_intervals(intervals)
            found = []
            for step in (length, 150):
                allowed = np.array([[0, length]]) if intervals is None else allowed_in_bed(intervals, length)
                chunks = [
                    Chunk("chr1", i, start, min(start + step, length), clip(allowed, start, min(start + step, length)))
                    for i, start in enumerate(range(0, length, step))
                ]
                batches = [batch for chunk in chunks for batch in iter_pileup(source, chunk, rule, targets=targets)]
                found.append(batches)
            whole, parts = (TensorBatch.concatenate(batches) for batches in found)
            assert len(whole) > 50
            np.testing.assert_array_equal(whole.pos, parts.pos)
            np.testing.assert_array_equal(whole.tensors, parts.tensors)
            assert [whole.support.text(i, "A") for i in range(len(whole))] == [
                parts.support.text(i, "A") for i in range(len(parts))
            ]


# -- against the slow reference, and that against samtools -------------------------------------------


def assert_agrees(folder: Path, case: Case, rule: dict, **places):
    """The core gives what the slow reference gives on a case."""
    end = max(case.end, len(case.ref)) if rule["head_and_tail"] else case.end  # the core looks beyond
    if case.start >= end:
        return
    region = case.ref, list(case.reads), case.start, end
    engines = scripted_pileup, partial(core_pileup, folder, short_read_rules=True)
    slow, fast = (engine(*region, **rule, **places) for engine in engines)
    for name in ("columns", "n_ref", "n_total", "candidates", "tensors", "alt_info"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=cases(),
    rule=rules(),
    known_sites=st.booleans(),
    targets=st.none() | st.lists(st.tuples(st.integers(0, 90), st.integers(0, 20)), max_size=3),
)
def test_agrees_with_the_reference(tmp_path, case, rule, known_sites, targets):
    if targets is not None:
        targets = [(start, start + length) for start, length in targets]
        targets = [(start, max(end, start + 1)) for start, end in targets]
    known_sites = known_sites and targets is None
    assert_agrees(tmp_path, case, rule | {"known_sites": known_sites}, targets=targets)


FUZZ_RULES = [
    {"min_mapq": 5, "min_coverage": 2, "snp_min_af": 0.08, "indel_min_af": 0.08},
    {"min_mapq": 20, "min_coverage": 4, "snp_min_af": 0.0, "indel_min_af": 0.0},
    {"min_mapq": 0, "min_coverage": 1, "snp_min_af": 1.0, "indel_min_af": 1.0},
]


def short_pairs(case: Case, seed: int) -> Case:
    """The case with its reads as pairs: some proper, some orphans, some duplicates, two of a name."""
    flags = np.random.default_rng(seed).choice([0x3, 0x13, 0x1, 0x9, 0x403, 0x203, 0, 0x10], len(case.reads))
    return replace(
        case, reads=tuple(replace(read, flag=int(flag)) for read, flag in zip(case.reads, flags, strict=True))
    )


@pytest.mark.parametrize("seed", range(60))
def test_agrees_on_fuzzed_cases(tmp_path, seed):
    more = {"snp_only": seed % 5 == 0, "head_and_tail": seed % 2 == 0, "max_indel_length": 50}
    targets = None if seed % 4 else [(20, 60), (61, 62), (150, 10_000)]
    case = random_case(seed) if seed % 3 else short_pairs(random_case(seed), seed)
    assert_agrees(tmp_path, case, FUZZ_RULES[seed % 3] | more, targets=targets)


def samtools_mpileup(bam: Path, min_mapq: int) -> dict[int, str]:
    """The column of read bases that samtools writes for each position of chr1."""
    command = ["samtools", "mpileup", "-r", "chr1", "--reverse-del", f"--min-MQ={min_mapq}", "--min-BQ=0"]
    done = subprocess.run([*command, "--excl-flags=2316", str(bam)], capture_output=True, text=True, check=True)
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return {int(row[1]) - 1: re.sub(r"\^.|\$", "", row[4]) for row in rows}


@pytest.fixture(scope="module")
def samtools():
    """Skips unless samtools is here in a version whose text v2.0.2 is known to read (spec/features.md G.3)."""
    path = shutil.which("samtools")
    found = subprocess.run([path, "--version"], capture_output=True, check=True).stdout.split()[1] if path else b"none"
    if not found.startswith((b"1.15", b"1.16")):
        pytest.skip(f"samtools 1.15 or 1.16 is not here (found {found.decode()})")


@pytest.mark.parametrize("seed", range(40))
def test_reference_writes_the_text_of_samtools(samtools, tmp_path, seed):
    case = short_pairs(random_case(seed), seed)
    case = replace(case, reads=tuple(read for read in case.reads if read.seq))  # without bases all is N to samtools
    bam, _ = write_case(tmp_path, case)
    texts = mpileup(list(case.reads), 0, len(case.ref), 5 * (seed % 2))
    assert {pos: "".join(column) for pos, column in texts.items()} == samtools_mpileup(bam, 5 * (seed % 2))


DEEP = [Read(10, "50M", "A" * 50)] * 8100 + [Read(20, "60M", "C" * 60)] * 50 + [Read(60, "30M", "G" * 30)] * 20
DEEP += [Read(61, "40M", "T" * 40)] * 8200


@pytest.mark.slow
def test_depth_has_a_limit(samtools, tmp_path):
    """Reads that start where others do wait until there are less than 8000."""
    bam, fasta = write_case(tmp_path, Case("A" * 120, tuple(DEEP), 0, 120))
    texts = mpileup(DEEP, 0, 120, 5)
    assert {pos: "".join(column) for pos, column in texts.items()} == samtools_mpileup(bam, 5)
    with core.Source(bam, fasta) as source:
        whole, part = (core.pileup(source, Region("chr1", at, 120), SCRIPTED, EVERYWHERE) for at in (0, 62))
    depth = [len(texts.get(pos, ())) for pos in range(120)]
    assert (-whole.columns()[:, CHANNEL["A"]]).tolist() == depth  # minus all bases of the strand
    assert max(depth) > 8000
    np.testing.assert_array_equal(part.columns(), whole.columns()[62:])
