"""Decoding: from network output and read support to calls (spec/calling.md 2.3 - 3.5). Letters A1 - A12: section 15."""

import math

import numpy as np

from clair3.config import PRECISE, SENSITIVE, DecodeOptions
from clair3.errors import InputError
from clair3.genotype import hypotheses
from clair3.genotype.alleles import LONGEST_KEY, AlleleCounts, Alleles, possible_events, to_alleles
from clair3.genotype.classes import GENOTYPE, GT21, HET, HOM_ALT, PILEUP, WIDTH, allele_name, pair_index, zygosity
from clair3.genotype.hypotheses import GenotypeHypothesis
from clair3.records import IUPAC_TO_BASE, Call, SupportBatch, base_index, haploid_likelihoods, iupac_to_n

_NO_LIKELIHOOD = 990
"""PL of genotypes where the network tells no likelihood of one of them."""
_PHRED = -10 * math.log10(math.e)


def decode(
    probabilities: np.ndarray,
    ref: np.ndarray,
    pos: np.ndarray,
    support: SupportBatch,
    options: DecodeOptions,
    kind: str = PILEUP,
) -> list[Call]:
    """Decode a batch of candidates to calls, in candidate order; candidates without a call are left out (2, 3).

    probabilities  (n, 24) pileup, (n, 90) full_alignment  float32  network output, heads after softmax
    ref            (n,)  uint8  reference letter, ASCII upper case
    pos            (n,)  int64  0-based
    support        of the n candidates
    Raises InputError when a probability is not a finite number, when the network has other heads than `kind`
    needs, or when a reference letter is no nucleotide code.
    """
    heads = np.asarray(probabilities, np.float32)
    if heads.shape[1] != WIDTH[kind]:
        raise InputError(f"the network gives {heads.shape[1]} values; {kind} calling needs {WIDTH[kind]}")
    if not np.isfinite(heads).all():
        raise InputError("the network gave values that are not finite numbers; check the model file")
    letters = ref.tobytes().decode("ascii")
    variants, probability = _choose_hypotheses(heads, letters, base_index(ref), support, options, kind)
    ref_reads = _reference_reads(support)
    columns = pos, quality(probability), support.depth, ref_reads, _fractions(ref_reads, support.depth)
    calls = []
    for i, (at, qual, depth, reads, fraction) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if i in variants:
            call = _make_variant_call(at, *variants[i], qual, depth, reads, heads[i], options)
            if call is not None:
                calls.append(call)
        elif options.show_ref:
            calls.append(_make_reference_call(at, letters[i], qual, depth, reads, fraction, options))
    return calls


def _choose_hypotheses(
    heads, letters, base, support, options, kind
) -> tuple[dict[int, tuple[GenotypeHypothesis, Alleles]], np.ndarray]:
    """Return the variant hypothesis that reads support, by row, and the probability of every row's call (2.1 - 2.3).

    The probabilities are (n,) float32. A row that is missing in the first result is a reference call.
    """
    table = hypotheses.TABLES[kind]
    probability, certain = hypotheses.reference_probability(heads, base, table)
    rows = np.flatnonzero(~certain)
    candidates = hypotheses.hypothesis_probabilities(heads[rows], probability[rows], table)
    longest = LONGEST_KEY[options.enable_long_indel]
    candidates[~possible_events(support, longest)[rows][:, table.event]] = 0
    best = candidates.argmax(axis=1)
    variants = {}
    for k in np.flatnonzero(best).tolist():
        i, h = int(rows[k]), best[k]
        counts = AlleleCounts.from_support(support, i, letters[i], longest)
        while h:  # 0 is the reference call: it needs no reads, so the loop ends
            hypothesis = table.hypotheses[h]
            if (alleles := to_alleles(hypothesis, counts)) is not None:
                variants[i] = hypothesis, alleles
                break
            candidates[k, h] = 0
            h = candidates[k].argmax()
        probability[i] = candidates[k, h]
    return variants, probability


def quality(probability: np.ndarray) -> np.ndarray:
    """Return QUAL of probabilities, (n,) float32, rounded to 2 decimals: (n,) float64 (3.2).

    math.log and round, not NumPy's: those may differ in the last bit from one processor to the next.
    """
    p, tiny = np.minimum(probability, np.float32(1)), np.float32(1e-10)
    odds = ((np.float32(1) - p) + tiny) / (p + tiny)
    return np.array([round(max(_PHRED * math.log(q) + 10, 0.0), 2) for q in odds.tolist()])


