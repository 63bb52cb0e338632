"""WhatsHap's optimum from a part of the reads, with the proof that all of them have the same one.

The solver's work doubles with every read over a SNP, and most reads only repeat what others say. So haplotypes are
guessed (guess) and the solver is asked to find better ones, with few of the reads: all that the guess does not
explain in full, for others cost nothing and leaving them out can only make other haplotypes cheaper. A little is taken
off what contradicts the guess (SCALE), so that haplotypes as good as the guess would be found as better ones. If there
are none, the guess is the only optimum of these reads and of all.

The same holds part by part. Reads are cut where both parts of each are still nearest to its haplotype, so that the cost
of the whole is the sum of what windows cost. Windows with several optima, or a better one, are doubtful: there the
solver gets all reads, over a stretch of which its choice among equals cannot depend on what lies beyond (Settling).
Where this does not work out, it gets the whole.
"""

from clair3.phasing.read_reduction.certificate import optimum
from clair3.phasing.read_reduction.matrix import AlleleMatrix, Parts

__all__ = ["AlleleMatrix", "Parts", "optimum"]
