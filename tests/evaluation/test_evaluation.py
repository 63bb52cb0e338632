"""clair3 evaluate: RTG vcfeval's counts, laws of the matching, numbers, and the command (docs/evaluate.md)."""

import gzip
import json
import shlex
import subprocess
import sys
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pysam
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from program import ROOT
from random_reads import write_fasta

from clair3.cli.main import main as clair3
from clair3.evaluation import matching
from clair3.evaluation.classify import ClassifiedVariant, classify_variants, compare, find_longest_run
from clair3.evaluation.counting import (
    Score,
    Tally,
    find_best_point,
    stratify_by_depth,
    stratify_by_length,
    stratify_by_run,
    stratify_by_type,
    wilson_interval,
)
from clair3.evaluation.matching import match
from clair3.evaluation.variants import Change, Variant, VcfVariants, parse_genotype, trim_allele

# -- RTG vcfeval -------------------------------------------------------------------------------------

SIM = ("sim/small/truth.vcf.gz", "sim/small/ref.fa", None)
HIFI, ONT = "real/hg002_hifi_chr20_0.06M", "real/hg002_ont_r104_hac5_chr20_5.00M"
SLICE = "real/ref_chr20_0-10M.fa.gz"
RESPELLED = "golden/vcfeval/respelled_truth.vcf.gz"


def run_of(name):
    return f"golden/runs/{name}/merge_output.vcf.gz"


VCFEVAL = {
    **{name: (run_of(name), *SIM) for name in ("ont_default", "hifi_default", "ont_hot", "hifi_hot", "ilmn_default")},
    **{name: (run_of(name), *SIM) for name in ("ont_long_indel", "ont_print_ref")},
    "ont_default_squash": (run_of("ont_default"), *SIM),
    "ont_hot_squash": (run_of("ont_hot"), *SIM),
    "real_hifi": (run_of("real_hifi_chr20_bed"), f"{HIFI}/truth.vcf.gz", SLICE, f"{HIFI}/eval.bed"),
    "real_ont": (run_of("real_ont_hac5"), f"{ONT}/truth.vcf.gz", SLICE, f"{ONT}/eval.bed"),
    "respelled": (RESPELLED, *SIM),
    "respelled_vs_ont": (run_of("ont_default"), RESPELLED, *SIM[1:]),
}


def whole_contigs(fasta, bed):
    with pysam.FastaFile(str(fasta)) as file:
        bed.write_text("".join(f"{name}\t0\t{n}\n" for name, n in zip(file.references, file.lengths, strict=True)))
    return bed


def test_every_case_of_vcfeval_is_compared(shared_data):
    rows = (shared_data / "golden/vcfeval/summary.tsv").read_text().splitlines()[1:]
    assert {row.split("\t")[0] for row in rows} == set(VCFEVAL)


@pytest.mark.parametrize("name", VCFEVAL)
def test_agrees_with_vcfeval(shared_data, tmp_path, name):
    """Each record is in the class that vcfeval puts it in; its totals are those of the summary."""
    calls, truth, fasta, bed = (path and shared_data / path for path in VCFEVAL[name])
    bed = bed or whole_contigs(fasta, tmp_path / "all.bed")
    switches = [f"--ignore_genotypes={name.endswith('_squash')}", f"--all_records={name == 'ont_print_ref'}"]
    files = (f"--records={tmp_path / 'records.tsv'}", f"--json={tmp_path / 'result.json'}")
    clair3(["evaluate", *map(str, (calls, truth, bed, fasta)), *switches, *files])

    def known(path):
        rows = (line.split("\t") for line in path.read_text().splitlines() if line[0] != "#")
        return Counter((row[0], row[1], row[2], row[3].upper(), row[4].upper()) for row in rows)

    folder = shared_data / "golden/vcfeval"
    assert known(tmp_path / "records.tsv") == known(folder / f"{name}.tsv")
    total = json.loads((tmp_path / "result.json").read_text())["strata"]["type"]["all"]
    summary = next(row for row in (folder / "summary.tsv").read_text().splitlines() if row.startswith(f"{name}\t"))
    expected = summary.split("\t")[2:]
    assert [str(total[key]) for key in ("tp_truth", "tp_calls", "fp", "fn")] == expected[:4]
    assert [f"{total[key]:.4f}" for key in ("precision", "recall", "f1")] == expected[4:]


