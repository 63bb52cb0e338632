"""The reference genome: contigs from the FASTA index, and whether that index fits the FASTA."""

import difflib
import re
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clair3.errors import InputError
from clair3.io.text import is_bgzf, is_gzip, is_number, read_rows

CHROMOSOMES = [*map(str, range(1, 23)), "X", "Y"]
MAJOR_CONTIGS = tuple([f"chr{name}" for name in CHROMOSOMES] + CHROMOSOMES)
"""The contigs called by default, in the order of the output (spec/cli.md 4.1)."""

CHECKED_RECORDS = 200
"""Records of a .fai compared with the FASTA: all of a human genome, a sample of an assembly in a million pieces."""

BGZF_BLOCK = 65_536
"""Most bytes of text in one bgzip block."""

AGAIN = 'make the index again with "samtools faidx"'


@dataclass(frozen=True, order=True)
class Contig:
    """A sequence of the reference; length in bases."""

    name: str
    length: int


@dataclass(frozen=True)
class Reference:
    """An indexed FASTA; contigs in the order of its .fai. block_index is the .gzi of a bgzip FASTA."""

    path: Path
    index: Path
    contigs: tuple[Contig, ...]
    block_index: Path | None = None

    @property
    def lengths(self) -> dict[str, int]:
        """The contigs' lengths by name."""
        return {contig.name: contig.length for contig in self.contigs}


@dataclass(frozen=True)
class IndexRow:
    """A row of a .fai: where the bases of a contig lie in the (uncompressed) FASTA, in bytes."""

    name: str
    length: int
    offset: int
    line_bases: int
    line_bytes: int

    @property
    def end(self) -> int:
        """Offset just behind the last base."""
        lines, rest = divmod(self.length, self.line_bases) if self.length else (0, 0)
        break_bytes = self.line_bytes - self.line_bases if lines and not rest else 0
        return self.offset + lines * self.line_bytes + rest - break_bytes


def other_spelling(name: str) -> str:
    """What assemblies of the other custom call a contig: 20 for chr20, chr20 for 20."""
    return name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"


REGION = re.compile(r"(.+):[\d,]+(-[\d,]*)?")
"""A region as samtools takes it, which no option takes as a contig."""

ALIKE = 0.75
"""Least likeness of a name that is suggested: chr21 is none for chr9."""


def suggest_contig(name: str, known: Collection[str]) -> str:
    """Advice for an unknown contig: the known one that was probably meant, else the first of those that there are."""
    by_lower = {contig.lower(): contig for contig in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower, 1, ALIKE)
    region = REGION.fullmatch(name)
    if region and region[1] in known:
        return f"{region[1]} is one; for a part of it give its start, 0-based, and end in a BED file (--bed_fn)"
    if other_spelling(name) in known:
        return f"did you mean {other_spelling(name)}?"
    return f"did you mean {by_lower[nearest[0]]}?" if nearest else f"it has {first_few(list(known))}"


NAMES_SHOWN = 10
"""Contigs that a message names one by one; an assembly may have thousands."""


def first_few(names: Sequence[str]) -> str:
    """Names for a message: the first of them when they are many."""
    return " ".join(names[:NAMES_SHOWN]) + (" ..." if len(names) > NAMES_SHOWN else "")


def find_index(path: Path, suffixes: Iterable[str]) -> Path | None:
    """The index of x.bam spelled x.bam.bai or x.bai, the first that exists (spec/cli.md 3.5, 3.6)."""
    spellings = (spelled for suffix in suffixes for spelled in (Path(f"{path}{suffix}"), path.with_suffix(suffix)))
    return next((spelled for spelled in spellings if spelled.is_file()), None)


def find_fai(fasta: Path) -> Path:
    """The .fai of a FASTA. Raises InputError when the FASTA or its index is not there (spec/cli.md 3.6)."""
    if not fasta.is_file():
        raise InputError(f"Reference file {fasta} not found")
    index = find_index(fasta, [".fai"])
    if index is None and is_gzip(fasta) and not is_bgzf(fasta):
        raise gzipped(fasta)
    if index is None:
        raise InputError(f"Reference index fai file not found, please use 'samtools faidx {fasta}' first")
    return index


def gzipped(fasta: Path) -> InputError:
    """The error of a FASTA that can be read from its start only."""
    plain = fasta.with_suffix("")
    return InputError(
        f"{fasta}: compressed with gzip, which has no way in but the start; make a plain file of it, "
        f'"gzip -dc {fasta} > {plain}" and "samtools faidx {plain}", or use bgzip'
    )


