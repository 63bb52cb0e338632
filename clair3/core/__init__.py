"""The Python side of the C core: NumPy in, NumPy out, codes become CoreError. It alone imports the extension."""

import os

import numpy as np
import pysam.libchtslib  # noqa: F401  an extension built against pysam's htslib finds it loaded

from clair3.errors import CoreError, install_command
from clair3.records import ReadTally, Region, SupportBatch, TensorBatch

try:
    from clair3.core._core import ffi, lib
except ImportError as error:
    raise CoreError(
        f"the C core is not built ({error}); run {install_command()} (it needs a C compiler: gcc or clang)"
    ) from None

FLANK = lib.C3_FLANK
WINDOW = lib.C3_WINDOW
CHANNEL_COUNT = lib.C3_CHANNELS

REASONS = {
    lib.C3_NO_MEMORY: "not enough memory",
    lib.C3_CANNOT_OPEN: "cannot be opened as BAM or CRAM",
    lib.C3_BAD_HEADER: "has no readable header",
    lib.C3_NO_INDEX: 'no usable index; run "samtools index" on it',
    lib.C3_TRUNCATED: "is truncated (no end-of-file mark); copy it again or restore it",
    lib.C3_BAD_RECORD: "holds an unreadable record (damaged file, index of another file, or a CRAM that does not fit "
    'the reference); "samtools view -c" reads it to the fault; restore it',
    lib.C3_NO_CONTIG: "the alignments or the reference have no such contig",
    lib.C3_NO_FASTA: "the reference or its .fai index cannot be read",
    lib.C3_NO_SEQUENCE: "the reference cannot be read here: it is damaged, or its index is out of date; "
    'restore it, then run "samtools faidx"',
    lib.C3_CANCELLED: "cancelled",
    lib.C3_TOO_LARGE: "too many insertions and deletions to hold",
    lib.C3_UNSORTED: 'is not sorted by coordinate; run "samtools sort"',
    lib.C3_TOO_LONG: f"sequences of more than {lib.C3_LOCAL_LONGEST} bases are not aligned; cut them",
    lib.C3_NO_PATH: "realigning its reads went wrong, which is a fault of this program; please report the region",
}


class RegionTooLargeError(CoreError):
    """A region has more insertions and deletions than can be held; read it in parts."""


class CancelledError(CoreError):
    """The run was cancelled; this is no error of the data."""


REFERENCE_CODES = (lib.C3_NO_FASTA, lib.C3_NO_SEQUENCE)
"""Codes of errors in the reference, not in the alignments."""


def _check(code: int, where: str) -> None:
    """Raise the CoreError of a code; where names the file and the place in it."""
    if code == lib.C3_OK:
        return
    if code == lib.C3_CANCELLED:
        raise CancelledError(f"{where}: cancelled")
    if code == lib.C3_TOO_LARGE:
        raise RegionTooLargeError(f"{where}: {REASONS[code]}")
    raise CoreError(f"{where}: {REASONS.get(code, f'unknown code {code}')}")


class CancelFlag:
    """A flag that long calls of the core poll; set it from any thread to end them soon."""

    def __init__(self):
        self.cell = ffi.new("int32_t *")

    def set(self) -> None:
        self.cell[0] = 1

    def is_set(self) -> bool:
        return bool(self.cell[0])


class Source:
    """Alignments and reference: one per thread, close it or use it in a with-block.

    index, fai and block_index are the indices of alignments, FASTA and bgzip FASTA; htslib looks for them if None.

    Raises CoreError when a file cannot be opened, has no index, or a BAM or CRAM lacks its end-of-file mark.
    """

    def __init__(self, alignments, reference, index=None, fai=None, block_index=None):
        self.name, self.reference = str(alignments), str(reference)
        paths = (alignments, index, reference, fai, block_index)
        names = [ffi.NULL if path is None else os.fsencode(path) for path in paths]
        handle = ffi.new("c3_source **")
        self.check(lib.c3_source_open(*names, handle))
        self.handle = handle[0]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def check(self, code: int, place: str = "") -> None:
        """Raise the CoreError of a code; it names the file that causes it and the place in it."""
        name = self.reference if code in REFERENCE_CODES else self.name
        _check(code, f"{name} {place}".rstrip())

    def close(self) -> None:
        if self.handle != ffi.NULL:
            lib.c3_source_close(self.handle)
            self.handle = ffi.NULL

    def opened(self):
        """Return the handle. Raises CoreError after close."""
        if self.handle == ffi.NULL:
            raise CoreError(f"{self.name}: already closed")
        return self.handle