# -- variants ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref, alt, change",
    [
        ("A", "T", Change(10, 11, "T")),
        ("AC", "A", Change(11, 12, "")),
        ("A", "ACG", Change(11, 11, "CG")),
        ("TTTGA", "TTCGA", Change(12, 13, "C")),
        ("CAG", "CAGCAG", Change(13, 13, "CAG")),
        ("A", "AA", Change(11, 11, "A")),
        ("ACG", "TCC", Change(10, 13, "TCC")),
        ("A", "A", None),
    ],
)
def test_trimmed(ref, alt, change):
    assert trim_allele(10, ref, alt) == change


@pytest.mark.parametrize(
    "text, genotype",
    [("0/1", (0, 1)), ("2|1", (2, 1)), ("1", (1, 1)), ("./1", (0, 1)), ("./.", None), ("0", None), (".", None)],
)
def test_genotypes(text, genotype):
    assert parse_genotype(text) == genotype


@pytest.mark.parametrize("text", ["", "0/1/1", "a/b", "-1/1"])
def test_bad_genotypes(text):
    with pytest.raises(ValueError):
        parse_genotype(text)


def variant(pos, ref, alts, genotype="0/1", quality=None, depth=None):
    alleles = [ref, *alts.split(",")]
    first, second = (trim_allele(pos, ref, alleles[number]) for number in parse_genotype(genotype))
    return Variant(pos, ref, alts, genotype, (first, second), quality, depth)


# -- matching ----------------------------------------------------------------------------------------


def groups(calls, truths, sequence, ploidy=2):
    return match(calls, truths, sequence, ploidy).groups


def test_a_shifted_deletion_matches():
    sequence = "GCATTTTTTTTTTTTTTTTTTTTCGA"
    assert groups([variant(2, "AT", "A")], [variant(20, "TTT", "TT")], sequence) == [([0], [0])]


def test_shifted_across_a_long_repeat():
    sequence = "GGC" + "AC" * 3000 + "TTGG"
    assert groups([variant(2, "CAC", "C")], [variant(5990, sequence[5990:5993], sequence[5990])], sequence)


def test_one_multi_allelic_record_equals_two_records():
    sequence = "GCATGCAAGTC"
    calls, truths = [variant(4, "G", "T,A", "1/2")], [variant(4, "G", "T"), variant(4, "G", "A")]
    assert groups(calls, truths, sequence) == [([0], [0, 1])]


def test_substitutions_as_one_or_many_records():
    sequence = "GCATGCAAGTC"
    calls = [variant(4, "GCA", "TCC", "1/1")]
    assert groups(calls, [variant(4, "G", "T", "1/1"), variant(6, "A", "C", "1/1")], sequence) == [([0], [0, 1])]
    apart = [variant(4, "G", "T", "0/1"), variant(6, "A", "C", "0/1")]
    assert groups([variant(4, "GCA", "TCC")], apart, sequence) == [([0], [0, 1])]
    assert groups(calls, apart, sequence) == []


def test_deletion_and_insertion_equal_substitutions():
    sequence = "TTGCACACAGTT"
    calls = [variant(2, "GC", "G", "1/1"), variant(8, "A", "AC", "1/1")]
    truths = [variant(3 + i, ref, alt, "1/1") for i, (ref, alt) in enumerate(["CA", "AC", "CA", "AC", "CA", "AC"])]
    assert groups(calls, truths, sequence) == [([0, 1], list(range(6)))]


def test_genotypes_count_unless_ignored():
    sequence = "GCATGCAAGTC"
    calls, truths = [variant(4, "G", "T", "1/1")], [variant(4, "G", "T", "0/1")]
    assert groups(calls, truths, sequence) == [] and groups(calls, truths, sequence, ploidy=1) == [([0], [0])]


