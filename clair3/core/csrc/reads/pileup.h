/* Pileup features of a region: candidates among its columns, their windows and read support.
 *
 * Rules: spec/features.md B; for Illumina those of v2.0.2's scripted engine, B.12. */
#ifndef C3_READS_PILEUP_H
#define C3_READS_PILEUP_H

#include "reads/columns.h"

/* cdef: begin */
#define C3_FLANK 16
#define C3_WINDOW 33

/* Which columns make a window: `real` of them from column `from` of the region, after `before` zero columns. */
typedef struct {
    int64_t from;
    int32_t before, real;
} c3_window;

typedef struct {
    int64_t reads; /* that count */

    int64_t n; /* candidates */
    int64_t *pos;
    uint8_t *ref; /* upper case */
    int32_t *depth;
    c3_window *windows;
    int32_t *counts; /* all columns of the region x 18, reference channels negated */

    c3_support support;

    int32_t *n_ref, *n_total; /* gVCF evidence of each column of [start, end), or NULL when not asked for */
} c3_pileup;

/* Where candidates may be: n sorted, disjoint intervals allowed[2k] <= pos < allowed[2k+1]. By the scripted rules with
 * a BED (targets not NULL) there are only columns near its n_targets sorted, disjoint intervals, and a candidate must
 * touch one, its longest deletion included (B.12.11). */
typedef struct {
    const int64_t *allowed;
    int64_t n;
    const int64_t *targets;
    int64_t n_targets;
} c3_places;

/* Pile up [start, end) of a contig, 0-based. Windows need columns around candidates, so the region must reach at least
 * 35 bases further than the allowed places on both sides. `cancel` (may be NULL) is looked at between reads: non-zero
 * ends with C3_CANCELLED. *out is the caller's to free with c3_pileup_free; it is NULL on failure. */
int c3_pileup_run(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                  const c3_places *places, int want_gvcf, const volatile int32_t *cancel, c3_pileup **out);

/* Copy the windows of candidates [from, to) into out, (to - from) x 33 x 18: a few at a time, so that memory stays flat
 * where every column is a candidate. */
void c3_pileup_windows(const c3_pileup *pileup, int64_t from, int64_t to, int32_t *out);
void c3_pileup_free(c3_pileup *pileup);
/* cdef: end */

#endif
