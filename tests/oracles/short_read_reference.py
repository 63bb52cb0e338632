"""The pileup features for Illumina (v2.0.2's scripted engine), slow and obvious, to test the C core against.

Reads become the text of `samtools mpileup` and the text becomes features, as there; numbers are those of
spec/features.md B.12. Nothing here is shared with the product. Positions are 0-based, intervals half-open.
"""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
from pileup_reference import (
    BASES,
    CHANNELS,
    FLANK,
    REVERSE_FLAG,
    REVERSE_TWIN,
    WINDOW,
    Read,
    ReferencePileup,
    Rule,
    as_tensors,
    parse_cigar,
)

DROPPED_FLAGS = 2316  # unmapped, mate unmapped, secondary, supplementary
PAIRED, PROPER = 0x1, 0x2
MOST_READS = 8000
IUPAC = "ACGTURYSWKMBDHVN"
TARGET_REACH = 33

# -- reads to text -----------------------------------------------------------------------------------


def kept_reads(reads: list[Read], min_mapq: int) -> Iterator[Read]:
    """The reads that mpileup uses, in file order (A.2, third column), not more than it holds at a time."""
    held: list[tuple[int, int]] = []
    last = -1
    for read in sorted(reads, key=lambda read: read.pos):
        orphan = read.flag & PAIRED and not read.flag & PROPER
        if read.flag & DROPPED_FLAGS or orphan or read.mapq < min_mapq:
            continue
        end = read.pos + sum(length for op, length in parse_cigar(read.cigar) if op in "M=XDN")
        held = [other for other in held if other[1] >= read.pos]
        if read.pos != last or len(held) < MOST_READS:
            held.append((read.pos, end))
            yield read
        last = read.pos


def mpileup(reads: list[Read], start0: int, end0: int, min_mapq: int) -> dict[int, list[str]]:
    """What mpileup writes of each read in the columns of [start0, end0), ascending: `A`, `c+3a#t`, `G-2NN`, `*`."""
    columns: dict[int, list[str]] = {}
    for read in kept_reads(reads, min_mapq):
        for pos, text in read_texts(read):
            if start0 <= pos < end0:
                columns.setdefault(pos, []).append(text)
    return dict(sorted(columns.items()))


def read_texts(read: Read) -> Iterator[tuple[int, str]]:
    """Each column of a read with its text (B.12.3)."""
    ops = parse_cigar(read.cigar)
    reverse = bool(read.flag & REVERSE_FLAG)
    pos, query = read.pos, 0
    for k, (op, length) in enumerate(ops):
        if op in "M=XDN":
            for i in range(length):
                text = {"D": "#" if reverse else "*", "N": "<" if reverse else ">"}.get(op)
                if op in "M=X":
                    letter = read.seq[query]
                    text = strand_case(letter, reverse) if letter != "=" else ",."[not reverse]
                    query += 1
                yield pos + i, text + (attached_text(read, ops, k, query) if i == length - 1 else "")
            pos += length
        elif op in "IS":
            query += length


def strand_case(letters: str, reverse: bool) -> str:
    return letters.lower() if reverse else letters


def attached_text(read: Read, ops: list[tuple[str, int]], k: int, query: int) -> str:
    """The insertion and the deletion behind operation k; query is the next base of the read."""
    reverse, text, behind = bool(read.flag & REVERSE_FLAG), "", k + 1
    if inserts(ops[k + 1 :]):
        letters = ""
        while behind < len(ops) and ops[behind][0] in "IP":
            op, length = ops[behind]
            letters += ("#" if reverse else "*") * length if op == "P" else read.seq[query : query + length]
            query += length if op == "I" else 0
            behind += 1
        text = f"+{len(letters)}{strand_case(letters, reverse)}"
    if behind < len(ops) and ops[behind][0] == "D":
        text += f"-{ops[behind][1]}" + strand_case("N" * ops[behind][1], reverse)
    return text


def inserts(ops: list[tuple[str, int]]) -> bool:
    """Whether an insertion starts with these operations: an I, or a P and an I before the next reference base (B.2)."""
    if not ops or ops[0][0] not in "IP":
        return False
    for op, _ in ops:
        if op in "M=XDN":
            return False
        if op == "I":
            return True
    return False


# -- text to counts ----------------------------------------------------------------------------------