def test_calls_that_undo_each_other_match_nothing():
    sequence = "GCATTTTTTTCGA"
    calls = [variant(2, "AT", "A", "1/1"), variant(9, "T", "TT", "1/1")]
    assert groups(calls, [], sequence) == []
    assert groups(calls, [variant(11, "G", "C")], sequence) == []


def test_overlapping_calls_on_one_haplotype_are_not_both_right():
    sequence = "GCATGCAAGTC"
    calls = [variant(4, "GCA", "G", "1/1"), variant(5, "C", "T", "1/1")]
    assert groups(calls, [variant(4, "GCA", "G", "1/1")], sequence) == [([0], [0])]
    assert groups(calls, [variant(5, "C", "T", "1/1")], sequence) == [([1], [0])]


def test_changes_at_both_ends_of_a_contig():
    sequence = "GCATGC"
    ends = [variant(0, "G", "T"), variant(5, "C", "CAA", "1/1")]
    assert groups(ends, ends, sequence) == [([0], [0]), ([1], [1])]


def test_too_complex_clusters_are_reported(monkeypatch):
    sequence = "GC" + "AT" * 40 + "GGC"
    calls = [variant(pos, sequence[pos : pos + 3], sequence[pos]) for pos in range(3, 60, 4)]
    truths = [variant(pos, sequence[pos : pos + 3], sequence[pos]) for pos in range(5, 62, 4)]
    whole = match(calls, truths, sequence)
    assert not whole.cut and sum(len(group) for pair in whole.groups for group in pair) == 30
    monkeypatch.setattr(matching, "MAX_STATES", 8)
    cut = match([*calls, variant(82, "G", "A")], [*truths, variant(82, "G", "A")], sequence)
    assert [start for start, _ in cut.cut] == [4] and cut.groups[-1] == ([15], [15])


small = st.sampled_from(["A", "C", "AC", "AAC"]).flatmap(
    lambda unit: st.integers(6, 10).map(lambda n: "G" + (unit * n)[:n] + "TGG")
)


@st.composite
def problems(pick, most=3):
    """A repetitive reference with up to three calls and true variants."""
    sequence = pick(small)

    def change():
        pos = pick(st.integers(0, len(sequence) - 4))
        ref = sequence[pos : pos + pick(st.integers(1, 3))]
        return pos, ref, pick(st.text("AC", min_size=0, max_size=2).map(lambda rest: ref[0] + rest))

    def record():
        pos, ref, alt = change()
        if pick(st.integers(0, 5)):
            return variant(pos, ref, alt, pick(st.sampled_from(["0/1", "1/1"])))
        return variant(pos, ref, f"{alt},{pick(st.text('AC', min_size=1, max_size=3))}", "1/2")

    def side():
        return [v for v in (record() for _ in range(pick(st.integers(0, most)))) if v.changes]

    return sequence, side(), side()


def spell(sequence, changes):
    """A haplotype with these changes; None when they overlap."""
    changes, place = sorted(changes), 0
    for before, after in pairwise(changes):
        if after.start < before.end or (before.start == before.end == after.start == after.end):
            return None
    text = ""
    for start, end, bases in changes:
        text, place = text + sequence[place:start] + bases, end
    return text + sequence[place:]


def assignments(sequence, variants):
    """Each choice of variants, put on two haplotypes: the pair of sequences, and how many variants it takes."""
    ways = [[(None, None), *dict.fromkeys([v.haplotypes, v.haplotypes[::-1]])] for v in variants]
    for chosen in product(*ways):
        pair = [spell(sequence, [changes[h] for changes in chosen if changes[h]]) for h in (0, 1)]
        if None not in pair:
            yield tuple(sorted(pair)), sum(changes != (None, None) for changes in chosen)


def most_of(sequence, variants):
    found = {}
    for pair, count in assignments(sequence, variants):
        found[pair] = max(count, found.get(pair, 0))
    return found


