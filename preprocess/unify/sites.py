"""Which reads show which allele at the candidate sites (spec/training.md A.5.1, A.5.2)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from shared.compressed import is_number, read_rows
from shared.errors import InputError

REFERENCE, GAP = "R", "*"
KINDS = ("X", "I", "D", REFERENCE, GAP)
HAPLOTYPES = ("0", "1", "2")

Observation = tuple[str, int]
"""A read and its haplotype: 1, 2, or 0 when it is not known."""


@dataclass(frozen=True)
class Site:
    """A candidate site: who shows what.

    pos      0-based
    depth    reads over it, those with a gap included
    alleles  allele -> its reads, in the order they were met: R (the reference and no indel), X and another base, I with
             the base and what is inserted behind it, D and the reference bases deleted behind it, * (a gap)
    """

    pos: int
    depth: int
    alleles: dict[str, Sequence[Observation]] = field(repr=False)

    @cached_property
    def frequent(self) -> list[tuple[str, Sequence[Observation]]]:
        """Alleles but gaps, the most frequent first; equal ones stay in order."""
        shown = [item for item in self.alleles.items() if item[0] != GAP]
        return sorted(shown, key=lambda item: -len(item[1]))


def details_files(name: Path) -> list[Path]:
    """The file of this name, or all files whose names start with it. Raises InputError when there is none."""
    if name.is_file():
        return [name]
    found = sorted(path for path in name.parent.glob(f"{name.name}*") if path.is_file()) if name.name else []
    if not found:
        raise InputError(f"{name}: no such file, nor files that start so; expected candidate details")
    return found


def read_details(paths: Iterable[Path], contig: str | None = None) -> Iterator[Site]:
    """Sites of files of candidate details, plain or compressed, in file order; of one contig, or of all with None.

    Raises InputError naming the row that is not `contig position<TAB>depth<TAB>{"allele": "read_h ..."}`.
    """
    for path in paths:
        for number, line in read_rows(path):
            if not line:
                continue
            try:
                place, depth, text = line.split("\t")
                name, pos = place.split(" ")
                if contig in (None, name):
                    alleles = {allele: observations(reads) for allele, reads in json.loads(text).items()}
                    yield site(pos, depth, alleles)
            except (ValueError, AttributeError):
                raise InputError(f"{path}: row {number}, {line[:60]!r}, is not one of candidate details") from None


def observations(text: str) -> list[Observation]:
    """Reads and haplotypes of `name_h name_h`. Raises ValueError for another haplotype than 0, 1, 2."""
    parts = [word.rpartition("_") for word in text.split(" ") if word]
    if not all(name and haplotype in HAPLOTYPES for name, _, haplotype in parts):
        raise ValueError(text)
    return [(name, int(haplotype)) for name, _, haplotype in parts]


def site(pos: str, depth: str, alleles: dict[str, list[Observation]]) -> Site:
    numbers = is_number(pos) and is_number(depth) and int(pos) and int(depth)
    if not numbers or not all(allele[:1] in KINDS for allele in alleles):
        raise ValueError(pos)
    return Site(int(pos) - 1, int(depth), alleles)


def details_line(contig: str, site: Site) -> str:
    """The line of a site in a file of candidate details."""
    reads = {allele: " ".join(f"{name}_{h}" for name, h in seen) for allele, seen in site.alleles.items()}
    return f"{contig} {site.pos + 1}\t{site.depth}\t{json.dumps(reads)}"