def _copy(pointer, shape, dtype) -> np.ndarray:
    """Copy a buffer of the core into a new array of this shape and dtype."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(ffi.buffer(pointer, size), dtype).reshape(shape).copy() if size else np.zeros(shape, dtype)


def _support(support, depth: np.ndarray) -> SupportBatch:
    """Copy the core's read support; without candidates it has no arrays yet."""
    return SupportBatch(
        depth=depth,
        item_start=_copy(support.item_start, support.n + 1, np.int64) if support.n else np.zeros(1, np.int64),
        kind=_copy(support.kind, support.n_items, np.uint8),
        count=_copy(support.count, support.n_items, np.int32),
        seq_start=_copy(support.seq_start, support.n_items + 1, np.int64) if support.n_items else np.zeros(1, np.int64),
        pool=bytes(ffi.buffer(support.pool, support.n_pool)) if support.n_pool else b"",
    )


class Pileup:
    """The counted columns of a region and its candidates (spec/features.md B).

    reads    reads that passed the filters
    tally    ReadTally of all reads
    pos      (n,) int64   0-based positions of the candidates, ascending
    ref      (n,) uint8   their reference letters, upper case ASCII
    support  SupportBatch of n rows
    """

    def __init__(self, region: Region, handle):
        self.region, self.handle = region, handle
        self.reads = handle.reads
        self.tally = ReadTally(handle.starting, handle.entering, handle.leaving)
        self.pos = _copy(handle.pos, handle.n, np.int64)
        self.ref = _copy(handle.ref, handle.n, np.uint8)
        self.support = _support(handle.support, _copy(handle.depth, handle.n, np.int32))

    def __len__(self):
        return len(self.pos)

    def batch(self, start: int = 0, end: int | None = None) -> TensorBatch:
        """Return candidates start <= i < end (all by default) with their windows, (k, 33, 18) int32 (B.9)."""
        end = len(self) if end is None else min(end, len(self))
        assert 0 <= start <= end
        tensors = np.empty((end - start, WINDOW, CHANNEL_COUNT), np.int32)
        lib.c3_pileup_windows(self.handle, start, end, ffi.from_buffer("int32_t[]", tensors))
        support = self.support.rows(start, end)
        return TensorBatch(self.region.contig, self.pos[start:end], self.ref[start:end], tensors, support)

    def columns(self) -> np.ndarray:
        """Return the counters of each position of the region, (columns, 18) int32; zero where no read is (B.3, B.4)."""
        return _copy(self.handle.counts, (self.region.end - self.region.start, CHANNEL_COUNT), np.int32)

    def site_counts(self) -> np.ndarray:
        """Return the reads that show the reference, and all reads, at each position of the region (B.8).

        returns  (2, columns) int32
        """
        if self.handle.n_ref == ffi.NULL:
            raise CoreError(f"{self.region}: site counts were not asked for")
        columns = self.region.end - self.region.start
        return np.stack([_copy(counts, columns, np.int32) for counts in (self.handle.n_ref, self.handle.n_total)])


def pileup(
    source: Source,
    region: Region,
    rule,
    allowed: np.ndarray,
    gvcf: bool = False,
    cancel: CancelFlag | None = None,
    targets: np.ndarray | None = None,
    owned: tuple[int, int] = (0, 0),
) -> Pileup:
    """Count the pileup columns of a region and find its candidates.

    rule     clair3.config.CandidateOptions
    allowed  (k, 2) int64  sorted, disjoint [start, end): where candidates may be; the region must reach 35 further
    gvcf     whether to count the reads for a gVCF, too
    targets  (m, 2) int64  sorted, disjoint [start, end) of a BED, which short reads need too; None without one
    owned    [start, end) of the positions for which Pileup.tally counts reads

    Raises CoreError for unreadable data and CancelledError when the flag was set.
    """
    places = ffi.new("c3_places *")
    keep_alive = [None if rows is None else np.ascontiguousarray(rows, np.int64) for rows in (allowed, targets)]
    places.allowed, places.n = ffi.from_buffer("int64_t[]", keep_alive[0]), len(allowed)
    places.owned_start, places.owned_end = owned
    if targets is not None:
        places.targets, places.n_targets = ffi.from_buffer("int64_t[]", keep_alive[1]), len(targets)
    fields = ("min_mapq", "min_coverage", "max_indel_length", "snp_min_af", "indel_min_af")
    fields += ("snp_only", "head_and_tail", "known_sites")
    run = lib.c3_short_read_pileup if rule.short_read_rules else lib.c3_long_read_pileup
    out = ffi.new("c3_pileup **")
    code = run(
        source.opened(),
        region.contig.encode(),
        region.start,
        region.end,
        ffi.new("c3_pileup_rule *", {name: getattr(rule, name) for name in fields}),
        places,
        gvcf,
        ffi.NULL if cancel is None else cancel.cell,
        out,
    )
    source.check(code, str(region))
    return Pileup(region, ffi.gc(out[0], lib.c3_pileup_free))


