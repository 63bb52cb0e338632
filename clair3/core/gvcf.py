"""Block lines of a gVCF from the C core: NumPy in, text out (spec/calling.md 6.3)."""

import numpy as np

from clair3.core import ffi, lib

SITE = np.dtype([("pl", np.int32, 3), ("gq", np.uint8), ("binned_gq", np.uint8), ("reference", np.bool_)], align=True)
"""Values of a site by its read counts (6.2); reference: GT is 0/0, otherwise ./."""

assert SITE.itemsize == ffi.sizeof("c3_gvcf_site")

SITES_PER_CALL = 65_536
"""Sites per call of the core: keeps the buffer of lines below some 15 MB, most of which is never touched."""


class BlockLines:
    """Makes the block lines of one contig from sites in order; a block can go on from one call to the next."""

    def __init__(self, contig: str, bp_resolution: bool):
        self.contig, self.bp_resolution = contig.encode(), bp_resolution
        self.block = ffi.new("c3_gvcf_block *")
        self.line_bytes = lib.C3_GVCF_LINE + len(self.contig)

    def add(self, start: int, letters: bytes, depth: np.ndarray, row: np.ndarray, sites: np.ndarray) -> bytes:
        """Add n sites and return the lines of the blocks that ended, each with its line end.

        start    0-based position of the first site
        letters  n reference letters, either case
        depth    (n,) int32  reads counted (n_total)
        row      (n,) int32  sites[row[i]] has the values of site i
        sites    (m,) SITE
        """
        depth, row = np.ascontiguousarray(depth, np.int32), np.ascontiguousarray(row, np.int32)
        out = np.empty(min(len(depth), SITES_PER_CALL) * self.line_bytes, np.uint8)
        parts = []
        for at in range(0, len(depth), SITES_PER_CALL):
            part = slice(at, at + SITES_PER_CALL)
            written = lib.c3_gvcf_add(
                self.block,
                self.contig,
                self.bp_resolution,
                start + at,
                len(depth[part]),
                ffi.from_buffer(letters) + at,
                ffi.from_buffer("int32_t[]", depth[part]),
                ffi.from_buffer("int32_t[]", row[part]),
                ffi.from_buffer("c3_gvcf_site[]", sites),
                ffi.from_buffer("char[]", out),
            )
            parts.append(out[:written].tobytes())
        return b"".join(parts)

    def end(self) -> int | None:
        """Return the 0-based position behind the open block; None when there is none."""
        return self.block.last + 1 if self.block.open else None

    def close(self, end: int | None = None) -> bytes:
        """End the open block and return its line, with another END if one is given; b"" when there is none."""
        out = ffi.new("char[]", self.line_bytes)
        written = lib.c3_gvcf_close(self.block, self.contig, self.block.last + 1 if end is None else end, out)
        return bytes(ffi.buffer(out, written))
