/* CIGARs that are built operation by operation, and two alignments put together (spec/features.md D.5). */
#ifndef C3_SHORT_READS_CIGAR_H
#define C3_SHORT_READS_CIGAR_H

#include <stdint.h>

/* cdef: begin */
/* A CIGAR as in BAM: length << 4 | operation. All zero is an empty one; ops is the owner's to free. */
typedef struct {
    uint32_t *ops;
    int64_t n, capacity;
} c3_cigar;

/* The read's alignment to the reference, from its alignment to a haplotype, which starts at base `place` of that, and
 * the haplotype's alignment to the reference. Operations are M, I, D and S; into->n is 0 when the two do not fit
 * together. */
int c3_cigar_compose(const c3_cigar *read, int64_t place, const c3_cigar *haplotype, c3_cigar *into);

/* How much further right than base `place` of the haplotype, counted from its start, that base lies on the reference.
 * */
int64_t c3_cigar_shift(const c3_cigar *haplotype, int64_t place);
void c3_cigar_free(c3_cigar *cigar);
/* cdef: end */

/* Add an operation, which becomes one with an equal last one. A length of 0 adds nothing. */
int c3_cigar_add(c3_cigar *cigar, int op, int64_t length);
void c3_cigar_reverse(c3_cigar *cigar);

int c3_cigar_copy(const c3_cigar *cigar, c3_cigar *into);

/* Bases of insertions and deletions. */
int64_t c3_cigar_gaps(const c3_cigar *cigar);

#endif
