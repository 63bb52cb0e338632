"""gVCF blocks and their merge with variants as spec/calling.md 6.2, 6.3 and 6.5 tell them: site by site, base by base;
positions without reads, runs of N and haploid PL as docs/differences.md.

Slow and plain; the tests compare the program with it. Positions are 1-based here, as in the text.
"""

import math
from typing import NamedTuple

LN_10, LOG_2 = 2.3025, 0.3010


class Site(NamedTuple):
    pos: int
    letter: str
    n_ref: int
    n_total: int


def likelihoods(n_ref: int, n_total: int, base_err: float) -> tuple[str, int, list[int]]:
    """GT, GQ and PL of a site up to 1023 reads deep (6.2)."""
    error, match = math.log(base_err) / LN_10, math.log(1 - base_err) / LN_10
    n_alt = n_total - n_ref
    v = [n_ref * match + n_alt * error, -n_total * LOG_2, n_ref * error + n_alt * match] if n_total else [-1.0] * 3
    total = round(math.log(sum(10**x for x in v)) / LN_10, 6)
    u = [min(x - total, 0) for x in v]
    t = 10 ** u[0]
    gq = 50 if t == 1 else min(50, int(round(-10 * math.log(1 - t) / LN_10, 6)))
    return "0/0" if u[0] == max(u) else "./.", gq, [int(-10 * x - min(-10 * y for y in u)) for x in u]


def block_lines(
    contig: str, length: int, sites: list[Site], base_err: float, gq_bin_size: int, bp_resolution: bool
) -> list[str]:
    """The lines of consecutive sites (6.3), with the end of the contig as G7 wants it."""
    blocks, low, high = [], 0, 0
    for site in sites:
        letter, depth = site.letter.upper(), site.n_total
        gt, gq, pl = likelihoods(site.n_ref, depth, base_err)
        binned = (gq - 1) // gq_bin_size * gq_bin_size + 1 if gq else 0
        ref = letter
        if letter not in "ACGT":
            ref, gq, binned, pl = "N", 1, 1, [0, 0, 0]
        kind = "N" if ref == "N" else (binned, gt)
        joins = bool(blocks) and kind == blocks[-1][0]["kind"]
        if joins and kind != "N" and depth < low:
            joins, low = (False, low) if high > math.ceil(depth + depth * 0.3) else (True, depth)
        elif joins and kind != "N" and depth > high:
            joins, high = (True, depth) if depth <= math.ceil(low + 0.3 * low) else (False, high)
        if not joins:
            blocks.append([])
            low = high = depth
        blocks[-1].append({"pos": site.pos, "ref": ref, "gt": gt, "gq": gq, "pl": pl, "depth": depth, "kind": kind})
    rows = []
    for block in blocks:
        first = block[0]
        if first["ref"] == "N":
            rows.append([first["pos"], "N", block[-1]["pos"], "./.", 1, min(s["depth"] for s in block), [0, 0, 0]])
        elif bp_resolution or first["gt"] == "./.":
            rows += [[s["pos"], s["ref"], s["pos"], shown(s), s["kind"][0], s["depth"], s["pl"]] for s in block]
        else:
            gq, depth = (min(s[key] for s in block) for key in ("gq", "depth"))
            rows.append([first["pos"], first["ref"], block[-1]["pos"], shown(first), gq, depth, first["pl"]])
    if rows and rows[-1][2] == length - 1:
        rows[-1][2] = length
    return [block_line(contig, *row) for row in rows]


def shown(site: dict) -> str:
    """The genotype that is written: none where no read is."""
    return site["gt"] if site["depth"] else "./."


def block_line(contig: str, pos: int, ref: str, end: int, gt: str, gq: int, depth: int, pl: list[int]) -> str:
    sample = f"{gt}:{gq}:{depth}:{','.join(map(str, pl))}"
    return f"{contig}\t{pos}\t.\t{ref}\t<NON_REF>\t0\t.\tEND={end}\tGT:GQ:MIN_DP:PL\t{sample}"


def merged(variants: list[str], blocks: list[str], reference: str, haploid: bool) -> list[str]:
    """What is left of the blocks beside the variants, and the variants, by position (6.5 without G2 - G5).

    variants are rows of the gVCF already.
    """
    covered, lines = set(), []
    for row in variants:
        fields = row.split("\t")
        covered |= set(range(int(fields[1]), int(fields[1]) + len(fields[3])))
        lines.append((int(fields[1]), row))
    for row in blocks:
        fields = row.split("\t")
        if haploid:
            genotype, gq, depth, pl = fields[9].split(":")
            pl = [int(value) for value in pl.split(",")]
            one = [pl[0] - min(pl[0], pl[2]), pl[2] - min(pl[0], pl[2])]
            fields[9] = f"{genotype[0]}:{gq}:{depth}:{one[0]},{one[1]}"
        start, end = int(fields[1]), int(fields[7].removeprefix("END="))
        for pos in range(start, end + 1):
            if pos in covered:
                continue
            if pos > start:
                fields[1], fields[3] = str(pos), reference[pos - 1].upper()
            if pos == start or pos - 1 in covered:
                stop = next((p for p in range(pos, end + 1) if p in covered), end + 1)
                lines.append((pos, "\t".join([*fields[:7], f"END={stop - 1}", *fields[8:]])))
    return [row for _, row in sorted(lines, key=lambda line: line[0])]
