"""Indexes that lie: what does not fit the reads is refused, and what is taken changes nothing."""

import random

import numpy as np
import pysam
import pytest

from clair3.calling.index_checks import check_index, check_read_counts
from clair3.calling.stages import Sources
from clair3.calling.tasks import Ledger
from clair3.config import CandidateOptions
from clair3.errors import ClairError, InputError
from clair3.features.chunks import plan_chunks
from clair3.features.pileup import iter_pileup
from clair3.io.inputs import check_inputs
from tests.helpers.tiny_genome import write_fasta, write_reads

LENGTHS = {"chr1": 40_000, "chr2": 300, "chr3": 300}
PLACES = [*(("chr1", 13 * number) for number in range(3000)), *(("chr2", 5 * number) for number in range(50))]


@pytest.fixture
def genome(tmp_path):
    fasta = write_fasta(tmp_path / "x.fa", LENGTHS)
    return write_reads(tmp_path / "x.bam", PLACES, LENGTHS), fasta


def count_columns(bam, fasta, folder) -> list[bytes]:
    """What the pileup counts in chunks, with the checks of a run. Raises ClairError as a run does."""
    inputs = check_inputs(bam, fasta, include_all=True)
    chunks = plan_chunks(inputs.contigs, None, 7000)
    promised = check_index(inputs, chunks, 1)
    ledger, sources, options = Ledger(folder, "pileup", ""), Sources(inputs), CandidateOptions(snp_min_af=0)
    counted = []
    for chunk in chunks:
        batches = iter_pileup(
            sources.mine(), chunk, options, keep_tally=lambda tally, c=chunk: ledger.keep_tally(c, tally)
        )
        counted += [batch.tensors.tobytes() for batch in batches]
    sources.close()
    check_read_counts(inputs, chunks, ledger, promised)
    return counted


def test_flipped_bits_are_refused_or_harmless(genome, tmp_path):
    index = tmp_path / "x.bam.bai"
    good, expected = index.read_bytes(), count_columns(*genome, tmp_path)
    assert any(np.frombuffer(part, np.int32).any() for part in expected)
    refused = 0
    for bit in random.Random(5).sample(range(8 * len(good)), 50):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        index.write_bytes(bad)
        try:
            assert count_columns(*genome, tmp_path) == expected, f"bit {bit}"
        except ClairError:
            refused += 1
    assert refused > 12


@pytest.mark.parametrize("kind", ["bai", "csi", "crai"])
def test_an_index_of_an_earlier_file_is_refused(tmp_path, kind):
    fasta = write_fasta(tmp_path / "x.fa", LENGTHS)
    bam = tmp_path / ("x.cram" if kind == "crai" else "x.bam")
    write_reads(bam, PLACES[500:], LENGTHS, fasta, index=False)
    pysam.index(*(["-c"] if kind == "csi" else []), str(bam))
    assert count_columns(bam, fasta, tmp_path)
    write_reads(bam, PLACES, LENGTHS, fasta, index=False)
    with pytest.raises(InputError, match=f"x.*{kind}"):
        count_columns(bam, fasta, tmp_path)