@given(problems())
def test_matches_as_many_as_trying_everything(problem):
    sequence, calls, truths = problem
    by_pair = [most_of(sequence, side) for side in (calls, truths)]
    assume(by_pair[0][sequence, sequence] == by_pair[1][sequence, sequence] == 0)  # none undo each other
    best = max(count + by_pair[1][pair] for pair, count in by_pair[0].items() if pair in by_pair[1])
    found = groups(calls, truths, sequence)
    assert sum(len(group) for pair in found for group in pair) == best
    taken = [[side[i] for pair in found for i in pair[k]] for k, side in enumerate((calls, truths))]
    spelled = [
        {pair for pair, count in assignments(sequence, side) if count == len(side)} for side in taken
    ]  # the matched ones alone spell the same
    assert spelled[0] & spelled[1]


@given(problems(most=5), st.randoms(use_true_random=False))
def test_respelled_truth_is_the_truth(problem, random):
    """Variants whose records are apart, each with more of the bases around it: all match."""
    sequence, truths, _ = problem
    apart, calls, place = [], [], 0
    for v in sorted(truths, key=lambda v: v.pos):
        if v.pos < place:
            continue
        left, right = random.randint(place, v.pos), v.pos + len(v.ref)
        place = random.randint(right, min(right + 2, len(sequence)))
        before, after = sequence[left : v.pos], sequence[right:place]
        alts = ",".join(before + alt + after for alt in v.alts.split(","))
        apart.append(v)
        calls.append(variant(left, before + v.ref + after, alts, v.genotype))
    random.shuffle(calls)
    found = groups(calls, apart, sequence)
    assert sum(len(pair[0]) for pair in found) == sum(len(pair[1]) for pair in found) == len(apart)


# -- classes and numbers ------------------------------------------------------------------------------

REF = "GCATGCAAGTCTTTTTTTGCATCCAGATCGATTGCAGCATCGAC"
BED = np.array([[0, len(REF)]])


def test_labels():
    calls = [variant(3, "T", "C", "1/1", 9.5), variant(5, "C", "A", "0/1", 20), variant(25, "G", "T", "0/1", 3)]
    truths = [variant(3, "T", "C", "0/1"), variant(5, "C", "A", "0/1"), variant(30, "A", "T", "0/1")]
    classified, cut = classify_variants("c", calls, truths, REF, BED)
    assert not cut and [item.row.split("\t") for item in classified] == [
        ["fn", "c", "4", "T", "C", "0/1", "0.00", "genotype"],
        ["fp", "c", "4", "T", "C", "1/1", "9.50", "genotype"],
        ["tp-baseline", "c", "6", "C", "A", "0/1", "20.00", "."],
        ["tp", "c", "6", "C", "A", "0/1", "20.00", "."],
        ["fp", "c", "26", "G", "T", "0/1", "3.00", "."],
        ["fn", "c", "31", "A", "T", "0/1", "0.00", "."],
    ]


def test_only_what_is_inside_counts_and_what_is_outside_helps():
    calls, truths = [variant(10, "CT", "C", "0/1", 5)], [variant(16, "TT", "T")]
    inside = classify_variants("c", calls, truths, REF, np.array([[15, 20]]))[0]
    assert [(item.is_call, item.is_matched) for item in inside] == [(False, True)]


@pytest.mark.parametrize("start, end, run", [(12, 13, 7), (11, 11, 7), (10, 11, 7), (9, 10, 1), (0, 1, 1), (19, 19, 1)])
def test_homopolymers(start, end, run):
    assert find_longest_run(REF, start, end) == run


def classified(is_call, is_matched, quality=0.0, v=None, error=False, run=1):
    return ClassifiedVariant("c", v or variant(3, "T", "C"), is_call, is_matched, error, quality, run)


def test_strata():
    deletion = classified(True, True, v=variant(3, "TGCA", "T", "0/1", 5, depth=25), run=8)
    strata = (stratify_by_type, stratify_by_length, stratify_by_run, stratify_by_depth)
    assert [stratify(deletion) for stratify in strata] == ["indel", "deletion 2-5", "indel 7-10", "indel 20-39"]
    assert stratify_by_length(classified(True, True)) is None and stratify_by_depth(classified(False, True)) is None
    assert stratify_by_length(classified(True, True, v=variant(3, "T", "C,TGG", "1/2"))) == "insertion 2-5"
    assert stratify_by_type(classified(True, True, v=variant(3, "TG", "CA"))) == "SNP"


