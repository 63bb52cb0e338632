"""Truth in the alignments' way of writing (spec/training.md A.5): golden, laws, bad input."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise, product
from random import Random

import pysam
import pytest
from golden_runs import PARITY
from hypothesis import assume, given
from hypothesis import strategies as st
from pileup_reference import DELETED, SKIPPED, Read, parse_cigar, read_events
from program import ROOT
from random_reads import aligned_segment, cases, draw, write_fasta

from clair3.cli.main import main as clair3
from clair3.training.data.truth import trim
from clair3.training.data.unify import UnifiedRecord, unify
from clair3.training.data.unify.matching import Slice, iter_groups, list_candidate_genotypes, list_combinations
from clair3.training.data.unify.read_alleles import Site, format_details, iter_sites, read_details
from clair3.training.data.unify.variants import (
    UnifyOptions,
    Variant,
    find_phased_genotype,
    have_same_alleles,
    make_candidate,
)

RULE = UnifyOptions()
NAME = "UnifyRepresentation"


def key(pos, ref, alts, genotype):
    return pos, ref, tuple(sorted(alts)), genotype


def vcf_keys(path):
    rows = (line.split("\t") for line in path.read_text().splitlines() if line and line[0] != "#")
    return [key(int(row[1]), row[3], row[4].split(","), row[9].split(":")[0]) for row in rows]


# -- golden ------------------------------------------------------------------------------------------


@pytest.fixture
def golden(shared_data, tmp_path):
    """Run UnifyRepresentation on the golden set and give the rows it writes."""
    folder = shared_data / "golden" / "unify"
    (tmp_path / "ref.fa").write_text((folder / "ref.fa").read_text())
    pysam.faidx(str(tmp_path / "ref.fa"))
    given = {
        "var_fn": folder / "var_7.txt",
        "ref_fn": tmp_path / "ref.fa",
        "candidate_details_fn": folder / "candidate_details.tsv.gz",
        "output_vcf_fn": tmp_path / "unified.vcf",
        "ctgName": "chr7",
    }

    def run(*more, bed=True):
        options = [f"--{name}={value}" for name, value in given.items()]
        clair3([NAME, *options, *([f"--bed_fn={folder / 'conf.bed'}"] if bed else []), *more])
        return vcf_keys(given["output_vcf_fn"])

    run.expected, run.given, run.bed = vcf_keys(folder / "unified.expected.vcf"), given, folder / "conf.bed"
    return run


@pytest.mark.parametrize("platform", ["ont", "ilmn"])
def test_golden(golden, platform):
    assert golden(f"--platform={platform}") == golden.expected


def test_golden_hifi(golden):
    lost = (59046, "GA", ("G",), "1/1")
    found = golden("--platform=hifi")
    assert lost in golden.expected and found == [row for row in golden.expected if row != lost]
    assert golden("--platform=hifi", "--max_candidates_distance=100", "--partition_size=15") == golden.expected


def test_golden_without_bed(golden):
    found = golden(bed=False)
    assert set(golden.expected) <= set(found) and len(found) > len(golden.expected)


def test_golden_in_parts(golden):
    """Parts give the whole but for groups that a part's end cuts."""
    parts = [golden(f"--chunk_id={k}", "--chunk_num=3") for k in (1, 2, 3)]
    assert all(parts) and {row for part in parts for row in part} == set(golden.expected)


