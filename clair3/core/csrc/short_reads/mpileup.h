/* What samtools mpileup, which v2.0.2 reads for Illumina, makes of reads: those it takes, and the indel that it
 * writes behind a column (spec/features.md A.2, B.2, B.12.3, C.13.2). */
#ifndef C3_SHORT_READS_MPILEUP_H
#define C3_SHORT_READS_MPILEUP_H

#include <htslib/sam.h>

/* The reads that mpileup holds while it reads on: those that do not end before the last one began. All zero before its
 * first use, but `last` is -1. */
typedef struct {
    int64_t last;  /* where the last read began */
    int64_t *ends; /* where reads end: a heap, the first end at its root */
    int64_t n, capacity;
} c3_held_reads;

/* Does mpileup take this read, the next one by start? 1; 0 when it holds so many that it takes the first read of a
 * start only; or a negative code. */
int c3_mpileup_takes(c3_held_reads *held, const bam1_t *read);
void c3_held_free(c3_held_reads *held);

/* Pads (P) that are written out in one insertion: nobody has more. */
enum { C3_LONGEST_PAD = 1000 };

/* The indels that mpileup writes behind the last column of a CIGAR operation. */
typedef struct {
    int32_t inserted; /* symbols: letters, and up to C3_LONGEST_PAD pads of P */
    int32_t deleted;  /* bases of a deletion behind it, or alone */
} c3_attached;

c3_attached c3_find_attached(const bam1_t *read, uint32_t operation);

/* Write the symbols inserted behind an operation, whose first base is `query`, upper case; pads are '*', '#' on the
 * reverse strand. */
void c3_write_inserted(const bam1_t *read, uint32_t operation, int64_t query, int32_t inserted, char *out);

#endif