class Column:
    """Counts of one column (B.12.2-6).

    channels     18 counts, not yet negated
    classes      reads of each of A, C, G, T, I, D, in order of first appearance
    items        reads of each alternative allele, in order of first appearance
    """

    def __init__(self, texts: list[str], ref: str, pos: int):
        self.ref = ref[pos].upper()
        self.base = self.ref if self.ref in BASES else "A"
        self.channels = [0] * len(CHANNELS)
        self.depth = self.deleted = 0
        self.classes, self.items = Counter(), Counter()
        self.longest = 0
        indels = {side + kind: Counter() for side in "+-" for kind in "ID"}  # + is forward
        for text in texts:
            self.count_base(text[0])
            rest = text[1:]
            if rest.startswith("+"):
                size = re.match(r"\+(\d+)", rest)
                letters = rest[size.end() : size.end() + int(size[1])]
                rest = rest[size.end() + int(size[1]) :]
                indels["+I" if letters[0] in "ACGTN*" else "-I"][letters] += 1
                self.classes["I"] += 1
                self.items[f"I{self.ref}{letters.upper()}"] += 1
            if rest.startswith("-"):
                length = int(re.match(r"-(\d+)", rest)[1])
                indels["+D" if rest.endswith("N") else "-D"][length] += 1
                self.classes["D"] += 1
                self.longest = max(self.longest, length)
                self.items["D" + ref[pos + 1 : pos + 1 + length].upper()] += 1
        for name, histogram in indels.items():
            channel = CHANNELS.index(name[1]) + (REVERSE_TWIN if name[0] == "-" else 0)
            self.channels[channel] = sum(histogram.values())
            self.channels[channel + 1] = max(histogram.values(), default=0)

    def count_base(self, symbol: str) -> None:
        if symbol in "*#":
            self.channels[CHANNELS.index(symbol)] += 1
            self.depth += 1
            self.deleted += 1
        elif symbol.upper() in BASES:
            self.channels[BASES.index(symbol.upper()) + (0 if symbol.isupper() else REVERSE_TWIN)] += 1
            self.depth += 1
            self.classes[symbol.upper()] += 1
            if symbol.upper() != self.base:
                self.items["X" + symbol.upper()] += 1

    def negated(self) -> list[int]:
        channels = list(self.channels)
        r = BASES.index(self.base)
        for strand in (0, REVERSE_TWIN):
            channels[strand + r] = -sum(channels[strand : strand + 4])
        return channels

    def is_candidate(self, rule: Rule) -> bool:
        """B.12.7; fractions in double precision."""
        fraction = {name: n / max(1, self.depth) for name, n in self.classes.items()}
        snp = any(fraction[name] >= rule.snp_min_af for name in fraction if name in BASES and name != self.base)
        indel = any(fraction[name] >= rule.indel_min_af for name in fraction if name in "ID")
        ranked = sorted(self.classes, key=self.classes.get, reverse=True)  # stable: first appearance
        top = bool(ranked) and ranked[0] != self.base
        hit = snp if rule.snp_only else snp or indel or top
        hit = hit or (self.depth > 0 and 0 in (rule.snp_min_af, rule.indel_min_af))
        return hit and self.ref in BASES and self.depth >= rule.min_coverage

    def alt_info(self) -> str:
        """B.12.5, but with the reference letter as it stands where v2.0.2 writes A for other letters than ACGT."""
        items = dict(self.items)
        alone = self.depth - self.deleted - sum(items.values())
        if alone > 0:
            items["R" + self.ref] = alone
        return f"{self.depth}-" + " ".join(f"{name} {n}" for name, n in items.items())


# -- the whole ---------------------------------------------------------------------------------------


def scripted_pileup(
    ref: str,
    reads: list[Read],
    start0: int,
    end0: int,
    *,
    known_sites: bool = False,
    allowed: list[tuple[int, int]] | None = None,
    targets: list[tuple[int, int]] | None = None,
    **options,
) -> ReferencePileup:
    """As pileup_reference.reference_pileup, by the rules of B.12. targets are the intervals of a BED.

    max_indel_length has no effect: indels of any length are listed.
    """
    rule = Rule(**options)
    n = max(0, end0 - start0)
    columns = np.zeros((n, len(CHANNELS)), np.int32)
    n_ref, n_total = np.zeros(n, np.int32), np.zeros(n, np.int32)
    exists, found = np.zeros(n, bool), {}
    for pos, texts in mpileup(reads, start0, end0, rule.min_mapq).items():
        column = Column(texts, ref, pos)
        columns[pos - start0] = column.negated()
        n_ref[pos - start0] = column.classes[column.base]
        n_total[pos - start0] = sum(column.classes.values())
        exists[pos - start0] = targets is None or any(
            start - TARGET_REACH <= pos < end + TARGET_REACH for start, end in targets
        )
        if known_sites:
            wanted = column.ref in IUPAC
        else:  # A.6: the interval from one base to the left to the end of the longest deletion
            touched = targets is None or any(start < pos + column.longest + 2 and end > pos for start, end in targets)
            wanted = touched and column.is_candidate(rule)
        if wanted and (allowed is None or any(start <= pos < end for start, end in allowed)):
            found[pos] = column
    windows = {}
    for pos in found:
        window = cut_window(columns, exists, pos - start0, rule.head_and_tail)
        if window is not None:
            windows[pos] = window
    texts = [found[pos].alt_info() for pos in windows]
    return ReferencePileup(columns, exists, n_ref, n_total, list(windows), as_tensors(windows.values()), texts)


def cut_window(columns: np.ndarray, exists: np.ndarray, row: int, head_and_tail: bool) -> np.ndarray | None:
    """The 33 columns around a candidate, or None (B.12.8)."""
    if not exists[row]:
        return None
    first = last = row
    while first > 0 and exists[first - 1]:
        first -= 1
    while last + 1 < len(exists) and exists[last + 1]:
        last += 1
    in_front, behind = max(0, first - (row - FLANK)), max(0, row + FLANK - last)
    if (in_front or behind) and not head_and_tail:
        return None
    if behind and exists[last + 1 :].any():  # zeros are appended to the last run only
        return None
    window = np.zeros((WINDOW, len(CHANNELS)), np.int32)
    window[in_front : WINDOW - behind] = columns[row - FLANK + in_front : row + FLANK + 1 - behind]
    return window