@pytest.mark.parametrize(
    "successes, trials, interval",
    [(0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (5, 10, (0.2366, 0.7634)), (81, 263, (0.2553, 0.3662))],
)
def test_wilson(successes, trials, interval):
    """Known values; the last from Newcombe 1998, table I."""
    assert wilson_interval(successes, trials) == pytest.approx(interval, abs=6e-5)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_scores(right, wrong, missed):
    score = Score(tp_calls=right, fp=wrong, tp_truth=right, fn=missed)
    values = score.values()
    for name in ("precision", "recall", "f1"):
        value, interval = values[name], values[f"{name}_interval"]
        assert (value is None) == (interval is None)
        if value is not None:
            assert 0 <= interval[0] <= value + 1e-12 and value - 1e-12 <= interval[1] <= 1
    assert score.f1 == (pytest.approx(2 * right / (2 * right + wrong + missed)) if right + wrong + missed else None)


def test_curve():
    tally = Tally()
    tally.add(
        [
            classified(True, True, 30),
            classified(True, False, 20),
            classified(True, True, 10),
            classified(True, False, 5),
        ]
    )
    tally.add([classified(False, True, 30), classified(False, True, 10), classified(False, False)])
    expected = [[30, 1, 1 / 3], [20, 1 / 2, 1 / 3], [10, 2 / 3, 2 / 3], [5, 1 / 2, 2 / 3]]
    assert tally.curve("SNP") == pytest.approx(np.array(expected))
    assert find_best_point(tally.curve("SNP"))["quality"] == 10
    assert not len(tally.curve("indel")) and find_best_point(tally.curve("indel")) is None


# -- the command -------------------------------------------------------------------------------------

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
CALLS = [
    "c\t4\t.\tT\tC\t9.5\tPASS\t.\tGT:DP\t0/1:30",
    "c\t6\t.\tC\tA\t20\t.\t.\tGT\t0/1",
    "c\t11\t.\tCT\tC\t7\tPASS\t.\tGT:DP\t1/1:8",
    "c\t26\t.\tG\tT\t3\tLowQual\t.\tGT:DP\t0/1:30",
    "d\t4\t.\tT\tC\t3\tPASS\t.\tGT\t./.",
    "d\t6\t.\tC\t<DEL>\t3\tPASS\t.\tGT\t0/1",
]
TRUTH = ["c\t4\t.\tT\tC\t.\tPASS\t.\tGT\t1|0", "c\t17\t.\tTT\tT\t.\t.\t.\tGT\t1|1", "d\t31\t.\tA\tT\t.\t.\t.\tGT\t0|1"]


def vcf(path, rows, samples=("S",)):
    text = f"{HEADER}\tFORMAT\t" + "\t".join(samples) + "\n" if samples else f"{HEADER}\n"
    path.write_text(text + "".join(f"{row}\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    write_fasta(tmp_path / "ref.fa", {"c": REF, "d": REF})
    (tmp_path / "in.bed").write_text(f"c\t0\t{len(REF)}\nd\t0\t{len(REF)}\n")
    vcf(tmp_path / "calls.vcf", CALLS)
    vcf(tmp_path / "truth.vcf", TRUTH)
    return {name: tmp_path / f"{name}{end}" for name, end in
            (("calls", ".vcf"), ("truth", ".vcf"), ("in", ".bed"), ("ref", ".fa"))}  # fmt: skip


def evaluate(files, *options):
    clair3(["evaluate", *map(str, files.values()), *options])


def first_table(capsys):
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:4]]
    return {row[0]: [int(word) for word in row[1:8]] for row in rows}


def test_report(files, capsys):
    evaluate(files)
    text = capsys.readouterr()
    assert text.err == ""
    rows = [line.split() for line in text.out.splitlines()]
    assert ["SNP", "2", "1", "1", "0", "2", "1", "1", "0.5000", "[0.0945-0.9055]"] == rows[1][:10]
    assert ["indel", "1", "1", "0", "0", "1", "1", "0", "1.0000", "[0.2065-1.0000]"] == rows[2][:10]
    assert ["all", "3", "2", "1", "0", "3", "2", "1"] == rows[3][:8]
    assert "calls: 1 records left out: FILTER is not PASS" in text.out
    assert "calls: 1 records left out: reference or missing genotype" in text.out
    assert "calls: 1 records left out: not a sequence of bases" in text.out


def test_all_records(files, capsys):
    evaluate(files, "--all_records")
    assert first_table(capsys)["SNP"] == [2, 1, 1, 0, 3, 1, 2]


def test_genotype_errors(files, capsys):
    vcf(files["calls"], [CALLS[0].replace("0/1", "1/1")])
    evaluate(files)
    assert first_table(capsys)["SNP"] == [2, 0, 2, 1, 1, 0, 1]
    evaluate(files, "--ignore_genotypes")
    assert first_table(capsys)["SNP"] == [2, 1, 1, 0, 1, 1, 0]


def test_compressed_files_and_order_of_contigs(files, tmp_path, capsys):
    evaluate(files)
    plain = capsys.readouterr().out
    for name in ("calls", "truth", "in"):
        data = files[name].read_bytes()
        if name == "truth":
            data = vcf(tmp_path / "other.vcf", TRUTH[::-1]).read_bytes()
        files[name] = tmp_path / f"{name}.gz"
        files[name].write_bytes(gzip.compress(data))
    evaluate(files)
    assert capsys.readouterr().out == plain


def test_sample_of_many(files, capsys):
    rows = [f"{row}\t0/0" for row in CALLS[:3]]
    vcf(files["calls"], rows, ("A", "B"))
    evaluate(files, "--sample=A")
    assert first_table(capsys)["all"] == [3, 2, 1, 0, 3, 2, 1]
    evaluate(files)
    assert first_table(capsys)["all"] == [3, 2, 1, 0, 3, 2, 1]
    evaluate(files, "--sample=B")
    assert first_table(capsys)["all"] == [3, 0, 3, 0, 0, 0, 0]


def test_json(files, tmp_path):
    evaluate(files, f"--json={tmp_path / 'x.json'}")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["strata"]["type"]["all"]["tp_calls"] == 2 and found["strata"]["depth"]["indel 0-9"]["recall"] is None
    assert found["best"]["indel"]["quality"] == 7 and found["curve"]["SNP"] == [[20, 0, 0], [9.5, 0.5, 0.5]]
    assert found["skipped"]["calls"]["FILTER is not PASS"] == 1 and found["not_searched_fully"] == []


def test_plot(files, tmp_path):
    pytest.importorskip("matplotlib")
    evaluate(files, f"--plot={tmp_path / 'x.png'}")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*partial"))


def test_plot_without_matplotlib(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("clair3.evaluation.report.find_spec", lambda name: None)
    assert "--plot needs matplotlib; run " in refusal(files, capsys, f"--plot={tmp_path / 'x.png'}")


def test_no_calls_and_no_truth(files, capsys):
    vcf(files["calls"], [])
    evaluate(files)
    assert first_table(capsys)["all"] == [3, 0, 3, 0, 0, 0, 0]
    vcf(files["truth"], [])
    evaluate(files)
    assert first_table(capsys)["all"] == [0, 0, 0, 0, 0, 0, 0]


def refusal(files, capsys, *options):
    with pytest.raises(SystemExit) as stopped:
        evaluate(files, *options)
    captured = capsys.readouterr()
    assert stopped.value.code in (1, 2) and captured.out == ""
    assert len(captured.err.splitlines()) == 1
    return captured.err


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("calls", f"{HEADER}\n", "no sample column; an evaluation needs genotypes"),
        ("truth", f"{HEADER}\n", "no sample column"),
        ("calls", "", "no #CHROM line; expected a VCF"),
        ("calls", f"{HEADER}\tFORMAT\tS\nc\t4\t.\tT\tC\t9\tPASS\t.\tDP\t30\n", "row 3 (c:4) has no genotype"),
        ("calls", f"{HEADER}\tFORMAT\tS\nc\t4\t.\tT\tC\t9\tPASS\t.\tGT\t0/3\n", "row 3 (c:4) has no genotype"),
        ("calls", f"{HEADER}\tFORMAT\tS\nc\tx\t.\tT\tC\n", "row 3 is"),
        ("calls", f"{HEADER}\tFORMAT\tS\nc\t4\t.\tG\tC\t9\tPASS\t.\tGT\t0/1\n", "c:4: REF is G, the reference has T"),
        ("truth", f"{HEADER}\tFORMAT\tS\nc\t400\t.\tG\tC\t9\tPASS\t.\tGT\t0/1\n", None),
        ("calls", f"{HEADER}\tFORMAT\tS\nchr1\t4\t.\tT\tC\t9\tPASS\t.\tGT\t0/1\n", "its contigs (chr1) are none of"),
        ("calls", f"{HEADER}\tFORMAT\tS\n{CALLS[0]}\n{TRUTH[2]}\n{CALLS[1]}\n", "comes in more than one piece"),
        ("calls", None, "calls.vcf"),
        ("in", "", "no intervals"),
        ("in", "chr1\t0\t10\n", "contig chr1 is not in"),
        ("in", "c\t0\n", "Invalid bed input"),
    ],
)
def test_bad_input(files, capsys, name, text, message):
    if text is None:
        files[name].unlink()
    else:
        files[name].write_text(text)
    if message is None:  # far outside of the BED's surroundings or not, a truth beyond the contig is refused
        message = "c:400: REF is G, the reference has ended"
    assert message in refusal(files, capsys)


