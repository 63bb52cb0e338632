"""From network output and read support to calls (spec/calling.md 2.3 - 3.5). Letters A1 - A12: its section 15."""

import math
from dataclasses import dataclass

import numpy as np

from clair3.errors import ConfigError, InputError
from clair3.genotype import hypotheses
from clair3.genotype.alleles import LONGEST_KEY, Alleles, Reads, possible_events, realise
from clair3.genotype.classes import GENOTYPE, GT21, HET, HOM_ALT, PILEUP, WIDTH, allele_name, pair_index, zygosity
from clair3.genotype.hypotheses import GenotypeHypothesis
from clair3.records import IUPAC_TO_BASE, Call, SupportBatch, base_index, iupac_to_n

PRECISE, SENSITIVE = "precise", "sensitive"
"""Haploid modes: no heterozygous call at all; or every call with one alternative allele."""

_NO_LIKELIHOOD = 990
_PHRED = -10 * math.log10(math.e)


def check_filters(qual: float | None, haploid: str | None) -> None:
    """Raise ConfigError unless qual is None or a number from 0 up, and haploid is None or one of the two modes."""
    if qual is not None and not qual >= 0:
        raise ConfigError(f"--qual is {qual}; expected 0 or more")
    if haploid not in (None, PRECISE, SENSITIVE):
        raise ConfigError(f"haploid mode is {haploid!r}; expected {PRECISE!r}, {SENSITIVE!r} or none")


@dataclass(frozen=True)
class DecodeOptions:
    """What the decoder writes and how. qual divides PASS from LowQual; None passes everything (3.5)."""

    gvcf: bool = False
    haploid: str | None = None
    enable_long_indel: bool = False
    keep_iupac_bases: bool = False
    show_ref: bool = True
    qual: float | None = 2

    def __post_init__(self):
        check_filters(self.qual, self.haploid)


def decode(
    probabilities: np.ndarray,
    ref: np.ndarray,
    pos: np.ndarray,
    support: SupportBatch,
    rule: DecodeOptions,
    kind: str = PILEUP,
) -> list[Call]:
    """Calls of a batch of candidates, in candidate order; rows that are never written are left out (2, 3).

    probabilities  (n, 24) pileup, (n, 90) full_alignment  float32  network output, heads after softmax
    ref            (n,)  uint8  reference letter, ASCII upper case
    pos            (n,)  int64  0-based
    support        n rows
    Raises InputError when a probability is not a finite number, when the network has other heads than `kind`
    needs, or when a reference letter is no nucleotide code.
    """
    heads = np.asarray(probabilities, np.float32)
    if heads.shape[1] != WIDTH[kind]:
        raise InputError(f"the network gives {heads.shape[1]} values; {kind} calling needs {WIDTH[kind]}")
    if not np.isfinite(heads).all():
        raise InputError("the network gave values that are not finite numbers; check the model file")
    letters = ref.tobytes().decode("ascii")
    chosen, probability = _choose(heads, letters, base_index(ref), support, rule, kind)
    ref_reads = _reference_reads(support)
    columns = pos, quality(probability), support.depth, ref_reads, _fractions(ref_reads, support.depth)
    calls = []
    for i, (at, qual, depth, reads, fraction) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if i in chosen:
            call = _variant_call(at, *chosen[i], qual, depth, reads, heads[i], rule)
            if call is not None:
                calls.append(call)
        elif rule.show_ref:
            calls.append(_reference_call(at, letters[i], qual, depth, reads, fraction, rule))
    return calls