class FullAlignment:
    """The reads around candidates (spec/features.md C).

    pos         (n,) int64      0-based positions of the candidates
    ref         (n,) uint8      their reference letters, upper case ASCII
    support     SupportBatch of n rows
    haplotypes  (reads,) uint8  0, 1 or 2 of each read that was kept, in file order

    shared_names  reads with the name of an earlier one; of realigned reads, whose names are new, 0
    """

    def __init__(self, contig: str, rule, handle):
        self.contig, self.handle = contig, handle
        self.pos = _copy(handle.pos, handle.n, np.int64)
        self.shape = (rule.rows, WINDOW, 9 if rule.dwell else 8)
        self.ref = _copy(handle.ref, handle.n, np.uint8)
        self.support = _support(handle.support, _copy(handle.depth, handle.n, np.int32))
        self.shared_names = handle.shared_names
        self.haplotypes = _copy(handle.haplotype, handle.reads, np.uint8)

    def __len__(self):
        return len(self.pos)

    def batch(self, start: int = 0, end: int | None = None, drawn: np.ndarray | None = None) -> TensorBatch:
        """Return candidates start <= i < end (all by default) with their tensors, (k, rows, 33, 8 or 9) int8.

        drawn  (d, rows) int32  short reads only: reads to show for each candidate that has more reads than rows
        """
        end = len(self) if end is None else min(end, len(self))
        assert 0 <= start <= end
        tensors = np.empty((end - start, *self.shape), np.int8)
        numbers = ffi.NULL if drawn is None else ffi.from_buffer("int32_t[]", drawn)
        lib.c3_full_tensors(self.handle, start, end, numbers, ffi.from_buffer("int8_t[]", tensors))
        support = self.support.rows(start, end)
        return TensorBatch(self.contig, self.pos[start:end], self.ref[start:end], tensors, support)


def full_alignment(
    source: Source, contig: str, candidates: np.ndarray, rule, snps=None, cancel: CancelFlag | None = None
) -> FullAlignment:
    """Read the alignments around the candidates of one candidate file.

    candidates  (n,) int64, 0-based, ascending, distinct; at most 10,000 in v2.0.2's files (A.10)
    rule        clair3.config.ReadFeatureOptions
    snps        clair3.records.PhasedSnps of the contig, sorted by position; None: reads stay untagged

    Raises CoreError for unreadable data and CancelledError when the flag was set.
    """
    candidates = np.ascontiguousarray(candidates, np.int64)
    c_snps, keep_alive = ffi.NULL, []
    if snps is not None:
        columns = (("pos", np.int64), ("alt", np.uint8), ("haplotype", np.int8), ("phase_set", np.int64))
        keep_alive = [np.ascontiguousarray(getattr(snps, name), dtype) for name, dtype in columns]
        types = ("int64_t[]", "uint8_t[]", "int8_t[]", "int64_t[]")
        buffers = [ffi.from_buffer(kind, values) for kind, values in zip(types, keep_alive, strict=True)]
        c_snps = ffi.new("c3_phased_snps *", [len(keep_alive[0]), *buffers])
    out = ffi.new("c3_full **")
    code = lib.c3_full_run(
        source.opened(),
        contig.encode(),
        ffi.from_buffer("int64_t[]", candidates),
        len(candidates),
        _full_rule(rule),
        c_snps,
        ffi.NULL if cancel is None else cancel.cell,
        out,
    )
    where = f"{contig}:{candidates[0] + 1}-{candidates[-1] + 1}" if len(candidates) else contig
    source.check(code, where)
    return FullAlignment(contig, rule, ffi.gc(out[0], lib.c3_full_free))


def _full_rule(rule):
    """Return the C struct of a clair3.config.ReadFeatureOptions."""
    fields = ("min_mapq", "max_indel_length", "rows", "dwell", "haplotype_tags", "min_coverage")
    return ffi.new("c3_full_rule *", {name: getattr(rule, name) for name in fields})


def allele_order(keys: list[str] | list[int]) -> list[str] | list[int]:
    """Return the distinct insertions, or deletion lengths, among keys as ordered in v2.0.2's lists (B.7)."""
    if any(isinstance(key, str) for key in keys):
        pool, lengths = "".join(keys).encode(), [len(key) for key in keys]
    else:
        pool, lengths = ffi.NULL, keys
    order, distinct = ffi.new("int32_t[]", len(keys) + 1), ffi.new("int32_t *")
    if lib.c3_allele_order(pool, ffi.new("int32_t[]", lengths), len(keys), order, distinct) != lib.C3_OK:
        raise CoreError("allele_order: not enough memory")
    return [keys[i] for i in order[0 : distinct[0]]]


def htslib_path() -> str:
    """Return the path of the htslib in use: the system's, or the one in the pysam wheel; "" when unknown."""
    return ffi.string(lib.c3_htslib_path()).decode()


def first_shuffle(n: int) -> list[int]:
    """Return the permutation of range(n) that a fresh generator draws (C.6)."""
    items = ffi.new("int32_t[]", max(n, 1))
    lib.c3_first_shuffle(items, n)
    return list(items)[:n]
