/* Reads that are being realigned: from BAM records, and back to them (spec/features.md D.1, D.6). */
#ifndef C3_SHORT_READS_REALIGNED_READ_H
#define C3_SHORT_READS_REALIGNED_READ_H

#include <htslib/sam.h>

#include "short_reads/cigar.h"
#include "short_reads/assembly.h"

typedef struct {
    int64_t order;          /* in the file */
    int64_t start, end;     /* end: as if all its bases lay on the reference, and its deleted ones */
    int64_t best_start;     /* where it is put */
    c3_sequence sequence;   /* owned */
    c3_cigar cigar, best;   /* best: empty as long as it stays as it is; both owned */
    int64_t best_gaps;
    bam1_core_t core;
    int8_t haplotype; /* first digit of HP, 0: none */
} c3_short_read;

/* A copy of what is needed of a record. *out is NULL, with C3_OK, when the record is left out: no CIGAR, no bases, or
 * too many of them clipped. */
int c3_short_read_copy(const bam1_t *record, int64_t order, c3_short_read **out);
void c3_short_read_free(c3_short_read *read);

/* Put the read here, if this is another place than its own and no worse than the best so far: with as many gaps. */
int c3_short_read_move(c3_short_read *read, int64_t start, const c3_cigar *cigar);

/* The record of the read where it was put. */
int c3_short_read_to_record(const c3_short_read *read, bam1_t *record);

#endif
