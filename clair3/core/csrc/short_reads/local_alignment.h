/* Local alignment with affine gaps (spec/features.md D.5). */
#ifndef C3_SHORT_READS_LOCAL_ALIGNMENT_H
#define C3_SHORT_READS_LOCAL_ALIGNMENT_H

#include "short_reads/cigar.h"

/* cdef: begin */
/* Scores of local alignment; a gap of length g costs OPEN + (g - 1) EXTEND. */
#define C3_LOCAL_MATCH 4
#define C3_LOCAL_MISMATCH 6
#define C3_LOCAL_OPEN 8
#define C3_LOCAL_EXTEND 2
/* Longest sequence that is aligned: scores and diagonals are 16-bit numbers. */
#define C3_LOCAL_LONGEST 8000

/* The best local alignment of a query to a target, and room for computing it; all zero before its first use. The
 * aligned part of the target is [start, end); the CIGAR speaks of the whole query, with S, =, X, I and D. Score 0:
 * none. */
typedef struct {
    int32_t score;
    int64_t start, end;
    c3_cigar cigar;
    int64_t query_start, query_end; /* the part of the query that is not clipped */
    int16_t *codes;                 /* scratch, with what follows */
    uint8_t *steps;
    int32_t *rows;
    int64_t codes_capacity, steps_capacity, rows_capacity;
} c3_local;

/* Align the n letters of query to the m of target. Sequences are upper case and at most C3_LOCAL_LONGEST long
 * (C3_TOO_LONG); letters other than A, C, G, T never match. */
int c3_local_align(const char *query, int64_t n, const char *target, int64_t m, c3_local *local);

/* The score, and where the alignment ends; the rest is not set. */
int c3_local_score(const char *query, int64_t n, const char *target, int64_t m, c3_local *local);
void c3_local_free(c3_local *local);
/* cdef: end */

#endif
