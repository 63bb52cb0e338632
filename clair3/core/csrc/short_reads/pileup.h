/* The pileup engine for short reads: which columns are candidates, their windows and read support, by the rules of
 * v2.0.2 for Illumina, which reads the text of samtools mpileup (spec/features.md B.12). */
#ifndef C3_SHORT_READS_PILEUP_H
#define C3_SHORT_READS_PILEUP_H

#include "reads/pileup.h"

/* cdef: begin */
/* As c3_long_read_pileup. */
int c3_short_read_pileup(c3_source *source, const char *contig, int64_t start, int64_t end,
                         const c3_pileup_rule *rule, const c3_places *places, int want_gvcf,
                         const volatile int32_t *cancel, c3_pileup **out);
/* cdef: end */

#endif
