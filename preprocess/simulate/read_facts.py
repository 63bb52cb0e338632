"""What an error profile is told of whole reads: lengths, clipped ends, qualities, dwell times."""

from dataclasses import dataclass, field

import numpy as np
import pysam

LONG_CLIP, NEAR_END, LONGEST_CLIP = 20, 100, 2000


@dataclass
class ReadFacts:
    """What is known of whole reads: lists with an entry for each."""

    lengths: list[int] = field(default_factory=list)
    inserts: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    ends: int = 0
    chimeras: int = 0
    dwell: list[float] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    qualities: list[np.ndarray] = field(default_factory=list)

    def add(self, read: pysam.AlignedSegment, contig_length: int) -> None:
        self.lengths.append(read.infer_read_length())
        if read.is_proper_pair and read.template_length > 0:
            self.inserts.append(read.template_length)
        if read.has_tag("SA"):
            self.chimeras += 1
        else:
            self.add_clips(read, contig_length)
        if len(self.qualities) < 2000:
            quality = np.frombuffer(read.query_alignment_qualities, np.uint8)
            self.qualities.append((quality[::-1] if read.is_reverse else quality)[:20_000])
        if read.has_tag("mv") and len(self.dwell) < 2000:
            moves = np.array(read.get_tag("mv"), np.int64)
            self.strides.append(int(moves[0]))
            self.dwell.append((len(moves) - 1) / max(1, int(moves[1:].sum())))

    def add_clips(self, read: pysam.AlignedSegment, contig_length: int) -> None:
        """Clipped ends that are not simply beyond the contig."""
        inner = (
            (read.cigartuples[0], read.reference_start),
            (read.cigartuples[-1], contig_length - read.reference_end),
        )
        for (kind, size), room in inner:
            if room > NEAR_END:
                self.ends += 1
                if kind == 4 and size >= LONG_CLIP:
                    self.clips.append(min(size, LONGEST_CLIP))
