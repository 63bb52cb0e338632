/* Full-alignment features: the reads around each candidate, row by row (spec/features.md C). */
#ifndef C3_FULL_ALIGNMENT_H
#define C3_FULL_ALIGNMENT_H

#include "alignments.h"
#include "haplotag.h"
#include "support.h"

/* cdef: begin */
typedef struct {
    int32_t min_mapq;
    int32_t max_indel_length; /* longest insertion or deletion listed in the support */
    int32_t rows;             /* of a tensor: 89 or 55 */
    int32_t dwell;            /* a ninth channel from the move tables */
    int32_t haplotype_tags;   /* haplotypes are those of the HP tags; phased SNPs are not looked at */
} c3_full_rule;

typedef struct c3_full_state c3_full_state;

typedef struct {
    int64_t reads; /* kept */
    int64_t n;     /* candidates, those asked for */
    uint8_t *ref;  /* upper case */
    int32_t *depth;
    c3_support support;
    uint8_t *haplotype; /* of each kept read: 0, 1, 2 */
    c3_full_state *state;
} c3_full;

/* Read the alignments around candidates (0-based, ascending, distinct) of one candidate file. Rows of over-deep
 * candidates are drawn by one generator over the whole call, as a fresh process of v2.0.2 does (C.6).
 * *out is the caller's to free with c3_full_free; it is NULL on failure. */
int c3_full_run(c3_source *source, const char *contig, const int64_t *candidates, int64_t n, const c3_full_rule *rule,
                const c3_phased_snps *snps, const volatile int32_t *cancel, c3_full **out);

/* Tensors of candidates [from, to) into out, (to - from) x rows x 33 x channels (8, with dwell time 9). */
void c3_full_tensors(const c3_full *full, int64_t from, int64_t to, int8_t *out);
void c3_full_free(c3_full *full);
/* cdef: end */

#endif