def _reference_reads(support: SupportBatch) -> np.ndarray:
    """Return how many reads of each candidate show the reference alone, (n,) int32."""
    items = np.flatnonzero(support.kind == ord("R"))
    reads = np.zeros(len(support), np.int32)
    reads[np.searchsorted(support.item_start, items, side="right") - 1] = support.count[items]
    return np.maximum(reads, 0)


def _fractions(reads, depth) -> np.ndarray:
    """Return reads / depth, (n,) float64, at most 1; 0 without reads, also with two alternatives (A12)."""
    return np.minimum(np.divide(reads, depth, out=np.zeros(len(reads)), where=depth > 0), 1)


def _make_reference_call(pos, letter, qual, depth, reads, fraction, options: DecodeOptions) -> Call:
    """Make a reference call. Its AF is the share of reference reads, and GQ has no cap of 99 (A11)."""
    genotype = "0" if options.haploid else "0/0"
    likelihoods = (0,) if options.gvcf else None  # of the only genotype without ALT; v2.0.2 writes 990
    ref = IUPAC_TO_BASE[letter]
    return Call(pos, ref, (), qual, "RefCall", genotype, int(qual), depth, (reads,), (fraction,), likelihoods)


def _make_variant_call(
    pos, hypothesis: GenotypeHypothesis, alleles: Alleles, qual, depth, reads, heads, options: DecodeOptions
) -> Call | None:
    """Make a variant call; None when it is not written with these options (2.5, 3.5)."""
    ref, alts = alleles.ref, alleles.alts
    if not options.keep_ref_case:
        ref, alts = ref.upper(), tuple(alt.upper() for alt in alts)
    if not options.keep_iupac_bases:
        ref, alts = iupac_to_n(ref), tuple(map(iupac_to_n, alts))
    if (
        alts == (ref,)
        or (options.haploid == PRECISE and hypothesis.event.zygosity == HET)
        or (options.haploid == SENSITIVE and len(alts) == 2)
    ):
        return None
    # The zygosity is that of the event; v2.0.2 prints 1/1 if any event of equal probability is (A7, fixed).
    genotype = "1/2" if len(alts) == 2 else "1/1" if hypothesis.event.zygosity == HOM_ALT else "0/1"
    likelihoods = _likelihoods(heads, ref, alts, genotype) if options.gvcf else None
    if likelihoods and options.haploid:
        likelihoods = tuple(haploid_likelihoods(likelihoods))
    passed = options.qual is None or qual >= options.qual
    fractions = tuple(min(n / depth, 1.0) if depth > 0 else 0.0 for n in alleles.depths)
    return Call(
        pos=pos,
        ref=ref,
        alts=alts,
        qual=qual,
        filter="PASS" if passed else "LowQual",
        genotype="1" if options.haploid else genotype,
        gq=int(qual),
        depth=depth,
        depths=(reads, *alleles.depths),
        fractions=fractions,
        likelihoods=likelihoods,
    )


def _likelihoods(heads: np.ndarray, ref: str, alts: tuple[str, ...], genotype: str) -> tuple[int, ...]:
    """Return PL of every genotype in VCF order, from the gt21 and zygosity heads alone; it may disagree with GT (A11).

    heads  (24|90,)  float32
    """
    ref = IUPAC_TO_BASE.get(ref, ref)
    names = [allele_name(ref, allele) for allele in (ref, *alts)]
    pairs = [(a, b) for b in range(len(names)) for a in range(b + 1)]
    classes = [pair_index(names[a], names[b]) for a, b in pairs]
    if None in classes:
        return (_NO_LIKELIHOOD,) * len(pairs)
    weights = heads[GT21][classes] * heads[GENOTYPE][[zygosity(a, b) for a, b in pairs]]
    total = np.cumsum(weights)[-1]  # one after the other in float32, unlike sum()
    if total == 0:  # 0/0 ends v2.0.2; here the called genotype takes all (A8, fixed)
        called = tuple(int(allele) for allele in genotype.split("/"))
        weights = np.array([pair == called for pair in pairs], np.float32)
        total = np.float32(1)
    shares = weights / total + np.float32(1e-8)
    phred = [-10 * (math.log(share) / math.log(10)) for share in shares.tolist()]
    return tuple(math.ceil(value - min(phred)) for value in phred)