def test_golden_range(golden):
    found = golden("--ctgStart=10001", "--ctgEnd=20000")
    assert found == [row for row in golden.expected if 10001 <= row[0] <= 20000]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_hash_seeds_do_not_matter(golden, tmp_path, seed):
    golden()
    first = (tmp_path / "unified.vcf").read_text().splitlines()
    options = [f"--{name}={value}" for name, value in golden.given.items()]
    command = [sys.executable, "-m", "clair3", NAME, *options, f"--bed_fn={golden.bed}"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = (tmp_path / "unified.vcf").read_text().splitlines()
    assert [line for line in again if "##cmdline" not in line] == [line for line in first if "##cmdline" not in line]


def test_rows_and_header(golden, tmp_path):
    golden("--sampleName=HG", "--minimum_allele_gap=0.2")
    lines = (tmp_path / "unified.vcf").read_text().splitlines()
    assert lines[0] == "##fileformat=VCFv4.2" and "##contig=<ID=chr7,length=60000>" in lines
    rows = [line.split("\t") for line in lines if line[0] != "#"]
    assert lines[-len(rows) - 1].split("\t")[-1] == "HG"
    assert {(row[0], row[2], *row[5:9], row[9].partition(":")[2]) for row in rows} == {
        ("chr7", ".", "10", "PASS", ".", "GT:GQ:DP:AF", "10:10:0.5000")
    }


def test_trimming_golden(shared_data):
    lines = (shared_data / "golden" / "remove_common_suffix_cases.jsonl").read_text().splitlines()
    for case in map(json.loads, lines):
        ref, alts = trim(case["ref"], case["alts"])
        assert (ref, list(alts)) == (case["out_ref"], case["out_alts"])


# -- steps -------------------------------------------------------------------------------------------


def site(pos=9, depth=None, **reads):
    """A site whose alleles are shown by reads like h1, h1, h2: one letter a read, its haplotype."""
    alleles = {
        name.replace("gap", "*"): [(f"{name}{i}", int(h)) for i, h in enumerate(haplotypes)]
        for name, haplotypes in reads.items()
    }
    return Site(pos, depth or sum(map(len, alleles.values())), alleles)


@pytest.mark.parametrize(
    "reads, ref, alts",
    [
        ({"R": "000", "XT": "000"}, "A", ("T",)),
        ({"R": "000", "XT": "0000", "XG": "0000"}, "A", ("T", "G")),  # three alleles: the rarest is not seen
        ({"R": "00000", "XT": "0000", "XG": "0000"}, "A", ("T",)),
        ({"DCG": "000", "DC": "00"}, "ACG", ("A", "AG")),
        ({"DCG": "000", "IAT": "00"}, "ACG", ("ATCG", "A")),
        ({"XT": "0", "R": "000000"}, None, ()),  # 1 of 7 is below 0.15
        ({"gap": "00000", "R": "000", "XT": "00"}, "A", ("T",)),
        ({"R": "00"}, None, ()),
    ],
)
def test_candidates(reads, ref, alts):
    found = make_candidate(site(**reads), "A", 0.15)
    assert (found.ref, found.alts) == (ref, alts) if ref else found is None


@pytest.mark.parametrize(
    "reads, genotype, phased",
    [
        ({"R": "1111", "XT": "2222"}, None, (0, 1)),
        ({"R": "2222", "XT": "1111"}, None, (1, 0)),
        ({"R": "111", "XT": "2222"}, None, None),  # 3 reads are none
        ({"XG": "1111", "XT": "2222"}, None, (1, 2)),
        ({"XT": "00001111"}, (1, 1), (1, 1)),
        ({"XT": "00001111"}, None, None),
        ({"R": "1111" * 3, "XT": "2222" * 3 + "1111"}, None, None),  # 4 of 16 doubt haplotype 1
        # rare alleles are observations, too: 6 of 12, and 6 of 9
        ({"R": "2" * 12, "DC": "111111", "ICA": "111", "ICG": "111"}, None, None),
        ({"R": "2" * 12, "XT": "111111", "gap": "111"}, None, None),
        ({"R": "2" * 12, "XT": "1" * 7, "ICA": "111"}, None, (1, 0)),
    ],
)
def test_phased_genotypes(reads, genotype, phased):
    shown = site(**reads)
    truth = Variant(9, "A", ("T",), genotype) if genotype else None
    assert find_phased_genotype(shown, make_candidate(shown, "A", 0.15), truth, RULE) == phased


def test_phased_genotype_of_illumina():
    shown, truth = site(XT="0" * 20 + "1"), Variant(9, "A", ("T",), (1, 1))
    found, rule = make_candidate(shown, "A", 0.15), UnifyOptions(illumina=True)
    assert find_phased_genotype(shown, found, truth, rule) == (1, 1)
    assert find_phased_genotype(shown, found, None, rule) is None
    assert find_phased_genotype(site(XT="0" * 9 + "1"), found, truth, rule) is None


def test_locked_by_alleles():
    assert have_same_alleles(Variant(9, "AC", ("A",), (0, 1)), Variant(9, "ACC", ("AC",)))
    assert not have_same_alleles(Variant(9, "AC", ("A",), (0, 1)), Variant(9, "AC", ("A", "T")))


def test_spelling():
    reference = Slice("ACGTACGT", 100)
    items = [Variant(101, "CG", ("C",)), Variant(102, "G", ("T",)), Variant(104, "A", ("AGG",))]
    assert reference.spell(items, (0, 0, 0)) == "ACGTACGT"
    assert reference.spell(items, (1, 0, 1)) == "ACTAGGCGT"
    assert reference.spell(items, (0, 1, 0)) == "ACTTACGT"
    assert reference.spell(items, (1, 1, 0)) is None
    behind = [Variant(101, "CG", ("C",)), Variant(102, "G", ("GAA",))]
    assert reference.spell(behind, (1, 1)) == "ACAATACGT"
    assert reference.project([(101, 103, "C"), (102, 103, "T"), (104, 105, "AGG")]) == "ACTAGGCGT"


def test_combinations_without_their_mirror_images():
    options = list_candidate_genotypes(Variant(5, "A", ("T",)), None)
    assert options == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list_combinations([options]) == [((0, 0),), ((0, 1),), ((1, 1),)]
    assert len(list_combinations([options, options])) == 10


def test_groups_end_at_distance_and_at_the_number_of_members():
    items = [Variant(pos, "A", ("T",)) for pos in (0, 90, 100, 101, 300)]
    found = {item.pos: item for item in items}
    positions = [[item.pos for item in group] for group in iter_groups(items, {}, found, RULE)]
    assert positions == [[0, 90, 100], [101], [300]]
    few = UnifyOptions(partition=2)
    assert [len(group) for group in iter_groups(items, {}, found, few)] == [2, 2, 1]


def test_candidate_and_truth_of_a_position_stay_together():
    items = [Variant(pos, "A", ("T",)) for pos in (0, 1, 2)]
    found, truth = {item.pos: item for item in items}, Variant(1, "A", ("C", "G"), (1, 2))
    ordered = [*items[:2], truth, items[2]]
    groups = list(iter_groups(ordered, {1: truth}, found, UnifyOptions(max_count=2)))
    assert groups == [[items[0], items[1], truth, items[2]], [items[2]]]


def test_too_many_combinations_leave_the_truth_as_it_is():
    sites = [site(pos, R="1111", XT="2222", gap="0") for pos in range(10, 30)]
    truths = {12: Variant(12, "A", ("T",), (0, 1)), 13: Variant(13, "A", ("G",), (0, 1))}
    assert unify(sites, truths, "A" * 200, 0, 200, UnifyOptions(max_count=1)) == [
        UnifiedRecord(12, "A", ("T",), (0, 1))
    ]


# -- laws --------------------------------------------------------------------------------------------

Change = tuple[int, str, str]


def apply(reference: str, changes: list[Change]) -> str:
    for pos, ref, alt in sorted(changes, reverse=True):
        assert reference[pos : pos + len(ref)] == ref
        reference = reference[:pos] + alt + reference[pos + len(ref) :]
    return reference


def left_aligned(reference: str, change: Change) -> Change:
    """Where an aligner puts an indel."""
    pos, ref, alt = change
    while pos and len(ref) != len(alt) and (ref[-1] == alt[-1] or min(len(ref), len(alt)) == 1):
        if ref[-1] != alt[-1]:
            break
        ref, alt = ref[:-1], alt[:-1]
        if not ref or not alt:
            pos -= 1
            ref, alt = reference[pos] + ref, reference[pos] + alt
    return pos, ref, alt


def right_shifted(reference: str, change: Change, steps: int) -> Change:
    pos, ref, alt = change
    for _ in range(steps):
        after = reference[pos + len(ref) : pos + len(ref) + 1]
        longer = max(ref, alt, key=len)
        if len(ref) == len(alt) or not after or longer[1:2] != after:
            break
        pos, ref, alt = pos + 1, ref[1:] + after if len(ref) > 1 else after, alt[1:] + after if len(alt) > 1 else after
    return pos, ref, alt


@st.composite
def truths(pick):
    """A repetitive reference and variants that are apart, but in one group: (reference, [(change, genotype)])."""
    unit = st.text("ACGT", min_size=1, max_size=3)
    repeats = st.tuples(unit, st.integers(1, 6)).map(lambda pair: pair[0] * pair[1])
    reference = "ACGTTGCA" + "".join(pick(st.lists(repeats, min_size=8, max_size=20))) + "TGCATGGACT" * 8
    changes, at = [], 2
    while at < min(len(reference) - 60, 80) and len(changes) < 4:
        kind, length = pick(st.sampled_from("SID")), pick(st.integers(1, 4))
        base = reference[at]
        if kind == "S":
            change = (at, base, pick(st.sampled_from(sorted(set("ACGT") - {base}))))
        elif kind == "I":
            change = (at, base, base + pick(st.text("ACGT", min_size=length, max_size=length)))
        else:
            change = (at, reference[at : at + length + 1], base)
        changes.append((change, pick(st.sampled_from([(0, 1), (1, 0), (1, 1)]))))
        at += pick(st.integers(12, 40))
    return reference, changes


def haplotypes(reference, changes):
    return tuple(sorted(apply(reference, [change for change, given in changes if given[h]]) for h in (0, 1)))


def collect_sites(reference, changes, phased):
    """What ten reads of each haplotype show, aligned to the left; * is no part of it."""
    shown = {}
    for change, genotype in changes:
        pos, ref, alt = change
        name = f"X{alt}" if len(ref) == len(alt) else f"I{alt}" if len(alt) > len(ref) else f"D{ref[1:]}"
        for h in (1, 2):
            reads = [(f"h{h}r{i}", h if phased else 0) for i in range(10)]
            shown.setdefault(pos, {}).setdefault(name if genotype[h - 1] else "R", []).extend(reads)
    return [Site(pos, sum(map(len, alleles.values())), alleles) for pos, alleles in sorted(shown.items())]


def draw_noisy_genome(seed):
    """A random genome of 2 kb with 20 true variants, and reads that err at as many other sites, without a consensus.

    Returns (reference, {pos: Variant}, sites): 15 reads of each haplotype; at an erring site up to 60 % of those of a
    haplotype show one wrong allele, and the rest rare ones, gaps or the reference.
    """
    random = Random(seed)
    reference = "".join(random.choices("ACGT", k=2000))
    known, sites = {}, []
    for at in range(20, 1900, 46):
        pos, true = at + random.randrange(20), random.random() < 0.5
        base = reference[pos]
        other = random.choice([letter for letter in "ACGT" if letter != base])
        wrong = random.choice([f"X{other}", f"I{base}{other * 2}", f"D{reference[pos + 1 : pos + 3]}"])
        genotype = random.choice([(0, 1), (1, 0), (1, 1)])
        if true:
            ref, alt = {"X": (base, other), "I": (base, wrong[1:]), "D": (base + wrong[1:], base)}[wrong[0]]
            known[pos] = Variant(pos, ref, (alt,), tuple(sorted(genotype)))
        alleles = {}
        for haplotype in (1, 2):
            share = random.uniform(0, 0.6)
            for number in range(15):
                if true:
                    name = wrong if genotype[haplotype - 1] else "R"
                elif number < share * 15:
                    name = wrong
                else:
                    name = random.choice(["R", "*", f"I{base}{'ACGT'[number % 4] * (number % 5 + 3)}"])
                alleles.setdefault(name, []).append((f"{pos}h{haplotype}r{number}", haplotype))
        sites.append(Site(pos, 30, alleles))
    return reference, known, sites


@pytest.mark.parametrize("seed", range(15))
def test_reads_without_a_consensus_invent_no_variant(seed):
    """Every record is one of the truth; 1,000 seeds were run once by hand."""
    reference, known, sites = draw_noisy_genome(seed)
    records = unify(sites, known, reference, 0, len(reference), RULE)
    truth = {(one.pos, one.ref, one.alts, one.genotype) for one in known.values()}
    assert {(one.pos, one.ref, one.alts, tuple(sorted(one.genotype))) for one in records} <= truth
    assert len(records) == len(known)


@given(truths(), st.integers(0, 8), st.booleans())
def test_unified_truth_spells_the_same_haplotypes(drawn, steps, phased):
    """Truth shifted to the right comes back where the alignments have it, with the same two sequences."""
    reference, changes = drawn
    aligned = [(left_aligned(reference, change), genotype) for change, genotype in changes]
    apart = all(one[0][0] + len(one[0][1]) < two[0][0] for one, two in pairwise(aligned))
    given_truth = [(right_shifted(reference, change, steps), genotype) for change, genotype in aligned]
    clear = all(one[0][0] + len(one[0][1]) < two[0][0] for one, two in pairwise(given_truth))
    assume(apart and clear)
    assert haplotypes(reference, given_truth) == haplotypes(reference, aligned)

    known = {pos: Variant(pos, ref, (alt,), tuple(sorted(genotype))) for (pos, ref, alt), genotype in given_truth}
    records = unify(collect_sites(reference, aligned, phased), known, reference, 0, len(reference), RULE)
    assert {record.pos for record in records} == {change[0] for change, _ in aligned}
    spelled = {
        haplotypes(
            reference, [((r.pos, r.ref, r.alts[0]), r.genotype[::flip]) for r, flip in zip(records, flips, strict=True)]
        )
        for flips in product((1, -1), repeat=len(records))
    }
    assert haplotypes(reference, given_truth) in spelled


@given(truths(), st.randoms(use_true_random=False))
def test_order_of_reads_and_sites_does_not_matter(drawn, random):
    reference, changes = drawn
    aligned = [(left_aligned(reference, change), genotype) for change, genotype in changes]
    known = {pos: Variant(pos, ref, (alt,), tuple(sorted(genotype))) for (pos, ref, alt), genotype in changes}
    sites = collect_sites(reference, aligned, True)
    first = unify(sites, known, reference, 0, len(reference), RULE)
    for shown in sites:
        for reads in shown.alleles.values():
            random.shuffle(reads)
    random.shuffle(sites)
    assert unify(sites, known, reference, 0, len(reference), RULE) == first


@given(
    st.text("ACGT", min_size=1, max_size=6), st.lists(st.text("ACGT", min_size=1, max_size=6), min_size=1, max_size=3)
)
def test_trimming_keeps_what_differs(ref, alts):
    short, rest = trim(ref, alts)
    cut = len(ref) - len(short)
    assert short and all(rest) and [alt + ref[len(short) :] for alt in rest] == alts
    alike = len({allele[-1] for allele in (short, *rest)}) == 1 and min(map(len, (short, *rest))) > 1
    assert cut == 0 or not alike


# -- alleles of reads --------------------------------------------------------------------------------


def write_tagged(path, length, reads, tags=()):
    """A BAM of contig c; tags gives some reads' haplotypes by name."""
    header = pysam.AlignmentHeader.from_references(["c"], [length])
    with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
        for read in sorted(reads, key=lambda read: read.pos):
            segment = aligned_segment(read, 0, header)
            if read.name in dict(tags):
                segment.set_tag("HP", dict(tags)[read.name])
            bam.write(segment)
    pysam.index(str(path))
    return path


def found_sites(path, ref, start=0, end=None):
    with pysam.AlignmentFile(str(path)) as bam:
        return list(iter_sites(bam, "c", ref.upper(), start, len(ref) if end is None else end))


def test_alleles_of_drawn_reads(tmp_path):
    ref, reads = draw("""
        = ACGTACGTAC
        > ....T.....
        > ..........
        +   GTT
        > ...**.....
        < ..........
    """)
    write_tagged(tmp_path / "x.bam", len(ref), reads, {"r1": 2, "r2": 1, "r4": 3})
    assert found_sites(tmp_path / "x.bam", ref) == [
        Site(2, 4, {"R": [("r1", 2), ("r4", 0)], "IGGTT": [("r2", 1)], "DTA": [("r3", 0)]}),
        Site(4, 4, {"XT": [("r1", 2)], "R": [("r2", 1), ("r4", 0)], "*": [("r3", 0)]}),
    ]


def test_reads_that_do_not_count(tmp_path):
    odd = [Read(0, "10M", "T" * 10, flag, mapq, f"x{flag}") for flag, mapq in
           ((0, 4), (256, 60), (2048, 60), (8, 60), (1, 60))]  # fmt: skip
    good = [Read(0, "10M", "A" * 10, name="a"), Read(0, "10M", "ACAAAAAAAA", name="b")]
    write_tagged(tmp_path / "x.bam", 10, [*odd, *good])
    assert found_sites(tmp_path / "x.bam", "A" * 10) == [Site(1, 2, {"R": [("a", 0)], "XC": [("b", 0)]})]


@given(cases())
def test_alleles_agree_with_the_reference(tmp_path_factory, case):
    reads = [
        Read(read.pos, "".join(f"{n}{op}" for op, n in ops), read.seq, read.flag & 0x910, read.mapq, f"{i}")
        for i, read in enumerate(case.reads)
        if (ops := [(op, n) for op, n in parse_cigar(read.cigar) if op != "P"]) and any(op in "M=XDN" for op, _ in ops)
    ]
    path = write_tagged(tmp_path_factory.mktemp("reads") / "x.bam", len(case.ref), reads)
    assert found_sites(path, case.ref) == slow_sites(case.ref.upper(), reads)


def slow_sites(ref, reads):
    columns = {}
    for read in reads:
        if read.flag & 0x900 or read.mapq < 5 or not read.seq:
            continue
        for pos, event in read_events(read):
            columns.setdefault(pos, []).append((read.name, event))
    sites = []
    for pos, events in sorted(columns.items()):
        bases = Counter(event.letter for _, event in events if event.letter in "ACGT")
        depth = sum(bases.values())
        shown, kinds = {}, Counter()
        for name, event in events:
            if event.letter not in "ACGT" and event.letter != DELETED:
                continue
            allele = "R" if event.letter == ref[pos] else f"X{event.letter}"
            if event.letter == DELETED:
                allele = "*"
            elif event.inserted:
                allele = f"I{event.letter}{event.inserted}"
            elif event.deleted:
                allele = f"D{ref[pos + 1 : pos + 1 + event.deleted]}"
            kinds[allele[0]] += 1
            shown.setdefault(allele, []).append((name, 0))
        indel = max(kinds["I"], kinds["D"])
        other = max((count for base, count in bases.items() if base != ref[pos]), default=0)
        hit = other / depth >= 0.08 or indel / depth >= 0.15 or bases[ref[pos]] < max(other, indel) if depth else False
        if depth >= 2 and ref[pos] in "ACGT" and hit:
            sites.append(
                Site(pos, sum(event.letter != SKIPPED and event.letter in "ACGT*" for _, event in events), shown)
            )
    return sites


def test_details_can_be_written_and_read(tmp_path):
    sites = [site(4, R="12", XT="0"), site(7, gap="1", IAC="22")]
    (tmp_path / "details_1").write_text("".join(f"{format_details('c', found)}\n" for found in sites[:1]))
    (tmp_path / "details_2").write_text("".join(f"{format_details('c', found)}\n" for found in sites[1:]))
    assert list(read_details(sorted(tmp_path.iterdir()), "c")) == sites
    assert list(read_details([tmp_path / "details_1"], "other")) == []


# -- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A contig whose reads show 5 T>G heterozygous, and the options that name its files."""
    ref = "ACGTTGCATGCCAATCGATC"
    write_fasta(tmp_path / "ref.fa", {"c": ref, "d": ref})
    reads = [Read(0, "20M", ref[:4] + base + ref[5:], name=f"{base}{i}") for base in "TG" for i in range(5)]
    write_tagged(tmp_path / "reads.bam", len(ref), reads, {read.name: 1 + (read.name[0] == "G") for read in reads})
    (tmp_path / "var").write_text("c 5 T G 0 1\nc 9 None None -1 -1\nc 12 C A 0 1\n")
    return {
        "bam_fn": tmp_path / "reads.bam",
        "ref_fn": tmp_path / "ref.fa",
        "var_fn": tmp_path / "var",
        "output_vcf_fn": tmp_path / "out.vcf",
        "ctgName": "c",
    }


def start(options, *more):
    clair3([NAME, *(f"--{name}={value}" for name, value in options.items()), *more])


def test_from_reads(small):
    start(small)
    assert vcf_keys(small["output_vcf_fn"]) == [(5, "T", ("G",), "0/1")]


def test_nothing_to_unify_is_an_empty_vcf(small):
    small["var_fn"].write_text("")
    start(small, "--ctgStart=1", "--ctgEnd=10")
    assert vcf_keys(small["output_vcf_fn"]) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ctgName": "e"}, "no contig e (--ctgName)"),
        ({"ctgName": "d", "var_fn": ""}, "no contig d (--ctgName) in the header"),
        ({"var_fn": "c 5 T G 0\n"}, "row 1 is 'c 5 T G 0', not contig, position"),
        ({"var_fn": "d 5 T G 0 1\n"}, "true variants of d but none of c"),
        ({"var_fn": "c 5 A G 0 1\n"}, "truth at position 5: REF is A, the reference has T"),
        ({"var_fn": "c 500 A G 0 1\n", "ctgEnd": 600}, "truth at position 500"),
        ({"candidate_details_fn": "c 5\t9\t{}x\n"}, "is not one of candidate details"),
        ({"candidate_details_fn": 'c 5\t9\t{"XG": "read_9"}\n'}, "is not one of candidate details"),
        ({"candidate_details_fn": None}, "no such file, nor files that start so"),
        ({"bam_fn": "EMPTY"}, "--bam_fn or --candidate_details_fn is needed"),
        ({"chunk_id": 1}, "--chunk_id and --chunk_num go together"),
        ({"chunk_id": 4, "chunk_num": 3}, "--chunk_id=4: expected a number from 1 to --chunk_num=3"),
        ({"ctgStart": 10, "ctgEnd": 5}, "--ctgStart and --ctgEnd ask for 10 to 5"),
        ({"minimum_allele_gap": 2}, "--minimum_allele_gap=2.0 (maximum:0.5) out of range"),
        ({"partition_size": 0}, "--partition_size=0 (minimum:1) out of range"),
        ({"vcf_fn": "x.vcf"}, "--vcf_fn is not in this version"),
    ],
)
def test_bad_input(small, tmp_path, capsys, change, message):
    for name, value in change.items():
        if name in ("var_fn", "candidate_details_fn"):
            if value is not None:
                (tmp_path / "given").write_text(value)
            value = tmp_path / "given"
        small[name] = value
    with pytest.raises(SystemExit) as stopped:
        start(small)
    assert stopped.value.code in (1, 2) and message in capsys.readouterr().err.splitlines()[-1]
    assert not small["output_vcf_fn"].exists()


def test_damaged_reads_are_refused(tmp_path, capsys):
    """Garbage in the middle of the BAM: no VCF, the region is named."""
    folder = PARITY / "reads"
    data = bytearray((folder / "hifi.bam").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    (tmp_path / "x.bam").write_bytes(data)
    (tmp_path / "x.bam.bai").write_bytes((folder / "hifi.bam.bai").read_bytes())
    (tmp_path / "var").write_text("chr21 762 C T 0 1\n")
    files = {"bam_fn": tmp_path / "x.bam", "ref_fn": folder / "ref.fa", "var_fn": tmp_path / "var"}
    with pytest.raises(SystemExit) as stopped:
        start({**files, "output_vcf_fn": tmp_path / "out.vcf", "ctgName": "chr21"})
    assert stopped.value.code == 1 and "x.bam chr21:" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out.vcf").exists()
