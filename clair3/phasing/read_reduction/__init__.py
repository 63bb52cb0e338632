"""Read reduction: the optimum of WhatsHap's solver from a part of the reads, with a certificate that it is that of all.

Phasing is weighted minimum error correction (wMEC): assign each read to one of two haplotypes so that the weights of
the alleles that contradict the haplotypes, and of unlikely genotypes, are least. WhatsHap's solver is exact and its
work doubles with every read over a SNP, though most reads only repeat what others show.

heuristic    Good haplotypes are found by votes and local search.
blocks       Reads are cut into fragments between blocks of SNPs, at columns where the cost of each read is the sum of
             the costs of its fragments. So the wMEC cost of the whole is the sum over blocks.
certificate  The solver looks for cheaper haplotypes with few fragments of a block: all that contradict the heuristic
             haplotypes, for the others cost nothing, and leaving them out only makes other haplotypes cheaper. The
             costs of all other haplotypes are discounted a little, so that equally good ones would come out as
             cheaper. If the solver finds none, the heuristic haplotypes are the only optimum of these
             fragments, and of all reads.
fallback     Uncertain blocks, with several optima or a better one, are solved with all reads and enough context that
             the solver's choice among equal optima is the one that it makes for the whole. Where that does not work
             out, the solver gets all reads of the connected component.
"""

from clair3.phasing.read_reduction.certificate import find_optimum
from clair3.phasing.read_reduction.matrix import AlleleMatrix, ReadFragments

__all__ = ["AlleleMatrix", "ReadFragments", "find_optimum"]
