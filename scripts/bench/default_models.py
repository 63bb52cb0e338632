"""How good a model is on simulated reads of the windows that no training saw, over several draws.

    python scripts/bench/default_models.py ont ../shared/data/real/ref_chr20_0-10M.fa.gz FOLDER --draws 4

The genomes and reads of a draw follow from its number alone, so that models are compared on the same reads; what is in
FOLDER already is not simulated again. One row a case and draw, then their sum: true variants, found, false calls, F1;
the sums also as PLATFORM_CASE.json, which `clair3 assemble_model --evaluation` takes.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pysam

if __package__ in (None, ""):  # started as `python scripts/bench/default_models.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from clair3.evaluation.counting import Score

CLAIR3 = (sys.executable, "-m", "clair3")
ROOT = Path(__file__).resolve().parent.parent.parent

WINDOWS = (("chr20", 60_000, 185_000), ("chr20", 4_960_000, 5_110_000), ("chr20", 8_960_000, 9_130_000))
"""Kept for evaluation: the recipes' chr20 has N there. 0-based, half-open."""

EDGE = 15_000
"""Bases at both ends of a window that do not count: no read begins before a contig, so there are few."""

DENSITY = ("0.003", "0.004")
GENOME_SEED, READS_SEED = 7000, 9000
KINDS, COUNTS = ("SNP", "indel"), ("tp_calls", "fp", "tp_truth", "fn")


@dataclass(frozen=True)
class Case:
    """Reads at a depth with further options of `clair3 simulate reads`."""

    name: str
    depth: int
    options: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return f"{self.name.replace(' ', '_')}_{self.depth}x"


def cases(platform: str, depths: list[int]) -> Iterator[Case]:
    for depth in depths:
        yield Case("shipped profile", depth)
        yield Case("errors drawn", depth, ("--profile=random",))
        if platform == "ilmn":
            yield Case("none misplaced", depth, ("--misplaced=0",))


def clair3(*words: str) -> None:
    """Run one of the program's commands; what it says is shown when it fails."""
    done = subprocess.run([*CLAIR3, *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"clair3 {' '.join(words)}\n{done.stderr}")


def cut_windows(reference: Path, folder: Path) -> Path:
    """The windows as contigs of a FASTA of their own."""
    path = folder / "ref.fa"
    if not path.exists():
        with pysam.FastaFile(str(reference)) as whole:
            pieces = {f"{name}_{start + 1}_{end}": whole.fetch(name, start, end) for name, start, end in WINDOWS}
        path.write_text("".join(f">{name}\n{bases}\n" for name, bases in pieces.items()))
        pysam.faidx(str(path))
    return path


def make_reads(platform: str, case: Case, draw: int, reference: Path, folder: Path) -> tuple[Path, Path]:
    """The folder of a draw's genome, and its reads."""
    genome = folder / f"genome_{draw}"
    seed = f"--seed={GENOME_SEED + draw}"
    if not (genome / "truth.vcf.gz").exists():
        clair3("simulate", "genome", f"--ref_fn={reference}", "--density", *DENSITY, f"--output={genome}", seed)
    bam = folder / f"{platform}_{case.file_name}_{draw}.bam"
    if not bam.exists():
        files = (f"--ref_fn={reference}", f"--truth={genome / 'truth.vcf.gz'}", f"--output={bam}")
        seed = f"--seed={READS_SEED + draw}"
        clair3("simulate", "reads", *files, f"--platform={platform}", f"--depth={case.depth}", *case.options, seed)
    return genome, bam


def inner_regions(genome: Path) -> Path:
    """The confident regions of a genome without the ends of its contigs, as a BED."""
    lengths = {f"{name}_{start + 1}_{end}": end - start for name, start, end in WINDOWS}
    path, rows = genome / "inner.bed", []
    for line in (genome / "confident.bed").read_text().splitlines():
        contig, start, end = line.split("\t")[:3]
        start, end = max(int(start), EDGE), min(int(end), lengths[contig] - EDGE)
        rows += [f"{contig}\t{start}\t{end}\n"] if start < end else []
    path.write_text("".join(rows))
    return path


def evaluate(platform: str, model: str | None, reference: Path, genome: Path, bam: Path) -> dict[str, Score]:
    """Scores of SNPs and indels."""
    output = bam.parent / f"calls_{bam.stem}"
    chosen = [f"--model_path={model}"] if model else []
    files = (f"--bam_fn={bam}", f"--ref_fn={reference}", f"--output={output}", *chosen)
    clair3("run", *files, f"--platform={platform}", "--threads=1", "--include_all_ctgs")
    figures = output / "figures.json"
    truth = (str(genome / "truth.vcf.gz"), str(inner_regions(genome)), str(reference))
    records = f"--records={output / 'labels.tsv'}"
    clair3("evaluate", str(output / "merge_output.vcf.gz"), *truth, f"--json={figures}", records)
    found = json.loads(figures.read_text())["strata"]["type"]
    return {kind: Score(**{name: found[kind][name] for name in COUNTS}) for kind in KINDS}


def row(name: str, scores: dict[str, Score]) -> str:
    words = [name]
    for score in scores.values():
        words += [str(score.tp_truth + score.fn), str(score.tp_truth), str(score.fp), f"{score.f1 or 0:.4f}"]
        words.append("-".join(f"{end:.3f}" for end in score.f1_interval or ()))
    return "\t".join(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("platform", choices=("ont", "hifi", "ilmn"))
    parser.add_argument("reference", type=Path, help="GRCh38 chr20, its first 10 Mb or more")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model_path", help="folder or name (default: the default model)")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[30, 10])
    args = parser.parse_args()
    folder = args.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    reference = cut_windows(args.reference, folder)
    print("case\t" + "\t".join(f"{kind} true\tfound\tfalse\tF1\t95 %" for kind in KINDS))
    for case in cases(args.platform, args.depths):
        total = dict.fromkeys(KINDS, Score())
        for draw in range(1, args.draws + 1):
            genome, bam = make_reads(args.platform, case, draw, reference, folder)
            scores = evaluate(args.platform, args.model_path, reference, genome, bam)
            total = {kind: total[kind] + scores[kind] for kind in KINDS}
            print(row(f"{case.name}, {case.depth}x, draw {draw}", scores), flush=True)
        print(row(f"{case.name}, {case.depth}x, sum", total), flush=True)
        sums = {"strata": {"type": {kind: score.values() for kind, score in total.items()}}}
        (folder / f"{args.platform}_{case.file_name}.json").write_text(json.dumps(sums, indent=1))


if __name__ == "__main__":
    main()