def _choose(
    heads, letters, base, support, rule, kind
) -> tuple[dict[int, tuple[GenotypeHypothesis, Alleles]], np.ndarray]:
    """The non-reference answers that reads support, by row, and every row's probability, (n,) float32 (2.1 - 2.3)."""
    table = hypotheses.TABLES[kind]
    probability, certain = hypotheses.reference(heads, base, table)
    rows = np.flatnonzero(~certain)
    matrix = hypotheses.matrix(heads[rows], probability[rows], table)
    longest = LONGEST_KEY[rule.enable_long_indel]
    matrix[~possible_events(support, longest)[rows][:, table.event]] = 0
    winners = matrix.argmax(axis=1)
    chosen = {}
    for k in np.flatnonzero(winners).tolist():
        i, winner = int(rows[k]), winners[k]
        reads = Reads.of(support, i, letters[i], longest)
        while winner:  # 0 is the reference call: it needs no reads, so the rounds end
            outcome = table.outcomes[winner]
            if (alleles := realise(outcome, reads)) is not None:
                chosen[i] = outcome, alleles
                break
            matrix[k, winner] = 0
            winner = matrix[k].argmax()
        probability[i] = matrix[k, winner]
    return chosen, probability


def quality(probability: np.ndarray) -> np.ndarray:
    """QUAL, rounded to 2 decimals (3.2). (n,) float32 -> (n,) float64

    math.log and round, not NumPy's: those may differ in the last bit from one processor to the next.
    """
    p, tiny = np.minimum(probability, np.float32(1)), np.float32(1e-10)
    odds = ((np.float32(1) - p) + tiny) / (p + tiny)
    return np.array([round(max(_PHRED * math.log(q) + 10, 0.0), 2) for q in odds.tolist()])


def _reference_reads(support: SupportBatch) -> np.ndarray:
    """(n,) int32 reads of the reference alone."""
    items = np.flatnonzero(support.kind == ord("R"))
    reads = np.zeros(len(support), np.int32)
    reads[np.searchsorted(support.item_start, items, side="right") - 1] = support.count[items]
    return np.maximum(reads, 0)


def _fractions(reads, depth) -> np.ndarray:
    """Share of the reads, at most 1; 0 without reads, also with two alternatives (A12)."""
    return np.minimum(np.divide(reads, depth, out=np.zeros(len(reads)), where=depth > 0), 1)


def _reference_call(pos, letter, qual, depth, reads, fraction, rule: DecodeOptions) -> Call:
    """A reference call. Its AF is the share of reference reads, and GQ has no cap of 99 (A11)."""
    genotype = "0" if rule.haploid else "0/0"
    likelihoods = (_NO_LIKELIHOOD,) if rule.gvcf else None
    ref = IUPAC_TO_BASE[letter]
    return Call(pos, ref, (), qual, "RefCall", genotype, int(qual), depth, (reads,), (fraction,), likelihoods)


def _variant_call(
    pos, outcome: GenotypeHypothesis, alleles: Alleles, qual, depth, reads, heads, rule: DecodeOptions
) -> Call | None:
    """A variant call, or None when the rule leaves it out (2.5, 3.5)."""
    ref, alts = alleles.ref, alleles.alts
    if not rule.keep_iupac_bases:
        ref, alts = iupac_to_n(ref), tuple(map(iupac_to_n, alts))
    if (
        alts == (ref,)
        or (rule.haploid == PRECISE and outcome.event.zygosity == HET)
        or (rule.haploid == SENSITIVE and len(alts) == 2)
    ):
        return None
    # The zygosity is that of the realised event; v2.0.2 prints 1/1 if any event of equal probability is (A7, fixed).
    genotype = "1/2" if len(alts) == 2 else "1/1" if outcome.event.zygosity == HOM_ALT else "0/1"
    likelihoods = _likelihoods(heads, ref, alts, genotype) if rule.gvcf else None
    passed = rule.qual is None or qual >= rule.qual
    fractions = tuple(min(n / depth, 1.0) if depth > 0 else 0.0 for n in alleles.depths)
    return Call(
        pos=pos,
        ref=ref,
        alts=alts,
        qual=qual,
        filter="PASS" if passed else "LowQual",
        genotype="1" if rule.haploid else genotype,
        gq=int(qual),
        depth=depth,
        depths=(reads, *alleles.depths),
        fractions=fractions,
        likelihoods=likelihoods,
    )


def _likelihoods(heads: np.ndarray, ref: str, alts: tuple[str, ...], genotype: str) -> tuple[int, ...]:
    """PL of every genotype in VCF order, from the genotype and zygosity heads alone, so it may disagree with GT (A11).

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
