"""clair3 simulate: what the truth, the reads and their alignments must be (docs/simulate.md)."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam
import pytest
from golden_runs import PARITY
from hypothesis import given, settings
from hypothesis import strategies as st
from program import clair3
from simulated import SOFT, UNCONTAMINATED, aligned, check_alignments, make_genome, spelled_copies

from clair3.core.simulate import RUN, short_repeats
from clair3.errors import InputError
from clair3.simulate.contamination import draw_conditions
from clair3.simulate.error_counts import Runs, count_rows, find_contexts
from clair3.simulate.estimation import estimate, estimate_factor_quantiles, estimate_site_rates
from clair3.simulate.genome import decode, encode, make_sequence, read_contigs, write_fasta
from clair3.simulate.haplotypes import make_haplotype, map_to_reference, read_variants, select_fitting
from clair3.simulate.observation import count_errors
from clair3.simulate.profile import STATES, check_profile, format_profile, kmer_code, kmer_text, read_profile
from clair3.simulate.profile_choice import FOLDER, draw_profile, load_profile, vary_profile
from clair3.simulate.read_plan import ReadOptions, count_unique_kmers
from clair3.simulate.reads import simulate_reads
from clair3.simulate.variants import Variant, VariantOptions, VariantSampler, left_align

ROOT = Path(__file__).resolve().parents[2]
PLATFORM_NAMES = ("ont", "hifi", "ilmn")


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    """A dense one."""
    options = ("--density", 0.004, 0.008, "--indels", 0.4, "--seed", 7)
    return make_genome(tmp_path_factory.mktemp("genome"), "chr20=150000,chr21=30000", *options)


@pytest.fixture(scope="module")
def copies(genome) -> dict[tuple[str, int], str]:
    return spelled_copies(genome / "truth.vcf.gz", genome / "ref.fa")


@pytest.fixture(scope="module")
def reads(genome, tmp_path_factory) -> dict[str, Path]:
    """A BAM of each platform, by the shipped profile, with many chimeras among the ONT reads."""
    folder, made = tmp_path_factory.mktemp("reads"), {}
    for platform in PLATFORM_NAMES:
        profile = load_profile(platform, platform, np.random.default_rng(0))
        if platform == "ont":
            profile = replace(profile, chimeras=0.2, junk=[0.2, 60.0])
        made[platform] = folder / f"{platform}.bam"
        options = ReadOptions(depth=12, tagged=0.8, wrong=0.0, moves=platform == "ont", **UNCONTAMINATED)
        simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", made[platform], profile, options, seed=3)
    return made


# ---- genomes ----


def test_the_copies_are_what_the_truth_says(genome, copies):
    found = read_variants(genome / "truth.vcf.gz", np.random.default_rng(0))
    for _, contig, codes in read_contigs(genome / "ref.fa"):
        for copy in (0, 1):
            made = make_haplotype(codes, found[contig.name], copy)
            assert decode(made.bases) == copies[contig.name, copy]
            for start, pos, length in zip(made.block_start, made.block_pos, made.block_length, strict=True):
                same = made.bases[start : start + length] == codes[pos : pos + length]
                assert same.all() or length <= 3  # SNPs and MNPs lie in blocks of their own
            assert map_to_reference(made, np.array([0, len(made.bases) - 1])).tolist() == [0, len(codes) - 1]


def test_the_truth_is_left_aligned_and_parsimonious(genome):
    kinds = Counter()
    texts = {contig.name: decode(codes) for _, contig, codes in read_contigs(genome / "ref.fa")}
    for contig, variants in read_variants(genome / "truth.vcf.gz", np.random.default_rng(0)).items():
        assert len({variant.pos for variant in variants}) == len(variants)
        for variant in variants:
            ends = {allele[-1] for allele in (variant.ref, *variant.alts)}
            assert len(ends) > 1, "alleles that end alike could be shorter, or further left"
            firsts = {allele[0] for allele in (variant.ref, *variant.alts)}
            assert len(firsts) > 1 or 1 in map(len, (variant.ref, *variant.alts)), "alleles start alike"
            kinds[min(len(variant.ref), 2), min(max(map(len, variant.alts)), 2), len(variant.alts)] += 1
            assert texts[contig][variant.pos : variant.end] == variant.ref
    assert min(kinds[1, 1, 1], kinds[1, 2, 1], kinds[2, 1, 1]) > 20 and kinds[1, 1, 2] > 0


@pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools is not installed")
def test_bcftools_agrees(genome, copies):
    norm = ["bcftools", "norm", "-c", "e", "-f", str(genome / "ref.fa"), str(genome / "truth.vcf.gz")]
    said = subprocess.run(norm, capture_output=True, text=True, check=True).stderr
    assert re.search(r"split/realigned/skipped:\s+\d+/\d+/0/0|split/joined/realigned/.*:\s+\d+/\d+/\d+/0/", said)
    for copy in (0, 1):
        command = ["bcftools", "consensus", "-H", str(copy + 1), "-f", str(genome / "ref.fa")]
        text = subprocess.run(
            [*command, str(genome / "truth.vcf.gz")], capture_output=True, text=True, check=True
        ).stdout
        for part in text.split(">")[1:]:
            name, _, letters = part.partition("\n")
            assert letters.replace("\n", "").upper() == copies[name.split()[0], copy]


def test_regions_leave_out_what_is_unknown(genome):
    codes = {contig.name: codes for _, contig, codes in read_contigs(genome / "ref.fa")}
    rows = [line.split() for line in (genome / "confident.bed").read_text().splitlines()]
    inside = sum(int(end) - int(start) for _, start, end in rows)
    assert all((codes[name][int(start) : int(end)] < 4).all() for name, start, end in rows)
    assert 0.8 * 180_000 < inside < 180_000


def test_real_variants_keep_their_place(genome, tmp_path):
    options = ("--variants", genome / "truth.vcf.gz", "--density", 0, 0, "--seed", 9)
    assert clair3("simulate", "genome", "--ref_fn", genome / "ref.fa", "--output", tmp_path, *options).returncode == 0
    one, other = (read_variants(folder / "truth.vcf.gz", np.random.default_rng(0)) for folder in (genome, tmp_path))
    assert one == other
    assert not (tmp_path / "ref.fa").exists()


def test_any_base_of_a_truth_may_lie_on_n():
    codes = encode("ACNNT")
    assert decode(make_haplotype(codes, [Variant(2, "GT", ("G",), (1, 0))], 0).bases) == "ACGT"
    assert select_fitting([Variant(2, "GT", ("G",), (1, 0))], codes, "")
    for wrong in (Variant(0, "C", ("G",), (1, 0)), Variant(3, "ATG", ("A",), (1, 0))):
        with pytest.raises(InputError, match="is not what the reference has there"):
            select_fitting([wrong], codes, "")


def test_genotypes_without_phase_get_one(tmp_path):
    rows = [
        "chr1\t5\t.\tA\tC,G\t.\t.\t.\tGT\t0/2",
        "chr1\t7\t.\tA\t*\t.\t.\t.\tGT\t0/1",
        "chr1\t9\t.\tA\tT\t.\t.\t.\tGT\t1",
    ]
    (tmp_path / "t.vcf").write_text("##fileformat=VCFv4.2\n" + "".join(f"{row}\n" for row in rows))
    drawn = [read_variants(tmp_path / "t.vcf", np.random.default_rng(seed))["chr1"] for seed in range(20)]
    assert {tuple(variants) for variants in drawn} == {
        (Variant(4, "A", ("G",), genotype), Variant(8, "A", ("T",), (1, 1))) for genotype in ((0, 1), (1, 0))
    }


@given(st.integers(0, 2**32), st.sampled_from([400, 3000]))
@settings(max_examples=15)
def test_variants_do_not_touch(seed, size):
    rng = np.random.default_rng(seed)
    sampler = VariantSampler(rng, rng.integers(0, 3, size).astype(np.uint8), VariantOptions(density=(0.03, 0.05)))
    sampler.draw()
    ends = [variant.end for variant in sampler.variants]
    assert all(variant.pos >= end for variant, end in zip(sampler.variants[1:], ends, strict=False))
    assert all(set(variant.genotype) & set(range(1, len(variant.alts) + 1)) for variant in sampler.variants)


def test_neighbouring_snps_are_records_of_their_own(genome):
    """As one record only its first base would be labelled a variant; the networks learned to miss the others."""
    whole = Variant(4, "ACG", ("TCA", "GTA"), (1, 2))
    assert list(whole.split_mnp()) == [
        Variant(4, "A", ("G", "T"), (2, 1)),
        Variant(5, "C", ("T",), (0, 1)),
        Variant(6, "G", ("A",), (1, 1)),
    ]
    codes = encode("CATGACGTTA")
    for copy in (0, 1):
        assert decode(make_haplotype(codes, [whole], copy).bases) == decode(
            make_haplotype(codes, list(whole.split_mnp()), copy).bases
        )
    indel = Variant(4, "ACG", ("A", "TCG"), (1, 2))
    assert list(indel.split_mnp()) == [indel]
    contigs = read_variants(genome / "truth.vcf.gz", np.random.default_rng(0)).values()
    found = [one for variants in contigs for one in variants]
    assert not [one for one in found if len(one.ref) > 1 and all(len(alt) == len(one.ref) for alt in one.alts)]
    assert any(other.pos == one.end and other.genotype == one.genotype for one, other in pairwise(found))


def test_three_neighbouring_snps_are_rare():
    """As in HG002, where they are 3 of 116; the realigner of short reads shows many as an insertion and a deletion."""
    rng = np.random.default_rng(1)
    options = VariantOptions(density=(0.01, 0.01), indels=0, mnps=1)
    sampler = VariantSampler(rng, rng.integers(0, 4, 300_000).astype(np.uint8), options)
    sampler.draw()
    sizes = np.bincount([len(one.ref) for one in sampler.variants])
    assert len(sizes) == 4 and not sizes[:2].any() and sizes[2] > 2000
    assert 0.02 < sizes[3] / sizes.sum() < 0.04


@pytest.mark.parametrize(
    "text, pos, bases, moved",
    [
        ("CAAAT", 3, "A", (0, "A")),
        ("GCACAT", 4, "CA", (0, "CA")),
        ("GCACAT", 4, "GA", (3, "AG")),
        ("AAAA", 2, "A", (0, "A")),
    ],
)
def test_moving_left(text, pos, bases, moved):
    assert left_align(text, pos, bases) == moved


def test_a_made_up_reference_has_repeats():
    codes = make_sequence(np.random.default_rng(1), 300_000)
    gc = np.isin(codes, (1, 2)).mean()
    pairs = Counter(zip(codes[:-1].tolist(), codes[1:].tolist(), strict=True))
    assert 0.3 < gc < 0.6 and (codes == 4).any()
    assert pairs[1, 2] < 0.6 * pairs[2, 1]  # CpG is rare
    assert Runs.find(codes).size.max() >= 12
    unique = np.diff(count_unique_kmers(codes))
    assert 0.6 < unique.mean() < 0.99


def test_short_repeats():
    first, last = short_repeats(encode("GGACACACTTTTTTAGCAGCAGCAT"))
    #                                   0123456789012345678901234
    found = {(int(at), int(first[at]) >> 8, int(first[at]) & 255) for at in np.flatnonzero(first)}
    assert found == {(2, 2, 6), (14, 3, 10)}
    assert np.flatnonzero(last).tolist() == [7, 23]


# ---- reads ----


@pytest.mark.parametrize("platform", PLATFORM_NAMES)
def test_reads_without_errors_spell_the_copies(genome, copies, tmp_path, platform):
    profile = load_profile(platform, platform, np.random.default_rng(0))
    bam = tmp_path / "reads.bam"
    simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", bam, profile, ReadOptions(4, error_free=True), seed=2)
    numbers = Counter()
    for read in aligned(bam):
        copy = int(read.query_name[-1]) - 1
        assert read.query_sequence in copies[read.reference_name, copy]
        numbers[copy, read.is_reverse] += 1
    assert min(numbers.values()) > 3 and len(numbers) == 4


@pytest.mark.parametrize("platform", PLATFORM_NAMES)
def test_alignments_are_sound(genome, reads, platform):
    check_alignments(reads[platform], genome / "ref.fa")


def test_long_reads_cover_evenly(reads):
    for platform in ("ont", "hifi"):
        depth = np.sum(pysam.AlignmentFile(str(reads[platform])).count_coverage("chr20"), axis=0)
        assert 9 < depth.mean() < 15
        assert depth[:200].mean() + depth[-200:].mean() > 4  # ends of contigs too


def test_mates_fit(reads):
    pairs = {}
    for read in aligned(reads["ilmn"]):
        pairs.setdefault(read.query_name, []).append(read)
    spans = []
    for left, right in pairs.values():
        assert left.is_proper_pair and right.is_proper_pair and left.is_read1 != right.is_read1
        assert left.is_reverse != right.is_reverse
        assert left.next_reference_start == right.reference_start and left.mate_is_reverse == right.is_reverse
        assert left.template_length == -right.template_length
        spans.append(abs(left.template_length))
    assert 400 < np.mean(spans) < 440 and 75 < np.std(spans) < 105


def test_parts_of_chimeras_know_each_other(reads):
    parts = {}
    for read in aligned(reads["ont"]):
        if read.has_tag("SA"):
            parts.setdefault(read.query_name, []).append(read)
    whole = [sorted(pair, key=lambda read: read.is_supplementary) for pair in parts.values()]
    assert len(whole) > 5
    for primary, other in whole:
        assert not primary.is_supplementary and other.is_supplementary
        for one, two in ((primary, other), (other, primary)):
            contig, pos, strand, cigar, mapq, nm = one.get_tag("SA").rstrip(";").split(",")
            assert (contig, int(pos) - 1, strand) == (two.reference_name, two.reference_start, "+-"[two.is_reverse])
            assert (int(mapq), int(nm)) == (two.mapping_quality, two.get_tag("NM"))
            kept = sum(
                size for size, kind in re.findall(r"(\d+)([MIDS])", cigar) if kind != "D" for size in [int(size)]
            )
            assert kept == primary.query_length == two.infer_read_length()
        start = other.query_sequence if primary.is_reverse == other.is_reverse else None
        if start is not None:
            assert start in primary.query_sequence  # the same bases stand in the clip of the primary


def test_move_tables_hold_every_base(reads):
    seen = 0
    for read in aligned(reads["ont"]):
        if read.is_supplementary:
            assert not read.has_tag("mv")
            continue
        moves = np.array(read.get_tag("mv"))
        assert moves[0] == 6 and moves[1] == 1 and moves[1:].sum() == read.query_length
        seen += 1
    assert seen > 50 and not any(read.has_tag("mv") for read in aligned(reads["hifi"]))


def test_haplotype_tags(reads):
    tags, copies_of = Counter(), {}
    for read in aligned(reads["hifi"]):
        tags[read.has_tag("HP")] += 1
        if read.has_tag("HP"):
            place = read.reference_name, read.get_tag("PS")
            copies_of.setdefault(place, set()).add((read.get_tag("HP"), read.query_name[-1]))
    assert 0.6 < tags[True] / sum(tags.values()) < 0.95
    assert all(len(found) <= 2 for found in copies_of.values())  # one name for each copy in a block


@pytest.mark.parametrize("platform", PLATFORM_NAMES)
def test_the_same_bytes_for_any_number_of_threads(genome, tmp_path, platform):
    profile = vary_profile(draw_profile(platform, np.random.default_rng(4)), np.random.default_rng(5))
    made = []
    for threads in (1, 3):
        bam = tmp_path / f"{threads}.bam"
        options = ReadOptions(15, tagged=0.5)
        simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", bam, profile, options, seed=6, threads=threads)
        made.append((bam.read_bytes(), Path(f"{bam}.bai").read_bytes()))
    assert made[0] == made[1]
    other = tmp_path / "other.bam"
    simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", other, profile, ReadOptions(15, tagged=0.5), seed=7)
    assert other.read_bytes() != made[0][0]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bai"] * 3 + [".bam"] * 3


def test_contexts_err_on_their_own_strand(tmp_path):
    """A 6-mer that errs does so in reads that run through it, not in those of the other strand."""
    rng = np.random.default_rng(2)
    write_fasta(tmp_path / "ref.fa", iter([("chr1", decode(rng.integers(0, 4, 60_000).astype(np.uint8)))]))
    (tmp_path / "truth.vcf").write_text("##fileformat=VCFv4.2\n")
    quiet = np.zeros((RUN + 1, 7)).tolist()
    base = load_profile("hifi", "hifi", rng)
    profile = replace(
        base, mismatch=1e-4, insertion=0.0, deletion=0.0, run={"AT": quiet, "CG": quiet}, tract=[[0.0, 0.0]] * 65,
        spread=[1.0, 1.0], context={"ACGTCA": [2000.0, 1.0, 1.0]},
    )  # fmt: skip
    simulate_reads(
        tmp_path / "ref.fa",
        tmp_path / "truth.vcf",
        tmp_path / "r.bam",
        profile,
        ReadOptions(30, **UNCONTAMINATED),
        seed=1,
    )
    _, _, codes = next(read_contigs(tmp_path / "ref.fa"))
    sites, seen = [kmers == kmer_code("ACGTCA") for kmers in find_contexts(codes)], Counter()
    for read in aligned(tmp_path / "r.bam"):
        base, pos = np.array(read.get_aligned_pairs(matches_only=True)).T
        wrong = encode(read.query_sequence)[base] != codes[pos]
        for strand in (0, 1):
            seen.update((strand == read.is_reverse, bool(differs)) for differs in wrong[sites[strand][pos]])
    assert 0.15 < seen[True, True] / (seen[True, True] + seen[True, False]) < 0.25
    assert seen[False, True] / (seen[False, True] + seen[False, False]) < 0.01
    assert kmer_text(kmer_code("ACGTCA")) == "ACGTCA"


# ---- contamination and mismapped reads ----


def simulate_with(genome, bam: Path, platform: str, **shares) -> Path:
    profile = replace(load_profile(platform, platform, np.random.default_rng(0)), junk=[0.0, 0.0], spread=[1.0, 1.0])
    options = ReadOptions(20, tagged=1.0, wrong=0.0, **(UNCONTAMINATED | shares))
    simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", bam, profile, options, seed=4)
    return bam


def test_contamination_is_of_another_sample(genome, tmp_path):
    bam = simulate_with(genome, tmp_path / "reads.bam", "hifi", contamination=0.3)
    copies, tags = Counter(), Counter()
    for read in aligned(bam):
        copies[read.query_name[-2:]] += 1
        tags[read.query_name[-2:], read.get_tag("HP")] += 1
    assert set(copies) == {"h1", "h2", "h3"} and 0.2 < copies["h3"] / copies.total() < 0.4
    assert min(tags["h3", 1], tags["h3", 2]) > 5  # a phasing tool puts them on either copy


@pytest.mark.parametrize("platform", ["hifi", "ilmn"])
def test_mismapped_reads_differ_as_paralogs_do(genome, tmp_path, platform):
    bam = simulate_with(genome, tmp_path / "reads.bam", platform, mismapped=0.2)
    differing, sure, clipped = {True: [], False: []}, {True: [], False: []}, Counter()
    for read in aligned(bam):
        foreign = read.query_name.endswith("h3")
        if read.query_alignment_length > 100:
            differing[foreign].append(read.get_tag("NM") / read.query_alignment_length)
        sure[foreign].append(read.mapping_quality)
        clipped[foreign] += read.query_alignment_length < 0.8 * read.query_length
    assert len(sure[True]) > 20 and np.median(differing[True]) > 2 * np.median(differing[False])
    assert 0.005 < np.median(differing[True]) < 0.06
    assert min(sure[True]) >= 1 and np.mean(sure[True]) < np.mean(sure[False])
    if platform == "hifi":  # longer than what is duplicated
        assert clipped[True] > 5 > clipped[False] / 10
    check_alignments(bam, genome / "ref.fa")


def test_adapters_follow_short_fragments(genome, tmp_path):
    bam = simulate_with(genome, tmp_path / "reads.bam", "ilmn", adapters=0.5)
    pairs, clipped = {}, Counter()
    for read in aligned(bam):
        letters, (kind, clip) = read.get_forward_sequence(), read.cigartuples[0 if read.is_reverse else -1]
        at = letters.find("AGATCGGAAGAGC")
        if at >= 0:
            clipped[kind == SOFT and abs(len(letters) - at - clip) < 10] += 1
        pairs.setdefault(read.query_name, []).append(len(letters) - at if at >= 0 else 0)
    rests = list(pairs.values())
    assert clipped[True] > 0.9 * clipped.total() > 100
    assert 0.3 < np.mean([max(rest) > 0 for rest in rests]) < 0.55
    long = [rest for rest in rests if max(rest) > 20]
    assert len(long) > 100 and np.mean([one == other for one, other in long]) > 0.8  # both mates alike


def test_conditions_are_drawn_for_a_run():
    drawn = [draw_conditions(np.random.default_rng(seed), "ilmn", {"adapters": 0.1}) for seed in range(200)]
    for name, low, high in (("contamination", 0, 0.005), ("mismapped", 0, 0.02), ("balance", 0.3, 0.7)):
        values = [getattr(one, name) for one in drawn]
        assert low <= min(values) < max(values) <= high and max(values) - min(values) > (high - low) / 2
    assert {one.adapters for one in drawn} == {0.1}


# ---- sites ----


def test_reads_of_one_direction_show_the_same_wrong_base_at_a_site(tmp_path):
    """Errors at sites agree with each other, stay on their strand, and are as frequent as asked."""
    rng = np.random.default_rng(3)
    write_fasta(tmp_path / "ref.fa", iter([("chr1", decode(rng.integers(0, 4, 40_000).astype(np.uint8)))]))
    (tmp_path / "truth.vcf").write_text("##fileformat=VCFv4.2\n")
    quiet = np.zeros((RUN + 1, 7)).tolist()
    profile = replace(
        load_profile("hifi", "hifi", rng), mismatch=0.0, insertion=0.0, deletion=0.0, run={"AT": quiet, "CG": quiet},
        tract=[[0.0, 0.0]] * 65, spread=[1.0, 1.0], context={}, sites=[[0.005, 0.2], [0.002, 0.5]],
    )  # fmt: skip
    simulate_reads(
        tmp_path / "ref.fa",
        tmp_path / "truth.vcf",
        tmp_path / "r.bam",
        profile,
        ReadOptions(40, **UNCONTAMINATED),
        seed=1,
    )
    _, _, codes = next(read_contigs(tmp_path / "ref.fa"))
    wrong, depth = np.zeros((2, 4, len(codes)), int), np.zeros((2, len(codes)), int)
    for read in aligned(tmp_path / "r.bam"):
        base, pos = np.array(read.get_aligned_pairs(matches_only=True)).T
        seen = encode(read.query_sequence)[base]
        np.add.at(wrong[int(read.is_reverse)], (seen, pos), seen != codes[pos])
        depth[int(read.is_reverse)] += np.bincount(pos, minlength=len(codes))
    assert ((wrong > 0).sum(axis=1) <= 1).all(), "two wrong bases at a site"
    sites = wrong.sum(axis=1) > 0
    assert 0.003 < sites.mean() < 0.009 and (sites[0] & sites[1]).sum() < 0.1 * sites.sum()
    rate = wrong.sum() / depth[sites].sum()
    assert 0.2 < rate < 0.4


def test_run_factors_and_rates_are_found_again():
    """Counts drawn from a mixture give its shares back, and chance alone gives no sites."""
    rng = np.random.default_rng(1)
    depth = rng.integers(10, 40, 300_000)
    rate = np.where(rng.random(len(depth)) < 0.002, 0.12, 0.0005)
    for rates, expected in ((rate, 3 * 0.002 * 0.12), (np.full(len(depth), 0.001), 0)):
        errors = rng.binomial(depth, rates)
        found = estimate_site_rates(*count_rows(depth, errors).T, float(errors.sum() / depth.sum()))
        assert sum(share * one for share, one in found) == pytest.approx(expected, rel=0.3, abs=5e-5)
    expected = rng.uniform(0.5, 4, 20_000).round(1)
    factor = np.where(rng.random(len(expected)) < 0.2, 3.0, 0.5)
    events = rng.poisson(expected * factor)
    found = np.array(estimate_factor_quantiles(events, expected, np.ones(len(events)), 101))
    assert (found[1:] + found[:-1]).mean() / 2 == pytest.approx(1)
    assert found[40] == pytest.approx(0.5, rel=0.3) and found[92] == pytest.approx(3, rel=0.4)


# ---- profiles ----


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORM_NAMES)
def test_what_is_learned_is_what_was_asked(tmp_path, platform):
    """Simulate by a profile, learn from the reads, and find the profile again."""
    options = ("--contigs", "chr1=600000", "--output", tmp_path, "--seed", 1)
    assert clair3("simulate", "genome", *options).returncode == 0
    # without contexts, which change the rates of runs by what the genome happens to hold, and without bad reads
    asked = replace(
        load_profile(platform, platform, np.random.default_rng(0)),
        context={},
        spread=[1.0, 1.0],
        sites=[],
        run_factors=[[1, 1]] * 3,
    )
    bam, truth = tmp_path / "reads.bam", tmp_path / "truth.vcf.gz"
    simulate_reads(tmp_path / "ref.fa", truth, bam, asked, ReadOptions(30, **UNCONTAMINATED), seed=1, threads=2)
    counts, facts = count_errors(bam, tmp_path / "ref.fa", truth, None, 1e9)
    found = estimate(platform, counts, facts)
    assert found.mean_length == pytest.approx(asked.mean_length, rel=0.06)
    assert found.mismatch == pytest.approx(asked.mismatch, rel=0.25)
    for kind, first in (("AT", 0), ("CG", RUN + 1)):
        for length in range(1, 11):
            seen = counts.changes[first + length]
            wanted = np.array(asked.run[kind][length]) * seen.sum()
            for side in (slice(0, 3), slice(4, 7)):
                lost, expected = seen[side].sum(), wanted[side].sum()
                assert abs(lost - expected) < 0.2 * expected + 5 * np.sqrt(expected) + 5, (kind, length, side)
    for state in STATES:
        wanted, got = (np.array(profile.quality[state]) for profile in (asked, found))
        means = [(row * np.arange(len(row))).sum() / row.sum() for row in (wanted, got)]
        assert means[1] == pytest.approx(means[0], abs=2.5), state
    # calibration: how often a base of a quality is wrong, by tens
    for low in range(10, 40, 10):
        rates = []
        for profile in (asked, found):
            right, wrong = (sum(profile.quality[state][low : low + 10]) for state in ("correct", "mismatch"))
            rates.append(profile.mismatch * wrong / max(right, 1e-9))
        assert rates[1] == pytest.approx(rates[0], rel=0.6, abs=2e-4), low
    if asked.insert:
        assert found.insert == pytest.approx(asked.insert, rel=0.05)
    check_profile(found)


@pytest.mark.parametrize("platform", PLATFORM_NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_drawn_profiles_are_profiles(tmp_path, platform, seed):
    rng = np.random.default_rng(seed)
    profile = draw_profile(platform, rng)
    path = tmp_path / "p.json"
    for made in (profile, vary_profile(profile, rng)):
        path.write_text(format_profile(made))
        assert format_profile(read_profile(path)) == path.read_text()
        for table in (made.substitution, *made.quality.values()):
            assert np.allclose(np.sum(table, axis=-1), 1)


def test_shipped_profiles_say_where_they_come_from():
    for platform in PLATFORM_NAMES:
        profile = read_profile(FOLDER / f"{platform}.json")
        assert profile.platform == platform and "MIT" in profile.origin["reads"] and int(profile.origin["bases"]) > 1e6


@pytest.mark.slow
def test_shipped_profiles_come_from_the_data(shared_data, tmp_path):
    """scripts/make_profiles.py makes the files that are there."""
    checkout = tmp_path / "checkout"
    for name in ("clair3", "preprocess", "shared", "scripts"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    folder = checkout / FOLDER.relative_to(ROOT)
    for path in folder.iterdir():
        path.unlink()
    subprocess.run([sys.executable, "scripts/make_profiles.py", shared_data], cwd=checkout, check=True)
    for platform in PLATFORM_NAMES:
        assert json.loads((folder / f"{platform}.json").read_text()) == json.loads(
            (FOLDER / f"{platform}.json").read_text()
        )


# ---- the commands ----


@pytest.mark.slow
def test_the_page_runs(tmp_path):
    block = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "simulate.md").read_text(), re.S)[1]
    (tmp_path / "clair3").write_text(f'#!/bin/sh\nexec {sys.executable} -m clair3 "$@"\n')
    (tmp_path / "clair3").chmod(0o755)
    done = subprocess.run(["bash", "-euc", f'PATH="$PWD:$PATH"\n{block}'], cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert read_profile(tmp_path / "genome" / "ont.json").platform == "ont"
    assert pysam.AlignmentFile(str(tmp_path / "genome" / "more.bam")).count() > 100


@pytest.mark.slow
def test_a_trained_model_calls_simulated_reads(genome, tmp_path):
    """The golden model has never seen this profile; that it finds most variants says the reads make sense."""
    bam, calls = tmp_path / "ont.bam", tmp_path / "out"
    profile = load_profile("ont", "ont", np.random.default_rng(0))
    simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", bam, profile, ReadOptions(30), seed=8)
    files = (f"--bam_fn={bam}", f"--ref_fn={genome / 'ref.fa'}", f"--output={calls}", "--platform=ont", "--threads=1")
    done = clair3("run", *files, f"--model_path={PARITY / 'models' / 'ont'}")
    assert done.returncode == 0, done.stderr
    inputs = (calls / "merge_output.vcf.gz", genome / "truth.vcf.gz", genome / "confident.bed", genome / "ref.fa")
    report = clair3("evaluate", *inputs)
    f1 = {row.split()[0]: float(row.split()[-2]) for row in report.stdout.splitlines()[1:3]}
    assert f1["SNP"] > 0.85 and f1["indel"] > 0.6, report.stdout


def test_bad_input_is_one_line(genome, reads, tmp_path):
    ref, truth, out = genome / "ref.fa", genome / "truth.vcf.gz", tmp_path / "out"
    (tmp_path / "wrong.vcf").write_text("##fileformat=VCFv4.2\nchr20\t100\t.\tNNNNN\n")
    letter = pysam.FastaFile(str(ref)).fetch("chr20", 99, 100).upper()
    other = "A" if letter != "A" else "C"
    (tmp_path / "ref.vcf").write_text(f"chr20\t100\t.\t{other}\t{letter}\t.\t.\t.\tGT\t1|1\n")
    (tmp_path / "contig.vcf").write_text("chr9\t100\t.\tA\tC\t.\t.\t.\tGT\t1|1\n")
    (tmp_path / "name.vcf").write_text("20\t100\t.\tA\tC\t.\t.\t.\tGT\t1|1\n")
    (tmp_path / "p.json").write_text('{"format": 1, "platform": "ont"}')
    shipped = json.loads((FOLDER / "ont.json").read_text())
    (tmp_path / "q.json").write_text(json.dumps(shipped | {"mismatch": 2}))
    (tmp_path / "s.json").write_text(json.dumps(shipped | {"sites": [[0.1, 1.5]]}))
    reads_of = ("reads", "--ref_fn", ref, "--output", out / "x.bam", "--platform", "ont")
    cases = [
        (("genome", "--output", out), "--ref_fn"),
        (("genome", "--output", out, "--contigs", "chr1=12"), "chr1=12"),
        (("genome", "--output", out, "--ref_fn", ref, "--density", 0.2, 0.1), "--density"),
        (("genome", "--output", out, "--ref_fn", ref, "--ctg_name", "chr7"), "chr7"),
        (("genome", "--output", out, "--ref_fn", tmp_path / "no.fa"), "no.fa"),
        (("genome", "--output", out, "--ref_fn", ref, "--variants", tmp_path / "ref.vcf"), "chr20:100"),
        (("genome", "--output", out, "--ref_fn", ref, "--variants", tmp_path / "name.vcf"), "no contig chr20 but 20"),
        ((*reads_of, "--truth", truth, "--adapters", 0.1), "--adapters"),
        ((*reads_of, "--truth", tmp_path / "wrong.vcf"), "wrong.vcf"),
        ((*reads_of, "--truth", tmp_path / "ref.vcf"), "chr20:100"),
        ((*reads_of, "--truth", tmp_path / "contig.vcf"), "chr9"),
        ((*reads_of, "--truth", tmp_path / "no.vcf"), "no.vcf"),
        ((*reads_of, "--truth", truth, "--profile", tmp_path / "p.json"), "p.json"),
        ((*reads_of, "--truth", truth, "--profile", tmp_path / "q.json"), "mismatch"),
        ((*reads_of, "--truth", truth, "--profile", tmp_path / "s.json"), "sites"),
        ((*reads_of, "--truth", truth, "--profile", "hifi"), "hifi"),
        ((*reads_of, "--truth", truth, "--depth", 0), "--depth"),
        ((*reads_of, "--truth", truth, "--tagged", 2), "tagged"),
        ((*reads_of, "--truth", truth, "--contamination", 0.9), "contamination"),
        ((*reads_of, "--truth", truth, "--seed", -1), "--seed"),
    ]
    from clair3.cli import simulate as commands
    from clair3.cli.arguments import make_parser
    from clair3.errors import ClairError

    for words, named in cases:
        with pytest.raises(ClairError) as error:
            commands.run(make_parser(commands, "", "clair3 simulate").parse_args(list(map(str, words))))
        assert named in str(error.value) and "\n" not in str(error.value), words
    assert not out.exists() or not [path for path in out.iterdir() if path.name != "ref.fa"]
    done = clair3("profile", tmp_path / "no.bam", ref, "--platform", "ont", "--output", tmp_path / "x.json")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no.bam" in done.stderr
    whole = bytearray(reads["ont"].read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
    (tmp_path / "broken.bam").write_bytes(whole)
    (tmp_path / "broken.bam.bai").write_bytes(Path(f"{reads['ont']}.bai").read_bytes())
    done = clair3("profile", tmp_path / "broken.bam", ref, "--platform", "ont", "--output", tmp_path / "x.json")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "broken.bam: cannot be read to its end" in done.stderr
    assert not (tmp_path / "x.json").exists()
    done = clair3("simulate", *reads_of, "--truth", truth, "--depth", "-3")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
