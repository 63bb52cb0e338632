"""Local realignment of short reads written a second time, slowly and from the specification (spec/features.md D)."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

ACGT = "ACGT"
WORD = 32


@dataclass
class Read:
    """A record; cigar is a list of (length, operation). best_start and best: where it is put, None: it stays."""

    start: int
    cigar: list
    letters: str
    quality: list
    mapq: int = 60
    order: int = 0
    best_start: int = -1
    best: list = field(default=None)

    @property
    def end(self):
        return self.start + len(self.letters) + sum(length for length, op in self.cigar if op == "D")

    @property
    def place(self):
        return self.start if self.best is None else self.best_start


def text(cigar):
    return "".join(f"{length}{op}" for length, op in cigar)


def merged(cigar):
    """Without empty operations, equal neighbours as one."""
    result = []
    for length, op in cigar:
        if result and result[-1][1] == op:
            result[-1] = (result[-1][0] + length, op)
        elif length:
            result.append((length, op))
    return result


# ---- D.5: local alignment ------------------------------------------------------------------------------------------


def points(a, b):
    return 4 if a == b and a in ACGT else -6


def table(query, target):
    """h[i, j], the best score of an alignment that ends with query[i] and target[j]; row by row.

    A deletion is opened from a cell that it does not itself reach: the best of those on the left, less its length.
    """
    query, target = np.frombuffer(query.encode(), np.uint8), np.frombuffer(target.encode(), np.uint8)
    column = np.arange(len(target))
    known = np.isin(target, np.frombuffer(ACGT.encode(), np.uint8))
    h = np.zeros((len(query) + 1, len(target) + 1), np.int64)
    ins = np.full(len(target), -(10**9))
    for i, letter in enumerate(query):
        ins = np.maximum(h[i, 1:] - 8, ins - 2)
        cells = np.maximum(np.maximum(h[i, :-1] + np.where((target == letter) & known, 4, -6), ins), 0)
        dele = np.maximum.accumulate(cells + 2 * column) - 8 - 2 * column
        h[i + 1, 1:] = cells
        h[i + 1, 2:] = np.maximum(cells[1:], dele[:-1])
    return h[1:, 1:]


def first_best(query, target):
    h = table(query, target)
    column, row = min(zip(*np.nonzero((h == h.max()).T), strict=True))
    return int(h.max()), int(row), int(column)


def band_path(query, target, score):
    """The path between the first and the last cells as (operation, ...) from the last on."""
    half = abs(len(target) - len(query)) + 1
    while True:
        h, came, ins, dele = {}, {}, {}, {}
        for i in range(len(query)):
            for j in range(max(0, i - half), min(len(target), i + half + 1)):
                opened, extended = h.get((i - 1, j), 0) - 8, ins.get((i - 1, j), (0, 0))[0] - 2
                ins[i, j] = (max(opened, extended), opened > extended)
                opened, extended = h.get((i, j - 1), 0) - 8, dele.get((i, j - 1), (0, 0))[0] - 2
                dele[i, j] = (max(opened, extended), opened > extended)
                along = h.get((i - 1, j - 1), 0) + points(query[i], target[j])
                in_gap = max(0, ins[i, j][0], dele[i, j][0])
                h[i, j] = max(along, in_gap)
                insertion_wins = max(0, ins[i, j][0]) > max(0, dele[i, j][0])
                came[i, j] = "M" if along >= in_gap else "I" if insertion_wins else "D"
        if max(h.values()) >= score:
            break
        half *= 2
    i, j, state, path = len(query) - 1, len(target) - 1, "M", []
    while i > 0:
        if state == "M":
            state = came[i, j]
        path.append(state)
        if state == "M":
            i, j = i - 1, j - 1
        elif state == "I":
            state = "M" if ins[i, j][1] else "I"
            i -= 1
        else:
            state = "M" if dele[i, j][1] else "D"
            j -= 1
    return [*path, "M"]


@lru_cache(maxsize=20_000)
def align(query, target):
    """(score, start on the target, CIGAR with S, =, X, I, D) or None."""
    score, row, column = first_best(query, target)
    if not score:
        return None
    _, back_row, back_column = first_best(query[row::-1], target[column::-1])
    first, start = row - back_row, column - back_column
    cigar, i, j = [(first, "S")], first, start
    for step in reversed(band_path(query[first : row + 1], target[start : column + 1], score)):
        if step == "M":
            same = query[i] == target[j] or (query[i] not in ACGT and target[j] not in ACGT)
            cigar.append((1, "=" if same else "X"))
        else:
            cigar.append((1, step))
        i += step != "D"
        j += step != "I"
    return score, start, merged([*cigar, (len(query) - row - 1, "S")])


# ---- D.5.5, D.5.6: shift and composition ---------------------------------------------------------------------------


def shift_of(haplotype, place):
    """The shift of every base of the haplotype, of which the one at `place` is wanted."""
    shifts, now = [], 0
    for k, (length, op) in enumerate(haplotype):
        if op == "D":
            now += length
        elif op == "I":
            shifts += [now - n for n in range(length)]
            now -= length
        else:
            now -= length if op == "S" and k == 0 else 0
            shifts += [now] * length
    return shifts[place]


def compose(read, place, haplotype):
    """CIGAR of the read on the reference, or None."""
    plain = {"=": "M", "X": "M"}
    a = [[length, plain.get(op, op)] for length, op in read]
    b = [[length, plain.get(op, op)] for length, op in haplotype]  # a run of = and one of X beside it are two
    dropped = place
    while dropped and b:
        gone = 0 if b[0][1] == "D" else min(dropped, b[0][0])
        dropped -= gone
        b[0][0] -= gone
        if not gone or not b[0][0]:
            b.pop(0)
    if place and b and b[0][1] == "D":
        b.pop(0)
    unread = sum(length for length, op in read if op != "D")
    result = []
    if a[0][1] == "S":
        result.append((a[0][0], "S"))
        unread -= a.pop(0)[0]
    while unread > 0 and a:
        (x, own), (y, other) = a[0], b[0] if b else (0, "")
        if not b:
            op, length = own, x
            a.pop(0)
        elif own in "MS" and other in "MS":
            op, length = ("S" if "S" in (own, other) else "M"), min(x, y)
            a[0][0] -= length
            b[0][0] -= length
        elif own == "D" and other in "MS":
            op, length = "D", x
            a.pop(0)
            b[0][0] -= length
        elif own in "MS" and other == "D":
            op, length = "D", y
            b.pop(0)
        elif own == other and own in "DI":
            op, length = own, x + y
            a.pop(0)
            b.pop(0)
        elif own == "I" and other in "MS":
            op, length = "I", min(x, unread)
            a.pop(0)
        elif own in "MS" and other == "I":
            op, length = "I", min(y, unread)
            b.pop(0)
            a[0][0] -= length
        else:
            return None
        if op != "D":
            length = min(length, unread)
            unread -= length
        result.append((length, op))
        if a and a[0][0] <= 0:
            a.pop(0)
        if b and b[0][0] <= 0:
            b.pop(0)
    return merged(result) if not unread else None


# ---- D.4: haplotypes -----------------------------------------------------------------------------------------------


def runs(letters, quality):
    """Stretches of good bases."""
    run = ""
    for letter, q in zip(letters, quality, strict=True):
        if letter in ACGT and q >= 15:
            run += letter
        else:
            yield run
            run = ""
    yield run


def edges_of(k, reference, reads):
    """{(k-mer, next k-mer): [weight, is reference]}"""
    edges = {}
    pieces = [(reference, True), *((run, False) for letters, quality in reads for run in runs(letters, quality))]
    for piece, is_reference in pieces:
        for i in range(len(piece) - k):
            edge = edges.setdefault((piece[i : i + k], piece[i + 1 : i + k + 1]), [0, False])
            edge[0] += 1
            edge[1] |= is_reference
    return edges


def has_cycle(edges):
    following, before = {}, {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
        before[b] = before.get(b, 0) + 1
        before.setdefault(a, 0)
    free = [v for v, n in before.items() if not n]
    left = len(before)
    while free:
        left -= 1
        for b in following.get(free.pop(), ()):
            before[b] -= 1
            if not before[b]:
                free.append(b)
    return left > 0


def reachable(start, following):
    seen, todo = {start}, [start]
    while todo:
        for b in following.get(todo.pop(), ()):
            if b not in seen:
                seen.add(b)
                todo.append(b)
    return seen


def assemble(reference, reads):
    """Haplotypes, sorted; reads are (letters, qualities)."""
    for k in range(10, min(101, len(reference) - 1) + 1):
        words = [reference[i : i + k] for i in range(len(reference) - k + 1)]
        if len(set(words)) < len(words):
            continue
        edges = edges_of(k, reference, reads)
        if not has_cycle(edges):
            break
    else:
        return []
    kept = [edge for edge, (weight, is_reference) in edges.items() if is_reference or weight >= 2]
    following, before = {}, {}
    for a, b in kept:
        following.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    source, sink = words[0], words[-1]
    vertices = reachable(source, following) & reachable(sink, before)
    finished, pending = [], [[source]]
    while pending:
        if len(finished) + len(pending) > 256:
            return []
        path = pending.pop(0)
        for b in following[path[-1]]:
            if b in vertices:
                (finished if b == sink else pending).append([*path, b])
    return sorted(path[0] + "".join(word[-1] for word in path[1:]) for path in finished)[:200]


# ---- D.5: one window -----------------------------------------------------------------------------------------------


def place_quickly(haplotype, reads, window_start, window_end, is_target):
    """(score of the haplotype, {read index: (score, place)})"""
    index = {}
    for r, read in enumerate(reads):
        if len(read.letters) > WORD:
            for offset in range(len(read.letters) - WORD + 1):
                index.setdefault(read.letters[offset : offset + WORD], []).append((r, offset))
    placed, coverage = {}, [0] * len(haplotype)
    for i in range(len(haplotype) - WORD + 1):
        found = index.get(haplotype[i : i + WORD])
        if not found:
            continue
        for r, offset in found:
            letters, t = reads[r].letters, max(0, i - offset)
            if t + len(letters) > len(haplotype) or (r in placed and placed[r][1] == t):
                continue
            wrong = sum(a != b and "N" not in (a, b) for a, b in zip(letters, haplotype[t:], strict=False))
            if wrong > 2:
                continue
            for p in range(t, t + len(letters)):
                coverage[p] += 1
            score = 4 * (len(letters) - wrong) - 6 * wrong
            if score > placed.get(r, (0, 0))[0]:
                placed[r] = (score, t)
        if not coverage[i] and window_start <= i < window_end and not is_target:
            return 0, {}
    return sum(score for score, _ in placed.values()), placed


def realign_window(reference, offset, w0, w1, assigned):
    """Put the assigned reads of a window; reference starts at `offset`."""

    def ref(a, b):
        return reference[a - offset : b - offset]

    w0, w1 = max(w0, offset), min(w1, offset + len(reference))
    reads = assigned[:1000]
    usable = [(r.letters, r.quality) for r in assigned if r.mapq >= 14 and r.start <= w1 and r.end >= w0]
    found = assemble(ref(w0, w1), usable) if reads else []
    if not found or found == [ref(w0, w1)]:
        return
    t0 = max(offset, min(w0, *(r.start for r in reads)) - 20)
    t1 = min(offset + len(reference), max(w1, *(r.end for r in reads)) + 20)
    target = ref(t0, t1)
    haplotypes = [ref(t0, w0) + haplotype + ref(w1, t1) for haplotype in found]
    quick = [place_quickly(h, reads, w0 - t0, len(h) - (t1 - w1), h == target) for h in haplotypes]
    order = sorted(range(len(haplotypes)), key=lambda h: quick[h][0])
    for r, read in enumerate(reads):
        is_slow = not any(r in placed for _, placed in quick)
        best = 0
        for h in order:
            score_of_haplotype, placed = quick[h]
            if not score_of_haplotype:
                continue
            on_target = align(haplotypes[h], target)
            is_reference = on_target[2] == [(len(haplotypes[h]), "=")]
            if is_slow:
                own = align(read.letters, haplotypes[h])
            else:
                own = r in placed and (*placed[r], [(len(read.letters), "=")])
            if own and (own[0] > best or (own[0] == best > 0 and not is_reference)):
                best, chosen = own[0], (own, on_target)
        if best:
            (_, place, cigar), (_, start, to_target) = chosen
            put(read, t0 + start + place + shift_of(to_target, place), compose(cigar, place, to_target))


def put(read, start, cigar):
    if cigar is None or start < 0 or (start == read.start and cigar == read.cigar):
        return

    def gaps(cigar):
        return sum(length for length, op in cigar if op in "ID")

    if read.best is None or gaps(read.best) == 0 or gaps(cigar) >= gaps(read.best):
        read.best, read.best_start = cigar, start


# ---- D.2, D.3: evidence, windows, chunks ---------------------------------------------------------------------------


def count_evidence(counts, read, reference, offset, cs):
    x, q = read.start, 0

    def is_base(pos):
        return 0 <= pos - offset < len(reference) and reference[pos - offset] in ACGT

    def add(positions):
        for pos in positions:
            counts[pos] = counts.get(pos, 0) + 1

    for length, op in read.cigar if read.mapq >= 20 else ():
        in_chunk = is_base(x - 1) and cs - 20 <= x <= cs + 5020
        if op in "MX":
            for k in range(length):
                differs = is_base(x + k) and read.letters[q + k] != reference[x + k - offset]
                if differs and read.quality[q + k] >= 20:
                    add([x + k])
        elif op in "IS" and in_chunk and min(read.quality[q : q + length]) >= 20:
            add(range(x - length, x + length))
        elif op == "D" and in_chunk:
            add(range(x, x + length))
        x += length if op in "M=XD" else 0
        q += length if op in "M=XIS" else 0


def realign_chunk(counts, waiting, reference, offset, cs):
    """True when there was anything to look at."""
    inside = (offset, offset + len(reference))
    candidates = sorted(
        p for p, n in counts.items() if n >= 2 and cs - 21 <= p <= cs + 5019 and inside[0] <= p < inside[1]
    )
    if not waiting or not candidates:
        return False
    for k in range(5):
        windows = []
        for p in candidates:
            if cs + 1000 * k - 21 <= p < cs + 1000 * k + 1020:
                if windows and p <= windows[-1][1] - 80 + 160:
                    windows[-1][1] = p + 80
                else:
                    windows.append([p - 80, p + 80])
        groups = [[] for _ in windows]
        for read in waiting:
            overlaps = [min(read.end, w1) - max(read.start, w0) for w0, w1 in windows]
            if overlaps and max(overlaps) > 0:
                groups[overlaps.index(max(overlaps))].append(read)
        for (w0, w1), group in zip(windows, groups, strict=True):
            if w1 - w0 <= 1000:
                realign_window(reference, offset, w0, w1, group)
    return True


def is_kept(read):
    clipped = sum(length for length, op in read.cigar if op == "S")
    total = sum(length for length, _ in read.cigar)
    return bool(read.cigar) and 1 - clipped / (total + 1) >= 0.55


def realign(reads, reference, offset):
    """The reads that stay, in order of their new place. reads: in file order, numbered by `order`."""
    cs, counts, waiting, written = None, {}, [], []
    for read in filter(is_kept, reads):
        cs = read.start if cs is None else cs
        if read.start >= cs + 5020:
            if realign_chunk(counts, waiting, reference, offset, cs):
                written += [r for r in waiting if r.place < cs - 1020]
                waiting = [r for r in waiting if r.place >= cs - 1020]
                counts = {p: n for p, n in counts.items() if p >= cs - 1020}
            cs += 5000
        count_evidence(counts, read, reference, offset, cs)
        waiting.append(read)
    if waiting:
        realign_chunk(counts, waiting, reference, offset, cs)
    return sorted(written + waiting, key=lambda r: (r.place, r.order))
