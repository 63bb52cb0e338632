"""Read simulation in the C core: tables of an error process and a plan of reads in, BAM records out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clair3.core import _check, _copy, ffi, lib

CONTEXT, RUN, CHANGE = lib.C3_SIM_CONTEXT, lib.C3_SIM_RUN, lib.C3_SIM_CHANGE
TRACT, LENGTHS, STATES, LEVELS = lib.C3_SIM_TRACT, lib.C3_SIM_LENGTHS, lib.C3_SIM_STATES, lib.C3_SIM_LEVELS
SITES, FACTORS = lib.C3_SIM_SITES, lib.C3_SIM_FACTORS
RUN_GROUPS = (1, lib.C3_SIM_MIDDLE_RUN, lib.C3_SIM_LONG_RUN)
"""Shortest runs of the groups that have factors of their own."""

SEGMENT = np.dtype(
    [
        ("read", np.int64),
        ("seed", np.uint64),
        ("start", np.int64),
        *((name, np.int32) for name in ("length", "haplotype", "reverse", "head", "tail", "adapter")),
        *((name, np.float32) for name in ("errors", "level", "end_errors")),
        *((name, np.int32) for name in ("mapq", "tag", "phase_set", "emit")),
    ],
    align=True,
)
"""A row of a plan of reads: c3_sim_segment of csrc/simulate/read.h, where the fields are explained."""
assert SEGMENT.itemsize == ffi.sizeof("c3_sim_segment"), "SEGMENT is not c3_sim_segment"

TABLES = {
    "context": (np.float32, (4**CONTEXT, 3)),
    "run": (np.float32, (2, RUN + 1, 2 * CHANGE + 1)),
    "tract": (np.float32, (TRACT + 1, 2)),
    "substitution": (np.float32, (4, 4)),
    "insertion_length": (np.float32, (LENGTHS,)),
    "deletion_length": (np.float32, (LENGTHS,)),
    "quality": (np.uint8, (STATES, LEVELS)),
    "site": (np.float32, (SITES,)),
    "run_factor": (np.float32, (len(RUN_GROUPS), FACTORS)),
}
"""dtype and shape of the tables of an error process: c3_sim_profile of csrc/simulate/read.h."""

NUMBERS = (
    *("mismatch", "insertion", "deletion", "read_share", "smoothness", "rise", "decline", "dwell", "stride"),
)  # fmt: skip
"""Single numbers of an error process, in the same struct."""


class ErrorProcess:
    """An error process as the C struct of the core, of values with the names of TABLES and NUMBERS."""

    def __init__(self, values: dict):
        self.arrays = {}
        self.struct = ffi.new("c3_sim_profile *", {name: values[name] for name in NUMBERS})
        for name, (dtype, shape) in TABLES.items():
            array = np.ascontiguousarray(values[name], dtype)
            assert array.shape == shape, name
            self.arrays[name] = array
            setattr(self.struct, name, ffi.from_buffer("float *" if dtype is np.float32 else "uint8_t *", array))


@dataclass(frozen=True, eq=False)
class Haplotype:
    """One copy of a contig.

    bases         (n,)  uint8  0..3
    block_start   (k,)  int64  where blocks of the same bases as on the reference start, ascending from 0
    block_pos     (k,)  int64  the same place on the reference
    block_length  (k,)  int64  positive
    sites         (2, n) uint8  where forward and reverse reads err alike: 4 * class + base; None: nowhere
    run_class     (n,)  uint8  class of the run that starts there; None: 0 everywhere
    """

    bases: np.ndarray
    block_start: np.ndarray
    block_pos: np.ndarray
    block_length: np.ndarray
    sites: np.ndarray | None = None
    run_class: np.ndarray | None = None


def short_repeats(bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find short tandem repeats of bases, (n,) uint8.

    returns  two (n,) uint16, at their first and last bases: 256 * unit + length in bases
    """
    bases = np.ascontiguousarray(bases, np.uint8)
    first, last = np.empty(len(bases), np.uint16), np.empty(len(bases), np.uint16)
    views = ffi.from_buffer("uint16_t *", first), ffi.from_buffer("uint16_t *", last)
    lib.c3_sim_find_tracts(ffi.from_buffer("uint8_t *", bases), len(bases), *views)
    return first, last


