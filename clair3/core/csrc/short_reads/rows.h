/* The full-alignment engine for realigned short reads: each read counts once, for its indel or its base, in order of
 * first appearance (spec/features.md C.13). */
#ifndef C3_SHORT_READS_ROWS_H
#define C3_SHORT_READS_ROWS_H

#include "reads/full_reads.h"

extern const c3_row_engine c3_short_read_rows;

#endif
