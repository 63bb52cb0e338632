/* The full-alignment engine for long reads: what the reads show at each candidate, and which become its rows
 * (spec/features.md C.4 - C.9). */
#ifndef C3_READS_LONG_READ_ROWS_H
#define C3_READS_LONG_READ_ROWS_H

#include "reads/full_reads.h"

extern const c3_row_engine c3_long_read_rows;

#endif
