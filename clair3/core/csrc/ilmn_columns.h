/* Columns of realigned short reads: the indel that a read shows after a column, as samtools mpileup writes it, and the
 * candidates among the columns (spec/features.md B.12.3, C.13.2, C.13.9). */
#ifndef C3_ILMN_COLUMNS_H
#define C3_ILMN_COLUMNS_H

#include "alignments.h"

/* The last indel that mpileup writes behind the last column of a CIGAR operation. */
typedef struct {
    int32_t deleted;  /* bases of a deletion, which ends the text and so wins; else 0 */
    int32_t inserted; /* symbols of an insertion without a deletion behind it: letters, and up to C3_LONGEST_PAD pads of P */
} c3_attached;

c3_attached c3_attached_to(const bam1_t *read, uint32_t operation);

/* Do columns of this base count? Any other letter than A, C, G, T, N, like a skip, blanks its column for all reads. */
int c3_is_token(uint8_t base);

/* Positions in [start, end) where short reads (sorted by start) show a candidate, ascending, to be freed by the caller.
 * letters are the reference of [start, end), of which `length` exist. */
int c3_ilmn_candidates(bam1_t *const *reads, int64_t n, int64_t start, int64_t end, const char *letters, int64_t length,
                       int32_t min_coverage, int64_t **out, int64_t *n_out);

#endif
