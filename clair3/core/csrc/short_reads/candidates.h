/* Columns of realigned short reads and the candidates among them (spec/features.md C.13.2, C.13.9). */
#ifndef C3_SHORT_READS_CANDIDATES_H
#define C3_SHORT_READS_CANDIDATES_H

#include "reads/alignments.h"

/* Positions in [start, end) where short reads (sorted by start) show a candidate, ascending, to be freed by the caller.
 * A skip, or another letter than A, C, G, T, N, blanks its column for all reads.
 * letters are the reference of [start, end), of which `length` exist. */
int c3_find_realigned_candidates(bam1_t *const *reads, int64_t n, int64_t start, int64_t end, const char *letters,
                                 int64_t length, int32_t min_coverage, int64_t **out, int64_t *n_out);

#endif
