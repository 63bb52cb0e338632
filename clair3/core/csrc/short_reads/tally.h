/* As reads/full_tally.h, by the rules for realigned short reads: each read counts once, for its indel or its base, in order of
 * first appearance (spec/features.md C.13.3, C.13.6, C.13.7). */
#ifndef C3_SHORT_READS_TALLY_H
#define C3_SHORT_READS_TALLY_H

#include "reads/full_reads.h"

int c3_ilmn_tally(c3_full *out);

#endif
