"""The full-alignment features of realigned short reads written the slow and obvious way, to test the C core against.

They are those of v2.0.2's scripted engine (spec/features.md A.2, B.12.3, C.13): columns as `samtools mpileup
--reverse-del` writes them, then tokens. Reads here are those after realignment, each with a name of its own. Nothing is
shared with the product. Positions are 0-based and intervals half-open.
"""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from full_alignment_reference import LETTER_CODE, span
from pileup_reference import BASES, FLANK, REVERSE_FLAG, WINDOW, Read, parse_cigar

REF, ALT, STRAND, MAPQ, QUALITY, FRACTION, INSERTED, HAPLOTYPE = range(8)
DROPPED_FLAGS = 0x4 | 0x8 | 0x100 | 0x800  # unmapped, mate unmapped, secondary, supplementary
PAIRED, PROPER = 0x1, 0x2
MOST_DEPTH = 8000
HAPLOTYPE_CODE = {0: 60, 1: 30, 2: 90}


class Token(NamedTuple):
    """What a read shows in a column: a symbol in the case of its strand, `*` or `#` for a deleted base, `<` or `>` for
    a skip; then the insertion or the deletion (length) that mpileup writes last behind it."""

    read: int
    symbol: str
    quality: int
    inserted: str = ""
    deleted: int = 0


@dataclass(frozen=True)
class ShortCandidate:
    """A candidate with its row order: read indices, all that could be rows."""

    pos: int
    depth: int
    alt_info: str
    tensor: np.ndarray
    window_reads: int


def reference_short_reads(
    ref: str,
    reads: list[Read],
    haplotypes: list[int],
    span_of_file: tuple[int, int],
    *,
    rows: int,
    min_mapq: int,
    min_coverage: int,
) -> list[ShortCandidate]:
    """Candidates that reads, sorted by position, show around [start, end) = span_of_file (lo - 1 and hi of A.10).

    ref is the whole contig; haplotypes are those of the HP tags, 0 without one.
    """
    first, last = max(0, span_of_file[0] - 1000) + 16, span_of_file[1] + 1000 - 16
    columns = token_columns(ref, reads, min_mapq)
    columns = {pos: tokens for pos, tokens in columns.items() if first <= pos <= last}
    found = []
    for pos in sorted(columns):
        if is_candidate(columns[pos], ref[pos].upper(), min_coverage):
            found.append(make_candidate(ref, reads, haplotypes, columns, pos, rows))
    return found


# -- columns -----------------------------------------------------------------------------------------


def is_used(read: Read, min_mapq: int) -> bool:
    """A.2, third column."""
    orphan = read.flag & PAIRED and not read.flag & PROPER
    return not (read.flag & DROPPED_FLAGS) and not orphan and read.mapq >= min_mapq


def taken_by_mpileup(reads: list[Read], min_mapq: int) -> list[int]:
    """Indices of the reads that count: used ones with a place; where 8000 lie, the first of its start only."""
    taken: list[int] = []
    for index, read in enumerate(reads):
        if not is_used(read, min_mapq) or not span(read):
            continue
        is_first = not taken or reads[taken[-1]].pos != read.pos
        if is_first or sum(reads[i].pos + span(reads[i]) >= read.pos for i in taken) < MOST_DEPTH:
            taken.append(index)
    return taken


def token_columns(ref: str, reads: list[Read], min_mapq: int) -> dict[int, list[Token]]:
    """The columns that are kept, with their tokens in file order (C.13.2)."""
    columns = defaultdict(list)
    for index in taken_by_mpileup(reads, min_mapq):
        for pos, token in tokens_of(index, reads[index]):
            columns[pos].append(token)
    return {pos: tokens for pos, tokens in columns.items() if all(token.symbol in "ACGTNacgtn*#" for token in tokens)}


def tokens_of(index: int, read: Read):
    """Position and token of each column of a read (B.12.3)."""
    reverse = bool(read.flag & REVERSE_FLAG)
    ops, pos, query = parse_cigar(read.cigar), read.pos, 0
    for k, (op, length) in enumerate(ops):
        for i in range(length if op in "M=XDN" else 0):
            symbol, quality = {"D": "#" if reverse else "*", "N": "<" if reverse else ">"}.get(op, ""), 0
            if op in "M=X":
                letter = read.seq[query].replace("=", "," if reverse else ".")
                symbol = letter.lower() if reverse else letter
                quality = 93 if read.qual is None else read.qual[query]
                query += 1
            inserted, deleted = attached_text(read, ops, k, query) if i == length - 1 else ("", 0)
            yield pos + i, Token(index, symbol, quality, inserted, deleted)
        if op in "IS":
            query += length
        if op in "M=XDN":
            pos += length


