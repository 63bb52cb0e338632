"""An evaluation as a function: clair3.evaluate and its result."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clair3.api.networks import FilePath
from clair3.api.process_state import os_errors
from clair3.errors import InputError
from clair3.evaluation import report
from clair3.evaluation.classify import compare
from clair3.evaluation.counting import Score, Tally
from clair3.evaluation.variants import VcfVariants
from clair3.io.fasta import read_reference
from clair3.io.vcf import read_header


@dataclass(frozen=True)
class TypeScore:
    """How good the calls of one type of variant are.

    tp, fn           true variants that were called, and missed
    tp_calls, fp     calls that are right, and false; tp_calls may differ from tp where variants are spelled otherwise
    genotype_errors  missed variants whose alleles were called with another genotype
    precision, recall, f1  None where there is nothing to divide by
    """

    tp: int
    fp: int
    fn: int
    tp_calls: int
    genotype_errors: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Evaluation:
    """Calls against a truth: scores by type, and everything that `clair3 evaluate --json` writes, as figures."""

    snp: TypeScore
    indel: TypeScore
    all: TypeScore
    figures: dict[str, Any] = field(repr=False)


def evaluate(
    calls: FilePath,
    truth: FilePath,
    regions: FilePath | None = None,
    ref: FilePath | None = None,
    *,
    sample: str | None = None,
    truth_sample: str | None = None,
    all_records: bool = False,
    ignore_genotypes: bool = False,
) -> Evaluation:
    """Compare calls with the truth, as `clair3 evaluate` does (docs/evaluate.md).

    calls, truth          VCF, plain or compressed; sample, truth_sample: None for the first one
    regions               BED of where the truth is known; None: everywhere
    ref                   FASTA with its .fai; None: the one that the header of the calls names
    all_records           also those whose FILTER is not PASS
    ignore_genotypes      alleles count, not genotypes

    Raises InputError when a file cannot be used.
    """
    with os_errors(), tempfile.TemporaryDirectory() as folder:
        sides = [
            VcfVariants(Path(calls), sample, all_records),
            VcfVariants(Path(truth), truth_sample, all_records),
        ]
        fasta = named_reference(Path(calls)) if ref is None else Path(ref)
        bed = write_whole_contigs(fasta, Path(folder) / "everywhere.bed") if regions is None else Path(regions)
        tally, cut = Tally(), []
        for contig, classified, clusters in compare(*sides, bed, fasta, 1 if ignore_genotypes else 2):
            tally.add(classified)
            cut += [(contig, start, end) for start, end in clusters]
    inputs = {"calls": str(calls), "truth": str(truth), "bed": regions and str(regions), "ref": str(fasta)}
    inputs |= {"all_records": all_records, "ignore_genotypes": ignore_genotypes}
    skipped = {name: dict(side.skipped) for name, side in zip(("calls", "truth"), sides, strict=True)}
    scores = {kind.lower(): tally.score("type", kind) for kind in report.KINDS}
    types = {kind: type_score(score) for kind, score in scores.items()}
    everything = type_score(scores["snp"] + scores["indel"])
    return Evaluation(**types, all=everything, figures=report.make_json(report.Result(inputs, tally, skipped, cut)))


def type_score(score: Score) -> TypeScore:
    """The same numbers under the names of this API."""
    counts = {"tp": score.tp_truth, "fp": score.fp, "fn": score.fn, "tp_calls": score.tp_calls}
    shares = {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    return TypeScore(**counts, genotype_errors=score.genotype_errors, **shares)


def named_reference(vcf: Path) -> Path:
    """The FASTA of the header line `##reference=`. Raises InputError when there is none, or no such file."""
    lines = read_header(vcf)
    named = [line.partition("=")[2].removeprefix("file://") for line in lines if line.startswith("##reference=")]
    if not named or not Path(named[0]).is_file():
        raise InputError(f"{vcf}: its header names no reference that is here; give ref=FASTA")
    return Path(named[0])


def write_whole_contigs(fasta: Path, bed: Path) -> Path:
    """Write a BED of all contigs of an indexed FASTA. Raises InputError as read_reference does."""
    contigs = read_reference(fasta).contigs
    bed.write_text("".join(f"{contig.name}\t0\t{contig.length}\n" for contig in contigs))
    return bed