@dataclass(frozen=True, eq=False)
class Records:
    """BAM records of a batch: the one at pos[i] (int64, 0-based) is pool[first[i] : first[i + 1]].

    bases is the number of bases of all reads.
    """

    pool: np.ndarray
    first: np.ndarray
    pos: np.ndarray
    bases: int


class ReadMaker:
    """Makes reads of a contig from its haplotypes; usable from many threads at once.

    reference  (n,) uint8  0..3, 4: N
    contig     its number among the header's and its name
    end_bonus  score of an end that is not clipped
    """

    def __init__(
        self, process: ErrorProcess, haplotypes: Sequence[Haplotype], reference: np.ndarray, contig: tuple[int, str],
        paired: bool, end_bonus: int, read_group: str,
    ):  # fmt: skip
        self.process, self.name = process, contig[1]
        self.kept = [np.ascontiguousarray(reference, np.uint8)]
        copies = ffi.new("c3_sim_haplotype[]", len(haplotypes))
        for copy, haplotype in zip(copies, haplotypes, strict=True):
            first, last = short_repeats(haplotype.bases)
            copy.n, copy.n_blocks = len(haplotype.bases), len(haplotype.block_start)
            copy.bases = self.keep("uint8_t *", haplotype.bases, np.uint8)
            copy.tract_first, copy.tract_last = self.keep("uint16_t *", first), self.keep("uint16_t *", last)
            none = np.zeros(len(haplotype.bases), np.uint8)
            sites = (none, none) if haplotype.sites is None else haplotype.sites
            copy.site_forward, copy.site_reverse = (self.keep("uint8_t *", row, np.uint8) for row in sites)
            runs = none if haplotype.run_class is None else haplotype.run_class
            copy.run_class = self.keep("uint8_t *", runs, np.uint8)
            for name in ("block_start", "block_pos", "block_length"):
                setattr(copy, name, self.keep("int64_t *", getattr(haplotype, name), np.int64))
        run = {
            "haplotypes": copies, "n_haplotypes": len(haplotypes), "n_reference": len(reference),
            "reference": ffi.from_buffer("uint8_t *", self.kept[0]), "contig": contig[0],
            "contig_name": self.keep_text(contig[1]), "read_group": self.keep_text(read_group), "paired": paired,
            "end_bonus": end_bonus,
        }  # fmt: skip
        self.kept.append(copies)
        self.run = ffi.new("c3_sim_run *", run)

    def keep(self, kind: str, array: np.ndarray, dtype=None):
        """Return a pointer to an array that lives as long as this object."""
        array = np.ascontiguousarray(array, dtype)
        self.kept.append(array)
        return ffi.from_buffer(kind, array)

    def keep_text(self, text: str):
        """Return a pointer to a text that lives as long as this object."""
        self.kept.append(ffi.new("char[]", text.encode()))
        return self.kept[-1]

    def records(self, segments: np.ndarray) -> Records:
        """Make the alignments of planned segments, (n,) SEGMENT. Raises CoreError (no memory, a read far too long)."""
        segments = np.ascontiguousarray(segments)
        assert segments.dtype == SEGMENT
        out = ffi.new("c3_sim_records **")
        rows = ffi.cast("c3_sim_segment *", ffi.from_buffer(segments))
        code = lib.c3_sim_make_records(self.process.struct, self.run, rows, len(segments), out)
        _check(code, f"reads of {self.name}")
        records = out[0]
        try:
            if not records.n:
                return Records(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.int64), 0)
            pool = _copy(records.bytes, records.n_bytes, np.uint8)
            first, pos = _copy(records.first, records.n + 1, np.int64), _copy(records.pos, records.n, np.int64)
            return Records(pool, first, pos, int(records.n_bases))
        finally:
            lib.c3_sim_records_free(records)
