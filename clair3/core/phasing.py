"""Phasing in the C core: alleles of reads at SNPs to be phased, and haplotypes of reads from phased SNPs."""

from dataclasses import dataclass

import numpy as np

from clair3.core import CancelFlag, Source, _copy, ffi, lib


@dataclass(frozen=True, eq=False)
class PhaseAlleles:
    """Alleles of the n reads that show a SNP, in file order.

    names   n names, decoded as Latin-1, which keeps their order
    mapq    (n,) uint8
    pos     (n,) int64      0-based start
    first   (n + 1,) int64  alleles of read r are first[r] .. first[r + 1] of the next two
    snp     (k,) int32      index of the SNP, ascending in a read
    allele  (k,) uint8      0: REF, 1: ALT
    """

    names: list[str]
    mapq: np.ndarray
    pos: np.ndarray
    first: np.ndarray
    snp: np.ndarray
    allele: np.ndarray


def phase_alleles(source: Source, contig: str, pos: np.ndarray, alt: np.ndarray) -> PhaseAlleles:
    """Read the alleles at SNPs of a contig: each read is aligned to both alleles with 10 bases on both sides.

    pos  (n,) int64  0-based, ascending, distinct
    alt  (n,) uint8  upper-case letters

    Left out are reads that are unmapped, secondary, supplementary or duplicates, have a MAPQ below 20 or no bases.
    Raises CoreError for unreadable data.
    """
    pos, alt = np.ascontiguousarray(pos, np.int64), np.ascontiguousarray(alt, np.uint8)
    out = ffi.new("c3_phase_alleles **")
    buffers = ffi.from_buffer("int64_t[]", pos), ffi.from_buffer("uint8_t[]", alt)
    code = lib.c3_phase_alleles_read(source.opened(), contig.encode(), *buffers, len(pos), 0, ffi.NULL, out)
    source.check(code, contig)
    alleles = ffi.gc(out[0], lib.c3_phase_alleles_free)
    n, edges = alleles.reads, alleles.reads + 1 if alleles.reads else 0
    pool = bytes(ffi.buffer(alleles.names, alleles.n_names)).decode("latin-1") if alleles.n_names else ""
    name_start = _copy(alleles.name_start, edges, np.int64).tolist()
    return PhaseAlleles(
        names=[pool[name_start[r] : name_start[r + 1]] for r in range(n)],
        mapq=_copy(alleles.mapq, n, np.uint8),
        pos=_copy(alleles.pos, n, np.int64),
        first=_copy(alleles.first, edges, np.int64) if n else np.zeros(1, np.int64),
        snp=_copy(alleles.snp, alleles.n, np.int32),
        allele=_copy(alleles.allele, alleles.n, np.uint8),
    )


class Haplotypes:
    """Haplotypes of the reads of a contig, by read name; threads may share it.

    handle is what functions of the core take.
    """

    def __init__(self, handle):
        self.handle = handle

    def get(self, name: str) -> int:
        """Return the haplotype of a read, 1 or 2; 0 for a read that no SNP assigns."""
        return lib.c3_haplotypes_get(self.handle, name.encode("latin-1"))


def haplotypes(source: Source, contig: str, snps, cancel: CancelFlag | None = None) -> Haplotypes:
    """Assign the reads of a contig to haplotypes by its phased SNPs, as `whatshap haplotag` does (spec/calling.md 7.2).

    Mates are one read, and of several phase sets the one in which most alleles agree decides.

    snps  clair3.records.PhasedSnps, heterozygous, at distinct positions, ascending

    The reads that phase_alleles leaves out have no haplotype, except duplicates, which have one.
    Raises CoreError for unreadable data and CancelledError when the flag was set.
    """
    columns = (("pos", np.int64), ("alt", np.uint8), ("haplotype", np.int8), ("phase_set", np.int64))
    kept = [np.ascontiguousarray(getattr(snps, name), dtype) for name, dtype in columns]
    types = ("int64_t[]", "uint8_t[]", "int8_t[]", "int64_t[]")
    buffers = [ffi.from_buffer(kind, values) for kind, values in zip(types, kept, strict=True)]
    out = ffi.new("c3_haplotypes **")
    code = lib.c3_haplotypes_read(
        source.opened(),
        contig.encode(),
        ffi.new("c3_phased_snps *", [len(kept[0]), *buffers]),
        ffi.NULL if cancel is None else cancel.cell,
        out,
    )
    source.check(code, contig)
    return Haplotypes(ffi.gc(out[0], lib.c3_haplotypes_free))