def test_unknown_sample(files, capsys):
    assert "no sample X; it has S" in refusal(files, capsys, "--sample=X")
    assert "truth.vcf: no sample X" in refusal(files, capsys, "--truth_sample=X")


def test_nothing_is_left_of_a_failed_evaluation(files, tmp_path, capsys):
    vcf(files["truth"], [*TRUTH, "d\t40\t.\tG\tT\t.\t.\t.\tGT\t0|1"])
    refusal(files, capsys, f"--records={tmp_path / 'x.tsv'}", f"--json={tmp_path / 'x.json'}")
    assert not (tmp_path / "x.tsv").exists() and not (tmp_path / "x.json").exists()


def test_half_calls_and_spanning_deletions(files, capsys):
    vcf(files["calls"], ["c\t4\t.\tT\tC\t9\tPASS\t.\tGT\t./1", "d\t31\t.\tA\tT,*\t9\tPASS\t.\tGT\t1/2"])
    evaluate(files)
    assert first_table(capsys)["SNP"] == [2, 2, 0, 0, 2, 2, 0]


def test_contigs_come_one_at_a_time(files):
    calls, truth = (VcfVariants(files[name]) for name in ("calls", "truth"))
    assert [contig for contig, *_ in compare(calls, truth, files["in"], files["ref"])] == ["c", "d"]


def test_the_command_of_the_page(files, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    page = (ROOT / "docs" / "evaluate.md").read_text()
    words = shlex.split(page.partition("```sh\n")[2].partition("```")[0].replace("\\\n", ""))
    assert words[:2] == ["clair3", "evaluate"]
    for path, name in zip(files.values(), words[2:6], strict=True):
        data = path.read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    pysam.faidx(str(tmp_path / words[5]))
    monkeypatch.chdir(tmp_path)
    clair3(words[1:])
    assert first_table(capsys)["all"] == [3, 2, 1, 0, 3, 2, 1]
    assert all((tmp_path / name).is_file() for name in ("figures.json", "curve.png", "labels.tsv"))


def test_as_a_program(files, capsys):
    evaluate(files)
    command = [sys.executable, "-m", "clair3", "evaluate", *map(str, files.values())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", capsys.readouterr().out)
    files["truth"].write_text("")
    done = subprocess.run([*command, "--all_records"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("[ERROR] ")
