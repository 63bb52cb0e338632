/* Full-alignment features of short reads: realigned, candidates found anew, rows by the rules of v2.0.2 for Illumina
 * (spec/features.md A.10, C.13, D). */
#ifndef C3_SHORT_READS_FULL_ALIGNMENT_H
#define C3_SHORT_READS_FULL_ALIGNMENT_H

#include "reads/full_alignment.h"
#include "reads/haplotypes.h"
#include "short_reads/realigner.h"

/* cdef: begin */
typedef struct c3_realigned c3_realigned;

/* Start on the candidates of one candidate file: its reads in [start, end) of a contig and in one of n intervals (2n
 * numbers, see c3_realign_start, which says how long they must live). Reads have the haplotypes given, or with NULL
 * those of their HP tags if the rule wants them. About `span` bases, or as many reads, are held at a time. *out is NULL
 * on failure. */
int c3_realigned_start(c3_source *source, const char *contig, int64_t start, int64_t end, const int64_t *intervals,
                       int64_t n, const c3_full_rule *rule, const c3_haplotypes *haplotypes, int64_t span,
                       const volatile int32_t *cancel, c3_realigned **out);

/* The candidates of the next span, found in its realigned reads; *out, freed by the caller, is NULL behind the last. A
 * span may have none. Spans keep memory flat and show in no result. */
int c3_realigned_next(c3_realigned *stream, c3_full **out);
void c3_realigned_end(c3_realigned *stream);
/* cdef: end */

#endif
