/* The random numbers of the GNU C library's rand(), seed 1: v2.0.2 draws over-deep candidates' rows with it. */
#ifndef C3_READS_SHUFFLE_H
#define C3_READS_SHUFFLE_H

#include <stdint.h>

typedef struct {
    uint32_t recent[34];
    int at;
} c3_random;

void c3_random_start(c3_random *random);
uint32_t c3_random_next(c3_random *random); /* 0 .. 2^31 - 1 */

/* Shuffle n items in place (spec/features.md C.6). */
void c3_shuffle(c3_random *random, int32_t *items, int64_t n);

/* cdef: begin */
/* The permutation that a fresh generator makes of 0 .. n-1, for the conformance tests. */
void c3_first_shuffle(int32_t *items, int64_t n);
/* cdef: end */

#endif
