/* Full-alignment features, second part: what the reads show at each candidate, and which become its rows (spec/features.md
 * C.5, C.6, C.9). */
#ifndef C3_READS_FULL_TALLY_H
#define C3_READS_FULL_TALLY_H

#include "reads/full_reads.h"

/* Depth, reference letter, support and rows of all candidates into `out` and its state. */
int c3_full_tally(c3_full *out);

#endif
