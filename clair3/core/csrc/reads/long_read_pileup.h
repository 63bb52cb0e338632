/* The pileup engine for long reads: which columns are candidates, their windows and read support (spec/features.md
 * B). */
#ifndef C3_READS_LONG_READ_PILEUP_H
#define C3_READS_LONG_READ_PILEUP_H

#include "reads/pileup.h"

/* cdef: begin */
/* Pile up [start, end) of a contig, 0-based. Windows need columns around candidates, so the region must reach at least
 * 35 bases further than the allowed places on both sides. `cancel` (may be NULL) is looked at between reads: non-zero
 * ends with C3_CANCELLED. *out is the caller's to free with c3_pileup_free; it is NULL on failure. */
int c3_long_read_pileup(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                        const c3_places *places, int want_gvcf, const volatile int32_t *cancel, c3_pileup **out);
/* cdef: end */

#endif
