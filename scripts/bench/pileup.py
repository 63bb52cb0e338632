"""Time each step of pileup calling on one region, one thread: reads, counting, windows, network, decoding, writing.

    python scripts/bench/pileup.py --bam_fn B --ref_fn R --model_path M --region chr20:1-300000 --repeat 3

Prints CPU seconds per Mb and candidates/s of each step (median, and smallest to largest), and the share of Python.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from clair3 import core
from clair3.util.process import limit_library_threads

limit_library_threads()


import numpy as np  # noqa: E402
import torch  # noqa: E402

from clair3.calling.record_sources import filter_record  # noqa: E402
from clair3.calling.tasks import Ledger  # noqa: E402
from clair3.config import (  # noqa: E402
    CandidateOptions,
    DecodeOptions,
    OutputFilter,
)
from clair3.features.chunks import Chunk  # noqa: E402
from clair3.genotype.decode import decode  # noqa: E402
from clair3.inference.checkpoint import find_checkpoint, load_model  # noqa: E402
from clair3.inference.predictor import Predictor, rescale_deep  # noqa: E402
from clair3.io import vcf  # noqa: E402
from clair3.records import Region  # noqa: E402

NOTHING = np.empty((0, 2), np.int64)
MAPQ_NOBODY_HAS = 256


def parse_region(text: str) -> Region:
    contig, _, span = text.rpartition(":")
    start, _, end = span.partition("-")
    return Region(contig, int(start) - 1, int(end))


class Steps:
    """The steps of one region; each method does one of them with what the earlier ones left."""

    def __init__(self, args):
        self.region = parse_region(args.region)
        self.source = core.Source(args.bam_fn, args.ref_fn)
        self.predict = Predictor(load_model(find_checkpoint(Path(args.model_path), "pileup", "pileup"), "pileup"))
        self.rule = CandidateOptions()
        self.everywhere = np.array([[self.region.start, self.region.end]])
        self.folder = tempfile.TemporaryDirectory()

    def read(self):
        """Decode the alignments; no read passes the filter, so nothing is counted."""
        core.pileup(self.source, self.region, CandidateOptions(min_mapq=MAPQ_NOBODY_HAS), NOTHING)

    def count(self):
        """The same with counting, but no candidate is allowed."""
        core.pileup(self.source, self.region, self.rule, NOTHING)

    def find(self):
        """The same with candidates and their support."""
        self.pileup = core.pileup(self.source, self.region, self.rule, self.everywhere)

    def cut(self):
        self.batch = self.pileup.batch()

    def rescale(self):
        self.tensors = rescale_deep(self.batch.tensors, self.batch.support.depth)

    def network(self):
        self.probabilities = self.predict(self.tensors)

    def decode(self):
        batch = self.batch
        self.calls = decode(self.probabilities, batch.ref, batch.pos, batch.support, DecodeOptions())

    def write(self):
        chunk = Chunk(self.region.contig, 0, self.region.start, self.region.end)
        records = [vcf.make_record(self.region.contig, call, vcf.PILEUP_INFO) for call in self.calls]
        ledger = Ledger(Path(self.folder.name), "pileup", "")
        ledger.write(chunk, records)
        kept = [filter_record(record, OutputFilter()) for record in ledger.read(chunk)]
        assert any(kept)


def cpu_seconds(step: Callable[[], None], repeat: int) -> list[float]:
    step()  # warm
    times = []
    for _ in range(repeat):
        began = time.thread_time()
        step()
        times.append(time.thread_time() - began)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--bam_fn", "--ref_fn", "--model_path", "--region"):
        parser.add_argument(name, required=True)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps = Steps(args)
    names = ("read", "count", "find", "cut", "rescale", "network", "decode", "write")
    times = {name: cpu_seconds(getattr(steps, name), args.repeat) for name in names}
    # the first three contain each other
    median = {name: statistics.median(values) for name, values in times.items()}
    own = dict(median, count=median["count"] - median["read"], find=median["find"] - median["count"])
    megabases, n = (steps.region.end - steps.region.start) / 1e6, len(steps.batch)
    print(f"{steps.region}: {n} candidates")
    print(f"{'step':8} {'s/Mb':>8} {'min':>8} {'max':>8} {'candidates/s':>13}")
    for name in names:
        low, high = (edge(times[name]) / megabases for edge in (min, max))
        print(f"{name:8} {own[name] / megabases:8.4f} {low:8.4f} {high:8.4f} {n / max(own[name], 1e-9):13.0f}")
    total = sum(own.values())
    print(f"total    {total / megabases:8.4f}; features {(median['find'] + own['cut']) / megabases:.4f} s/Mb")
    python = own["rescale"] + own["decode"] + own["write"]
    print(f"decoding and everything else in Python: {100 * python / total:.1f} % of the run without start-up")
    print("min and max of count and find contain the steps before them")


if __name__ == "__main__":
    main()