def read_reference(fasta: Path) -> Reference:
    """Read the index of a plain or bgzip FASTA and check that it fits.

    Raises InputError: no FASTA or index, a malformed row, an index of another or an earlier FASTA, a FASTA compressed
    by gzip instead of bgzip, a missing .gzi.
    """
    index = find_fai(fasta)
    rows = read_fai(index)
    block_index = None
    if is_bgzf(fasta):
        block_index = check_block_index(fasta, index, rows)
    elif is_gzip(fasta):
        raise gzipped(fasta)
    else:
        check_rows(fasta, index, rows)
    return Reference(fasta, index, tuple(Contig(row.name, row.length) for row in rows), block_index)


def find_contig(reference: Reference, name: str) -> Contig:
    """The contig that --ctgName names. Raises InputError when the reference has none of that name."""
    found = next((contig for contig in reference.contigs if contig.name == name), None)
    if found is None:
        raise InputError(f"{reference.path}: no contig {name} (--ctgName); it has {reference.contigs[0].name} ...")
    return found


def read_fai(index: Path) -> list[IndexRow]:
    """Rows of a .fai in file order. Raises InputError for an empty file, a malformed row or a repeated name."""
    rows: dict[str, IndexRow] = {}
    for number, text in read_rows(index):
        name, *numbers = text.split("\t")
        if len(numbers) < 4 or not all(map(is_number, numbers[:4])):
            raise InputError(f"{index}: row {number} is {text[:80]!r}, not five columns of a FASTA index; {AGAIN}")
        row = IndexRow(name, *map(int, numbers[:4]))
        if row.name in rows:
            raise InputError(
                f"{index}: row {number} has contig {name[:80]} again; rename or remove one of the two in the FASTA, "
                f"and {AGAIN}"
            )
        if row.length and not 0 < row.line_bases <= row.line_bytes:
            raise InputError(f"{index}: row {number}, {text[:80]!r}, has no line length; {AGAIN}")
        rows[name] = row
    if not rows:
        raise InputError(f"{index}: no contigs; {AGAIN}")
    return list(rows.values())


def check_rows(fasta: Path, index: Path, rows: list[IndexRow]) -> None:
    """Compare rows of the index with a plain FASTA: header line before, line end behind, nothing after the last."""
    size = fasta.stat().st_size
    last = max(rows, key=lambda row: row.offset)
    with open(fasta, "rb") as file:
        for row in [*rows[:: -(-len(rows) // CHECKED_RECORDS)], last]:
            if row.end > size or header_name(file, row.offset) != row.name or not ends_at(file, row.end):
                raise InputError(f"{index}: contig {row.name} is not where the index says; {AGAIN}")
        file.seek(last.end)
        if file.read(BGZF_BLOCK).strip():
            raise InputError(f"{index}: {fasta.name} goes on after the last contig of the index; {AGAIN}")


def header_name(file: BinaryIO, offset: int) -> str | None:
    """The contig named by the header line that ends at this offset; None when there is no such line."""
    start = max(0, offset - BGZF_BLOCK)
    file.seek(start)
    before = file.read(offset - start)
    header = before[before.rfind(b"\n", 0, -1) + 1 :].decode("utf-8", "backslashreplace")
    if not header.startswith(">") or not header.endswith("\n"):
        return None
    return (header[1:].split() or [""])[0]


def ends_at(file: BinaryIO, offset: int) -> bool:
    """Whether a contig may end here: before a line end, the end of the file, or, without bases, the next header."""
    file.seek(offset)
    return file.read(1).strip() in (b"", b">")


def check_block_index(fasta: Path, index: Path, rows: list[IndexRow]) -> Path:
    """The .gzi of a bgzip FASTA. Raises InputError when it is missing, damaged or too short for the contigs."""
    block_index = Path(f"{fasta}.gzi")
    if not block_index.is_file():
        raise InputError(f"{block_index} not found; a compressed FASTA needs it, {AGAIN}")
    data = block_index.read_bytes()
    entries = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else -1
    if len(data) != 8 + 16 * entries:
        raise InputError(f"{block_index}: damaged; {AGAIN}")
    compressed, plain = struct.unpack_from("<QQ", data, len(data) - 16) if entries else (0, 0)
    end = max(row.end for row in rows)
    if compressed >= fasta.stat().st_size or abs(end - plain) > BGZF_BLOCK:
        raise InputError(f"{index}: the index does not fit the blocks of {fasta.name}; {AGAIN}")
    return block_index


_RANKS = {name: rank for rank, name in enumerate(MAJOR_CONTIGS)}


def output_rank(name: str) -> int:
    """Sort key of a contig: chr1..chr22, chrX, chrY, 1..22, X, Y, then all others alike (spec/cli.md 4.1, 9)."""
    return _RANKS.get(name, len(_RANKS))


def in_output_order(contigs: Iterable[Contig]) -> list[Contig]:
    """Contigs by output_rank, the others as given, which is .fai order."""
    return sorted(contigs, key=lambda contig: output_rank(contig.name))
