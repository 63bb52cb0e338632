/* Full-alignment features: the reads around each candidate, row by row (spec/features.md C). */
#ifndef C3_READS_FULL_ALIGNMENT_H
#define C3_READS_FULL_ALIGNMENT_H

#include "reads/alignments.h"
#include "reads/haplotag.h"
#include "reads/support.h"

/* cdef: begin */
typedef struct {
    int32_t min_mapq;
    int32_t max_indel_length; /* longest insertion or deletion listed in the support; of short reads all are */
    int32_t rows;             /* of a tensor: 89 or 55 */
    int32_t dwell;            /* a ninth channel from the move tables */
    int32_t haplotype_tags;   /* haplotypes are those of the HP tags; phased SNPs are not looked at */
    int32_t min_coverage;     /* least bases at a candidate found in short reads (short_reads/full_alignment.h) */
} c3_full_rule;

typedef struct c3_full_state c3_full_state;

typedef struct {
    int64_t reads;        /* kept */
    int64_t shared_names; /* reads around the candidates that have the name of an earlier one */
    int64_t n;     /* candidates */
    int64_t *pos;
    uint8_t *ref; /* upper case */
    int32_t *depth;
    int32_t *window_reads; /* that could be rows of the tensor */
    c3_support support;
    uint8_t *haplotype; /* of each kept read: 0, 1, 2 */
    c3_full_state *state;
} c3_full;

/* Read the alignments around candidates (0-based, ascending, distinct) of one candidate file. Rows of over-deep
 * candidates are drawn by one generator over the whole call, as a fresh process of v2.0.2 does (C.6).
 * *out is the caller's to free with c3_full_free; it is NULL on failure. */
int c3_full_run(c3_source *source, const char *contig, const int64_t *candidates, int64_t n, const c3_full_rule *rule,
                const c3_phased_snps *snps, const volatile int32_t *cancel, c3_full **out);

/* Tensors of candidates [from, to) into out, (to - from) x rows x 33 x channels (8, with dwell time 9). Short reads are
 * drawn anew for each candidate: `drawn` has `rows` ascending numbers below window_reads for each one that has more
 * reads than rows, one after the other. */
void c3_full_tensors(const c3_full *full, int64_t from, int64_t to, const int32_t *drawn, int8_t *out);
void c3_full_free(c3_full *full);
/* cdef: end */

/* How reads become rows: reads/full_reads.h. */
typedef struct c3_row_engine c3_row_engine;

/* As c3_full_run, from n reads in memory that are all kept, sorted by start; columns out of [start, end) show nothing of
 * them. */
int c3_full_run_on_reads(c3_source *source, const char *contig, bam1_t *const *reads, int64_t n_reads,
                         const int64_t *candidates, int64_t n, int64_t start, int64_t end, const c3_full_rule *rule,
                         const c3_row_engine *engine, c3_full **out);

#endif
