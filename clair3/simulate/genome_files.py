"""The files of a simulated genome: a made-up reference, the truth, and the regions where the truth is complete."""

import logging
from pathlib import Path

import numpy as np

from clair3.io.atomic import write_lines
from clair3.io.bed import refuse_other_name
from clair3.simulate.genome import decode, make_sequence, read_contigs, soft_mask, write_fasta
from clair3.simulate.haplotypes import read_variants, select_fitting, write_variants
from clair3.simulate.variants import VariantOptions, VariantSampler, find_confident

logger = logging.getLogger(__name__)

REFERENCE, TRUTH, REGIONS = "ref.fa", "truth.vcf.gz", "confident.bed"
"""Names of the files in the folder of a genome."""


def write_genome(
    folder: Path,
    reference: Path | list[tuple[str, int]],
    known: Path | None,
    options: VariantOptions,
    seed: int,
    contigs: tuple[str, ...] | None = None,
) -> None:
    """Draw the variants of a genome and write them with the regions where they are all; files are complete or absent.

    reference  FASTA with its .fai; or names and bases of contigs, of which a reference is made up in the folder
    known      VCF of real variants, which the random ones are added to; None: random ones alone
    contigs    those that get variants; None: all

    Raises InputError when a file cannot be read, or when the variants do not fit the reference.
    """
    fasta = reference if isinstance(reference, Path) else folder / REFERENCE
    if not isinstance(reference, Path):
        rng = np.random.default_rng([seed, 3])
        texts = ((name, soft_mask(rng, decode(make_sequence(rng, size)))) for name, size in reference)
        write_fasta(fasta, texts)
    variants = read_variants(known, np.random.default_rng([seed, 4])) if known else {}
    written, truth, regions = [], [], []
    for number, contig, codes in read_contigs(fasta, contigs):
        refuse_other_name(known or Path(), contig.name, variants)
        given = select_fitting(variants.get(contig.name, []), codes, f"{known} {contig.name}")
        sampler = VariantSampler(np.random.default_rng([seed, 5, number]), codes, options, given)
        sampler.draw()
        written.append(contig)
        truth += [(contig.name, variant) for variant in sorted(sampler.variants + sampler.structural)]
        confident = find_confident(codes, sampler.variants, sampler.structural)
        regions += [f"{contig.name}\t{start}\t{end}" for start, end in confident]
    write_variants(folder / TRUTH, written, truth)
    write_lines(folder / REGIONS, regions)
    logger.info("%s: %d variants in %d contigs", folder / TRUTH, len(truth), len(written))
