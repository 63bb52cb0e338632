"""Decoding: golden cases of v2.0.2, worked examples, and the quirks by their letter in spec/calling.md 15."""

import gzip
import json

import numpy as np
import pytest
from golden_runs import with_decided_values

from clair3.config import PRECISE, SENSITIVE, DecodeOptions
from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, INDEX, PILEUP, WIDTH
from clair3.genotype.decode import decode
from clair3.io.vcf import format_record, make_record
from clair3.records import SupportBatch

INFO = {PILEUP: "P", FULL_ALIGNMENT: "F"}


def support_of(texts, refs) -> SupportBatch:
    """Alt-info strings as arrays; an insertion whose anchor is not the reference letter keeps it, as kind i."""
    depth, kinds, counts, pool, per_candidate = [], [], [], [], []
    for text, ref in zip(texts, refs, strict=True):
        reads, _, items = text.partition("-")
        words = items.split()
        depth.append(int(reads))
        per_candidate.append(len(words) // 2)
        for key, count in zip(words[::2], words[1::2], strict=True):
            kind, bases = key[0], key[1:]
            if kind == "R":
                bases = ""
            elif kind == "I":
                kind, bases = ("I", bases[1:]) if bases[0] == ref else ("i", bases)
            kinds.append(ord(kind))
            counts.append(int(count))
            pool.append(bases)
    return SupportBatch(
        depth=np.array(depth, np.int32),
        item_start=np.cumsum([0, *per_candidate]),
        kind=np.array(kinds, np.uint8),
        count=np.array(counts, np.int32),
        seq_start=np.cumsum([0, *map(len, pool)]),
        pool="".join(pool).encode(),
    )


def letters(refs) -> np.ndarray:
    return np.frombuffer("".join(refs).encode(), np.uint8)


def head(size: int, given: dict[int, float]) -> np.ndarray:
    """One head: the probabilities given, the others share the rest."""
    values = np.full(size, (1 - sum(given.values())) / max(size - len(given), 1))
    values[list(given)] = list(given.values())
    return values.astype(np.float32)


def heads(z, length_1=None, length_2=None, **genotypes) -> np.ndarray:
    """Network output: zygosity, genotypes by label, and lengths by signed change when it has length heads."""
    parts = [head(21, {INDEX[label]: p for label, p in genotypes.items()}), np.array(z, np.float32)]
    if length_1 or length_2:
        for lengths in (length_1, length_2):
            parts.append(head(33, {change + 16: p for change, p in (lengths or {}).items()}))
    return np.concatenate(parts)


def called(ref, alt_info, output, **rule) -> str | None:
    """REF ALT QUAL FILTER SAMPLE of one candidate, or None."""
    kind = PILEUP if len(output) == WIDTH[PILEUP] else FULL_ALIGNMENT
    support = support_of([alt_info], [ref])
    calls = decode(output[None], letters(ref), np.array([999]), support, DecodeOptions(**rule), kind)
    if not calls:
        return None
    contig, pos, name, *columns, info, keys, sample = make_record("chr1", calls[0], INFO[kind])
    assert (contig, pos, name, info) == ("chr1", "1000", ".", INFO[kind])
    assert keys == "GT:GQ:DP:AD:AF" + (":PL" if rule.get("gvcf") else "")
    return " ".join([*columns, sample])


# Zygosity heads of the examples: hom ref, hom alt, het.
HOM, HET, HET_95 = (0.02, 0.95, 0.03), (0.05, 0.05, 0.9), (0.02, 0.03, 0.95)
GVCF, LONG, CASE = {"gvcf": True}, {"enable_long_indel": True}, {"keep_ref_case": True}
INS_60, INS_56 = "ACGT" * 15, "ACGT" * 14  # 60 and 56 bases: within 10% of each other


# The executed examples of spec/calling.md 16.
@pytest.mark.parametrize(
    "ref, alt_info, output, rule, want",
    [
        # SNPs
        ("A", "30-XG 14 RA 16", heads((0.01, 0.02, 0.97), AG=0.96), {}, "A G 21.31 PASS 0/1:21:30:16,14:0.4667"),
        ("A", "30-XG 14 RA 16", heads((0.01, 0.02, 0.97), AG=0.96), GVCF,
         "A G 21.31 PASS 0/1:21:30:16,14:0.4667:47,0,44"),
        ("C", "20-XT 19 RC 1", heads((0.05, 0.9, 0.05), TT=0.9), {}, "C T 16.30 PASS 1/1:16:20:1,19:0.9500"),
        ("A", "30-XG 30", heads((0, 1, 0), GG=1), {}, "A G 110.00 PASS 1/1:110:30:0,30:1.0000"),
        ("A", "30-XG 14 RA 16", heads((0.45, 0.05, 0.5), AG=0.5, AA=0.4), {}, "A G 5.23 PASS 0/1:5:30:16,14:0.4667"),
        # the predicted base is absent; 9 reads behind the best; 8 reads behind (A4)
        ("A", "30-XT 12 RA 18", heads(HET, AG=0.9), {}, "A T 16.30 PASS 0/1:16:30:18,12:0.4000"),
        ("A", "40-XC 3 XG 12 RA 25", heads(HET, AC=0.9), {}, "A G 16.30 PASS 0/1:16:40:25,12:0.3000"),
        ("A", "40-XC 4 XG 12 RA 24", heads(HET, AC=0.9), {}, "A C 16.30 PASS 0/1:16:40:24,4:0.1000"),
        # two SNPs, by falling count; then one of them without reads, so that another answer wins
        ("A", "40-XC 15 XT 20 RA 5", heads((0.03, 0.03, 0.94), CT=0.9), GVCF,
         "A T,C 17.40 PASS 1/2:17:40:5,20,15:0.5000,0.3750:38,23,38,23,0,38"),
        ("A", "40-XT 30 RA 10", heads((0.05, 0.15, 0.8), CT=0.8, AT=0.1, TT=0.05), {},
         "A T 0.00 LowQual 0/1:0:40:10,30:0.7500"),
        # insertions: homozygous, heterozygous, with a SNP, with a SNP that has no reads (A2), two
        ("T", "22-ITAC 12 ITA 6 RT 4", heads((0.02, 0.9, 0.08), InsIns=0.9), {},
         "T TAC 16.30 PASS 1/1:16:22:4,12:0.5455"),
        ("T", "22-ITAC 9 RT 13", heads(HET, TIns=0.9), {}, "T TAC 16.30 PASS 0/1:16:22:13,9:0.4091"),
        ("T", "22-XG 10 ITAC 9 RT 3", heads(HET_95, GIns=0.9), {}, "T G,TAC 17.71 PASS 1/2:17:22:3,10,9:0.4545,0.4091"),
        ("T", "22-ITAC 19 RT 3", heads(HET_95, GIns=0.9), {}, "T TAC 17.71 PASS 0/1:17:22:3,19:0.8636"),
        ("T", "22-ITAC 10 ITA 12", heads(HET_95, InsIns=0.9), GVCF,
         "T TAC,TA 17.71 PASS 1/2:17:22:0,10,12:0.4545,0.5455:40,23,16,23,0,16"),
        ("T", "22-ITA 4 ITACC 12 ITGG 6", heads(HET_95, {1: 0.9}, {2: 0.9}, InsIns=0.9), {},
         "T TGG,TA 13.53 PASS 1/2:13:22:0,6,4:0.2727,0.1818"),
        # deletions: homozygous, heterozygous, with a SNP (A1: depths 14,12 of AAC,G), two, by length, soft-masked (A10)
        ("G", "18-DAC 15 RG 3", heads(HOM, DelDel=0.95), {}, "GAC G 19.66 PASS 1/1:19:18:3,15:0.8333"),
        ("G", "18-DAC 8 RG 10", heads(HET_95, GDel=0.95), GVCF, "GAC G 19.66 PASS 0/1:19:18:10,8:0.4444:43,0,41"),
        ("G", "30-XA 14 DAC 12 RG 4", heads(HET_95, ADel=0.95), {},
         "GAC G,AAC 19.66 PASS 1/2:19:30:4,14,12:0.4667,0.4000"),
        ("G", "30-DA 14 DACT 12 RG 4", heads(HET_95, DelDel=0.95), {},
         "GACT G,GCT 19.66 PASS 1/2:19:30:4,12,14:0.4000,0.4667"),
        ("G", "30-DA 14 DACT 12 RG 4", heads(HET_95, {-3: 0.9}, {0: 0.95}, GDel=0.95), {},
         "GACT G 15.29 PASS 0/1:15:30:4,12:0.4000"),
        ("T", "20-Dac 12 RT 8", heads(HET_95, TDel=0.95), CASE, "Tac T 19.66 PASS 0/1:19:20:8,12:0.6000"),
        # insertion and deletion
        ("G", "30-DAC 13 IGTT 11 RG 6", heads(HET_95, InsDel=0.95), GVCF,
         "GAC G,GTTAC 19.66 PASS 1/2:19:30:6,13,11:0.4333,0.3667:43,26,41,26,0,41"),
        # long ones: reads of similar insertions count, of similar deletions do not (A6)
        ("T", f"30-IT{INS_60} 5 IT{INS_56} 4 RT 21", heads(HOM, {16: 0.95}, {16: 0.95}, InsIns=0.95), LONG,
         f"T T{INS_60} 16.43 PASS 1/1:16:30:21,9:0.3000"),
        ("T", f"30-D{INS_60} 5 D{INS_56} 4 RT 21", heads(HOM, {-16: 0.95}, {-16: 0.95}, DelDel=0.95), LONG,
         f"T{INS_60} T 16.43 PASS 1/1:16:30:21,5:0.1667"),
        # reference: at once; because no read supports anything else
        ("G", "25-XA 3 RG 22", heads((0.6, 0.1, 0.3), GG=0.55), GVCF, "G . 6.92 RefCall 0/0:6:25:22:0.8800:0"),
        ("G", "30-RG 30", heads(HOM, DelDel=0.95), {}, "G . 0.00 RefCall 0/0:0:30:30:1.0000"),
        # haploid modes of the decoder
        ("A", "30-XG 14 RA 16", heads((0.01, 0.02, 0.97), AG=0.96), {"haploid": PRECISE}, None),
        ("A", "30-XG 14 RA 16", heads((0.01, 0.02, 0.97), AG=0.96), {"haploid": SENSITIVE},
         "A G 21.31 PASS 1:21:30:16,14:0.4667"),
        ("A", "30-XG 2 RA 28", heads((0.97, 0.015, 0.015), AA=0.96), {"haploid": PRECISE},
         "A . 21.31 RefCall 0:21:30:28:0.9333"),
        # an IUPAC reference counts as a base for the network's classes, and equals none (A9)
        ("R", "20-XG 12 RR 8", heads(HET_95, AG=0.95), GVCF, "N G 0.00 LowQual 1/1:0:20:8,12:0.6000:43,0,41"),
    ],
)  # fmt: skip
def test_worked_example(ref, alt_info, output, rule, want):
    assert called(ref, alt_info, output, **rule) == want


def test_golden_cases(shared_data):
    wrong, n = [], 0
    for line in (shared_data / "golden" / "decode_cases.jsonl").open():
        case, n = json.loads(line), n + 1
        window = case["ref_seq"]
        ref = window[len(window) // 2]
        parts = [case[name] for name in ("gt21", "genotype", "len1", "len2") if case[name]]
        rule = DecodeOptions(
            haploid=None if case["haploid"] == "none" else case["haploid"],
            keep_ref_case=True,
            **{name: case[name] for name in ("gvcf", "enable_long_indel", "keep_iupac_bases", "show_ref", "qual")},
        )
        calls = decode(
            np.concatenate(parts).astype(np.float32)[None],
            letters(ref),
            np.array([case["pos"] - 1]),
            support_of([case["alt_info"]], [ref]),
            rule,
            case["mode"],
        )
        got = [format_record(make_record(case["chrom"], call, INFO[case["mode"]])) for call in calls]
        names = ("chrom", "pos", "id", "ref", "alt", "qual", "filter", "info", "format", "sample")
        want = [with_decided_values("\t".join(str(case["out"][name]) for name in names))] if case["out"] else []
        if got != want:
            wrong.append((case["id"], got, want))
    assert n > 1400
    assert not wrong


@pytest.mark.parametrize(
    "tensors, run, kind",
    [
        ("ont_pileup", "ont_default", PILEUP),
        ("ont_pileup", "ont_gvcf", PILEUP),
        ("ilmn_pileup", "ilmn_default", PILEUP),
        ("deep_ont_chrX_pileup", "deep_ont", PILEUP),
        ("ont_full_alignment", "ont_default", FULL_ALIGNMENT),
        ("ont_full_alignment", "ont_gvcf", FULL_ALIGNMENT),
        ("hifi_full_alignment", "hifi_default", FULL_ALIGNMENT),
        ("ilmn_full_alignment", "ilmn_default", FULL_ALIGNMENT),
        ("dwell_hac5_full_alignment", "real_ont_hac5_dwell", FULL_ALIGNMENT),
    ],
)
def test_rows_of_a_run_from_its_network_output(shared_data, tensors, run, kind):
    data = golden_output(shared_data, tensors)
    contig = data["position_info"][0].split(":")[0]
    wanted = {}
    with gzip.open(shared_data / "golden" / "runs" / run / f"{kind}.vcf.gz", "rt") as lines:
        for line in lines:
            if line.startswith(contig + "\t"):
                wanted[int(line.split("\t")[1])] = line.rstrip("\n")
    calls = decode(*batch_of(data), DecodeOptions(gvcf="gvcf" in run, keep_ref_case=True), kind)
    assert len(calls) == len(data["position"])
    records = [make_record(contig, call, INFO[kind]) for call in calls]
    assert list(map(format_record, records)) == [with_decided_values(wanted[call.pos + 1]) for call in calls]


def golden_output(shared_data, tensors) -> dict[str, np.ndarray]:
    with np.load(shared_data / "golden" / "tensors" / f"{tensors}.npz") as data:
        return {name: data[name] for name in ("position", "position_info", "alt_info", "net_output")}


def batch_of(data):
    """Probabilities, reference letters, positions and support of golden network output."""
    windows = [text.rsplit(":", 1)[1] for text in data["position_info"]]
    refs = [window[len(window) // 2] for window in windows]
    return data["net_output"], letters(refs), data["position"] - 1, support_of(data["alt_info"], refs)


@pytest.mark.parametrize("tensors, kind", [("ont_pileup", PILEUP), ("dwell_hac5_full_alignment", FULL_ALIGNMENT)])
def test_batches_do_not_matter(shared_data, tensors, kind):
    data = golden_output(shared_data, tensors)
    whole = decode(*batch_of(data), DecodeOptions(gvcf=True), kind)
    for size in (1, 100):
        pieces = [{name: values[i : i + size] for name, values in data.items()} for i in range(0, len(whole), size)]
        calls = [call for piece in pieces for call in decode(*batch_of(piece), DecodeOptions(gvcf=True), kind)]
        assert calls == whole


def test_empty_batch():
    nothing = np.zeros((0, 24), np.float32)
    assert decode(nothing, letters(""), np.zeros(0, np.int64), support_of([], []), DecodeOptions()) == []


def test_without_reference_calls():
    output = heads((0.9, 0.05, 0.05), AA=0.9)
    assert called("A", "9-RA 9", output) == "A . 16.30 RefCall 0/0:16:9:9:1.0000"
    assert called("A", "9-RA 9", output, show_ref=False) is None


def test_haploid_sensitive_drops_two_alternatives():
    output = heads((0.03, 0.03, 0.94), CT=0.9)
    assert called("A", "40-XC 15 XT 20 RA 5", output, haploid=SENSITIVE) is None


@pytest.mark.parametrize("qual, label", [(None, "PASS"), (0, "PASS"), (5.23, "PASS"), (5.24, "LowQual")])
def test_quality_limit(qual, label):
    output = heads((0.45, 0.05, 0.5), AG=0.5, AA=0.4)
    assert called("A", "30-XG 14 RA 16", output, qual=qual).split()[2:4] == ["5.23", label]


def test_deeper_support_than_depth_is_a_fraction_of_one():
    assert called("A", "8-XG 9", heads(HET, AG=0.9)).endswith(":8:0,9:1.0000")


def test_keep_iupac_bases():
    output = heads(HET_95, AG=0.95)
    assert called("R", "20-XG 12 RR 8", output, keep_iupac_bases=True).split()[:2] == ["R", "G"]


@pytest.mark.parametrize("rule, ref", [({}, "TACG"), ({"keep_ref_case": True}, "Tacg")])
def test_case_of_ref_and_alt(rule, ref):
    found = called("T", "20-Dacg 12 RT 8", heads(HET, TDel=0.9), **GVCF, **rule).split()
    assert found[:2] == [ref, "T"] and found[4].split(":")[5].count("990") == 0


def test_insertion_keeps_the_anchor_of_its_reads():
    # Scripted full alignment: the inserting reads have G where the reference has T.
    assert called("T", "20-IGAC 12 RT 8", heads(HET, TIns=0.9)).split()[:2] == ["T", "GAC"]


@pytest.mark.parametrize("bases, alt", [(49, True), (50, False)])
def test_a5_fifty_inserted_bases_are_one_too_many(bases, alt):
    alt_info, output = f"30-IT{'A' * bases} 28 RT 2", heads(HOM, InsIns=0.95)
    assert called("T", alt_info, output).split()[1] == ("T" + "A" * bases if alt else ".")
    assert called("T", alt_info, output, enable_long_indel=True).split()[1] == "T" + "A" * bases


def test_a5_fifty_deleted_bases_are_called():
    output = heads(HOM, DelDel=0.95)
    assert called("T", f"30-D{'A' * 50} 28 RT 2", output).split()[0] == "T" + "A" * 50
    assert called("T", f"30-D{'A' * 51} 28 RT 2", output).split()[:2] == ["T", "."]


@pytest.mark.parametrize("neighbour, counts", [(52, False), (53, True), (65, True), (66, False)])
def test_a6_window_of_similar_insertions(neighbour, counts):
    # 60 bases: 54 to 66 with the anchor, so 53 to 65 inserted bases.
    output = heads(HOM, InsIns=0.95)
    sample = called("T", f"30-IT{INS_60} 5 IT{'G' * neighbour} 4 RT 21", output, enable_long_indel=True).split()[-1]
    assert sample.split(":")[3] == ("21,9" if counts else "21,5")


def test_a7_genotype_is_that_of_the_first_of_equal_events():
    # het SNP and homozygous insertion are equally probable; v2.0.2 writes the SNP, but as 1/1.
    output = heads((0.2, 0.4, 0.4), AG=0.5, InsIns=0.5)
    assert called("A", "30-XG 14 IAC 14 RA 2", output).split()[:5:4] == ["A", "0/1:3:30:2,14:0.4667"]


@pytest.mark.parametrize(
    "alt_info, output, want",
    [
        ("30-XT 14 RA 16", heads((0, 1, 0), GG=1), "1/1:110:30:16,14:0.4667:81,81,0"),
        ("30-XG 14 RA 16", heads((0, 0, 1), AC=1), "0/1:110:30:16,14:0.4667:81,0,81"),
        ("30-XG 14 XC 9 RA 7", heads((0, 0, 1), CT=1), "1/2:110:30:7,14,9:0.4667,0.3000:81,81,81,81,0,81"),
    ],
)
def test_a8_likelihoods_when_every_weight_is_zero(alt_info, output, want):
    # The reads decide the base, so that the genotype written may be one that the network gives no probability at all.
    assert called("A", alt_info, output, gvcf=True).split()[-1] == want


def test_a12_two_alternatives_at_depth_zero():
    assert called("A", "0-XC 15 XT 20", heads((0.03, 0.03, 0.94), CT=0.9)).endswith(":0:0,20,15:0.0000,0.0000")


def test_deletions_of_one_length_are_no_pair():
    # Rejected as two deletions; the next best answer is one.
    output = heads((0.01, 0.19, 0.8), DelDel=0.9, GDel=0.05)
    assert called("G", "30-DAC 14 DTG 12 RG 4", output).split()[:2] == ["GAC", "G"]


@pytest.mark.parametrize("rule", [{"haploid": "both"}, {"qual": -1}, {"qual": float("nan")}])
def test_rule_is_checked(rule):
    with pytest.raises(ConfigError):
        DecodeOptions(**rule)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_network_output_must_be_finite(value):
    output = heads(HET, AG=0.9)
    output[3] = value
    with pytest.raises(InputError, match="finite"):
        called("A", "30-XG 14 RA 16", output)


def test_network_must_fit_the_kind():
    with pytest.raises(InputError, match="24 values; full_alignment calling needs 90"):
        decode(heads(HET)[None], letters("A"), np.array([9]), support_of(["1-"], "A"), DecodeOptions(), FULL_ALIGNMENT)