def attached_text(read: Read, ops: list[tuple[str, int]], k: int, query: int) -> tuple[str, int]:
    """(inserted, deleted) behind the last column of operation k; a deletion behind an insertion replaces it."""
    later = ops[k + 1 :]
    if later and later[0][0] == "D":
        return "", later[0][1]
    inserted_bases = 0
    if later and later[0][0] == "I":
        inserted_bases = later[0][1]
    elif later and later[0][0] == "P":
        before_next = takewhile(lambda op: op[0] not in "M=XDN", later)
        inserted_bases = sum(length for op, length in before_next if op == "I")
    if not inserted_bases:
        return "", 0
    text = ""
    for op, length in later:
        if op == "I":
            text += read.seq[query : query + length]
            query += length
        elif op == "P":
            text += ("#" if read.flag & REVERSE_FLAG else "*") * length
        else:
            return ("", length) if op == "D" else (text, 0)
    return text, 0


# -- candidates --------------------------------------------------------------------------------------


def is_candidate(tokens: list[Token], ref: str, min_coverage: int) -> bool:
    """C.13.9: deleted symbols do not count, thresholds are fixed."""
    classes = Counter()
    for token in tokens:
        if token.symbol.upper() in BASES:
            classes[token.symbol.upper()] += 1
        if token.inserted or token.deleted:
            classes["I" if token.inserted else "D"] += 1
    depth = sum(classes[base] for base in BASES)
    if ref not in BASES or depth < max(1, min_coverage):
        return False
    top = max(classes, key=classes.get)  # the first of equals, as a stable sort has it
    return (
        top != ref
        or any(classes[base] / depth >= 0.08 for base in BASES if base != ref)
        or any(classes[indel] / depth >= 0.15 for indel in "ID")
    )


def key_of(token: Token, ref: str, pos: int) -> str:
    """The allele that a token counts for: R for the reference alone, nothing for a deleted base (C.13.6, C.13.7)."""
    if token.deleted:
        return "D" + ref[pos + 1 : pos + 1 + token.deleted].upper()
    symbol = token.symbol.upper()
    if token.inserted:
        return "I" + symbol + token.inserted
    if symbol in "*#":
        return ""
    return "R" if symbol == ref[pos].upper() else "X" + symbol


def make_candidate(ref: str, reads, haplotypes, columns, pos: int, rows: int) -> ShortCandidate:
    """Support and tensor of one candidate."""
    tokens = columns[pos]
    counts = Counter(key_of(token, ref, pos) for token in tokens)
    items = [f"{key} {count}" for key, count in counts.items() if key not in ("", "R")]
    if counts["R"]:
        items.append(f"R{ref[pos].upper()} {counts['R']}")
    cells = defaultdict(dict)
    for at in range(pos - FLANK, pos + FLANK + 1):
        for token in columns.get(at, ()):
            cells[token.read][at] = token
    order = list(cells)
    chosen = order
    if len(order) > rows:
        random.seed(0)
        chosen = [order[i] for i in sorted(random.sample(range(len(order)), rows))]
    chosen = sorted(chosen, key=lambda read: (haplotypes[read], order.index(read)))
    tensor = np.zeros((rows, WINDOW, 8), np.int8)
    for row, read in enumerate(chosen, (rows - len(chosen)) // 2):
        fill_row(tensor[row], cells[read], reads[read], haplotypes[read], ref, pos)
        fill_fraction(tensor[row], cells[read].get(pos), counts, len(tokens), ref, pos)
    return ShortCandidate(pos, len(tokens), f"{len(tokens)}-" + " ".join(items), tensor, len(order))


# -- rows --------------------------------------------------------------------------------------------


def fill_row(row: np.ndarray, cells: dict[int, Token], read: Read, haplotype: int, ref: str, pos: int) -> None:
    """All channels but the allele fraction (C.13.4, C.13.5)."""
    for at, token in sorted(cells.items()):
        column, letter, base = at - pos + FLANK, token.symbol.upper(), ref[at].upper()
        if letter in "*#":
            continue
        row[column, REF] = LETTER_CODE[base] if base in BASES else 100
        row[column, STRAND] = 100 if token.symbol in BASES else 50
        row[column, MAPQ] = 100 if read.mapq >= 60 else int(100 * read.mapq / 60.0)
        row[column, QUALITY] = 100 if token.quality >= 40 else int(100 * token.quality / 40.0)
        row[column, HAPLOTYPE] = HAPLOTYPE_CODE[haplotype]
        if token.inserted:
            row[column, ALT] = -50
        elif token.deleted:
            row[column, ALT] = -100
        elif letter in BASES and letter != base:
            row[column, ALT] = LETTER_CODE[letter]
        if token.inserted and column < WINDOW - 1:
            for k, symbol in enumerate(token.inserted[: WINDOW - column]):
                row[column + k, INSERTED] = LETTER_CODE[symbol] if symbol in "ACGTN" else 0


def fill_fraction(row: np.ndarray, centre: Token | None, counts: Counter, depth: int, ref: str, pos: int) -> None:
    """The share of the reads that show what this row shows at the candidate, in double precision (C.13.6)."""
    if centre is None or centre.symbol in "*#" or (key := key_of(centre, ref, pos)) == "R":
        return
    fraction = int(100 * min(counts[key] / max(1, depth), 1.0))
    row[row[:, STRAND] != 0, FRACTION] = fraction
