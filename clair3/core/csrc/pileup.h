/* Pileup features of a region: counters per column, candidates, their windows and read support.
 *
 * Rules: spec/features.md A.2 (native pileup), B. CIGARs are walked here and not by htslib's pileup engine, which
 * changed its treatment of neighbouring indels in 1.17. */
#ifndef C3_PILEUP_H
#define C3_PILEUP_H

#include "alignments.h"
#include "support.h"

/* cdef: begin */
#define C3_FLANK 16
#define C3_WINDOW 33
#define C3_CHANNELS 18

typedef struct {
    int32_t min_mapq;
    int32_t min_coverage;
    int32_t max_indel_length; /* longest insertion or deletion listed in the support */
    float snp_min_af;
    float indel_min_af;
    int32_t snp_only;      /* a candidate must pass the SNP threshold */
    int32_t head_and_tail; /* pad windows with zeros where a run of columns begins or ends */
} c3_pileup_rule;

/* Which columns make a window: `real` of them from column `from` of the region, after `before` zero columns. */
typedef struct {
    int64_t from;
    int32_t before, real;
} c3_window;

typedef struct {
    int64_t reads; /* that passed the filters */

    int64_t n; /* candidates */
    int64_t *pos;
    uint8_t *ref; /* upper case */
    int32_t *depth;
    c3_window *windows;
    int32_t *counts; /* all columns of the region x 18, reference channels negated */

    c3_support support;

    int32_t *n_ref, *n_total; /* gVCF evidence of each column of [start, end), or NULL when not asked for */
} c3_pileup;

/* Pile up [start, end) of a contig, 0-based. Candidates are reported only inside the n_allowed sorted, disjoint
 * intervals allowed[2k] <= pos < allowed[2k+1]; windows need columns around them, so the region must reach at least
 * 35 bases further on both sides. `cancel` (may be NULL) is looked at between reads: non-zero ends with C3_CANCELLED.
 * *out is the caller's to free with c3_pileup_free; it is NULL on failure. */
int c3_pileup_run(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                  const int64_t *allowed, int64_t n_allowed, int want_gvcf, const volatile int32_t *cancel,
                  c3_pileup **out);

/* Copy the windows of candidates [from, to) into out, (to - from) x 33 x 18: a few at a time, so that memory stays flat
 * where every column is a candidate. */
void c3_pileup_windows(const c3_pileup *pileup, int64_t from, int64_t to, int32_t *out);
void c3_pileup_free(c3_pileup *pileup);
/* cdef: end */

#endif
