"""The variants of a VCF as changes of the reference, one or two per record: what an evaluation compares."""

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from clair3.errors import InputError
from clair3.io.text import is_number
from clair3.io.vcf import COLUMNS, VcfRecord, header_contigs, iter_numbered_records, read_header, read_samples
from clair3.training.data.truth import parse_allele_numbers

BASES = set("ACGTN")


class Change(NamedTuple):
    """Reference bases [start, end), 0-based, that become bases; start = end is an insertion before start."""

    start: int
    end: int
    bases: str

    @property
    def length(self) -> int:
        """Bases that the haplotype is longer."""
        return len(self.bases) - (self.end - self.start)


@dataclass(frozen=True, eq=False)
class Variant:
    """A record of a VCF, and what its genotype says of the two haplotypes: a change, or None for the reference.

    pos is 0-based; quality is None where QUAL is missing, depth where FORMAT has no DP.
    """

    pos: int
    ref: str
    alts: str
    genotype: str
    haplotypes: tuple[Change | None, Change | None]
    quality: float | None = None
    depth: int | None = None

    @cached_property
    def changes(self) -> list[Change]:
        """The different changes, sorted."""
        return sorted({change for change in self.haplotypes if change})

    @property
    def start(self) -> int:
        return min(change.start for change in self.changes)

    @property
    def end(self) -> int:
        return max(change.end for change in self.changes)

    @property
    def length(self) -> int:
        """Length of the longest insertion, or below 0 deletion; 0 for a substitution."""
        return max((change.length for change in self.changes), key=abs)

    @property
    def is_indel(self) -> bool:
        return any(change.length for change in self.changes)


def trim_allele(pos: int, ref: str, alt: str) -> Change | None:
    """Trim an ALT to its change: without the bases that it shares with REF; None when they are the same.

    The shared start goes first: the base before an indel is not part of it, so another record may change it.
    """
    prefix = count_shared(ref, alt)
    ref, alt = ref[prefix:], alt[prefix:]
    suffix = count_shared(ref[::-1], alt[::-1])
    change = Change(pos + prefix, pos + prefix + len(ref) - suffix, alt[: len(alt) - suffix])
    return change if ref or alt else None


def count_shared(one: str, other: str) -> int:
    """Count the letters that two texts have in common from the start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def parse_genotype(text: str) -> tuple[int, int] | None:
    """Parse a genotype as parse_allele_numbers does; None when no alternative allele is named."""
    numbers = parse_allele_numbers(text)
    return numbers if any(numbers) else None


class VcfVariants:
    """The variants of one sample of a VCF, plain or compressed.

    sample        name of the sample; None: the first one
    all_records   also records whose FILTER is neither PASS nor missing
    skipped       counts of wanted records that were left out, by reason, once they were read
    declared      contigs of the header; seen, others: those with records, wanted or not, once they were read
    Raises InputError when the file is missing, damaged, or has no such sample or no sample at all.
    """

    def __init__(self, path: Path, sample: str | None = None, all_records: bool = False):
        self.path, self.all_records = path, all_records
        self.skipped, self.seen, self.others = Counter(), set(), set()
        self.sample = self.find_sample(sample)
        self.declared = header_contigs(read_header(path)).keys()

    def find_sample(self, name: str | None) -> int:
        """Find the number of a sample, from 0; None: the first one. Raises InputError."""
        names = read_samples(self.path)
        if not names:
            raise InputError(f"{self.path}: no sample column; an evaluation needs genotypes")
        if name not in (None, *names):
            raise InputError(f"{self.path}: no sample {name}; it has {', '.join(names[:5])}")
        return names.index(name) if name else 0

    def iter(self, contigs: Container[str]) -> Iterator[tuple[str, Variant]]:
        """Yield contig and variant of each record on these contigs with a genotype other than the reference's, in file
        order.

        Raises InputError naming a row that is none, or one without a genotype.
        """
        for number, record in iter_numbered_records(self.path, columns=COLUMNS + self.sample):
            if record.contig not in contigs:
                self.others.add(record.contig)
                continue
            self.seen.add(record.contig)
            if record.filter not in ("PASS", ".") and not self.all_records:
                self.skipped["FILTER is not PASS"] += 1
                continue
            try:
                variant = self.variant(record)
            except (ValueError, IndexError):
                place = f"{record.contig}:{record.pos_text}"
                raise InputError(f"{self.path}: row {number} ({place}) has no genotype or QUAL to read") from None
            if variant is not None:
                yield record.contig, variant

    def variant(self, record: VcfRecord) -> Variant | None:
        """Make the variant of a record; None when it is left out. Raises ValueError or IndexError."""
        values = record.sample_values(self.sample)
        if "GT" not in values:
            raise ValueError("no GT")
        genotype = parse_genotype(values["GT"])
        if genotype is None:
            self.skipped["reference or missing genotype"] += 1
            return None
        pos, ref = record.pos, record.ref.upper()
        alleles = [ref, *record.alt_text.upper().split(",")]
        used = [alleles[number] for number in genotype]
        used = [ref if allele in ("*", "<*>", "<NON_REF>") else allele for allele in used]
        if not all(set(allele) <= BASES for allele in used):
            self.skipped["not a sequence of bases"] += 1
            return None
        first, second = (trim_allele(pos, ref, allele) for allele in used)
        if first is None and second is None:
            self.skipped["reference or missing genotype"] += 1
            return None
        quality = None if record.qual_text == "." else record.qual
        depth = int(values["DP"]) if is_number(values.get("DP", "")) else None
        return Variant(pos, ref, record.alt_text, values["GT"], (first, second), quality, depth)
