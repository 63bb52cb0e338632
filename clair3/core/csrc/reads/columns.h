/* The columns of a region, counted from its reads: bases, deleted bases and the indels that start after each column.
 *
 * Rules: spec/features.md A.2, B.2, B.3, and for Illumina those of v2.0.2's scripted engine, B.12. CIGARs are walked
 * here and not by htslib's pileup engine, which changed its treatment of neighbouring indels in 1.17. */
#ifndef C3_READS_COLUMNS_H
#define C3_READS_COLUMNS_H

#include "reads/alignments.h"
#include "reads/support.h"

/* cdef: begin */
#define C3_CHANNELS 18

typedef struct {
    int32_t min_mapq;
    int32_t min_coverage;
    int32_t max_indel_length; /* longest insertion or deletion listed in the support; scripted: 100,000 */
    double snp_min_af;
    double indel_min_af;
    int32_t snp_only;      /* a candidate must pass the SNP threshold */
    int32_t head_and_tail; /* pad windows with zeros where a run of columns begins or ends */
    int32_t scripted;      /* the rules for Illumina (B.12) */
    int32_t known_sites;   /* scripted: every allowed column is a candidate, whatever the reads show */
} c3_pileup_rule;
/* cdef: end */

/* Channels; the one behind INS and DEL is that of the most frequent single allele. */
enum { C3_INS = 4, C3_DEL = 6, C3_DELETED = 8, C3_REVERSE = 9, C3_SPILL = 17 };

/* With a BED the scripted engine has columns so near its intervals only (A.6). */
enum { C3_TARGET_REACH = 33 };

/* An insertion or deletion that starts right after a column. Insertions have their bases in the pool. */
typedef struct {
    int32_t column, length;
    int64_t bases; /* offset into the pool, -1 for a deletion */
    uint8_t reverse;
    int32_t read; /* its number, from 1 */
} c3_indel;

typedef struct {
    int64_t start, end, n;
    int64_t reads;    /* that count */
    int32_t *counts;  /* n x 18 */
    int32_t *other;   /* base events with a letter that is not A, C, G, T */
    uint8_t *skipped; /* columns that a read spans with N */
    int32_t *first;   /* n x 4, scripted rules only: number of the first read with each base, from 1; 0: none */
    c3_indel *indels; /* by column, in read order within one */
    int64_t n_indels, indel_room;
    int64_t *indel_start; /* those of column c are indel_start[c] .. indel_start[c + 1] */
    char *pool;
    int64_t n_pool, pool_room;
    int64_t reference_end; /* how far deletions to be listed reach */
} c3_columns;

/* Count the reads that overlap [start, end) of a contig. Whatever is returned, *out is to be freed. */
int c3_columns_count(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                     const volatile int32_t *cancel, c3_columns *out);
void c3_columns_free(c3_columns *columns);

/* Letters outside ACGT in the first column at or behind `end`. They spill into the last channel of the column emitted
 * before (E-K1), across a gap too, so that it does not matter where a region ends. */
int c3_letters_beyond(c3_source *source, const char *contig, int64_t end, const c3_pileup_rule *rule,
                      const volatile int32_t *cancel, int32_t *letters);

/* The longest insertion or deletion that is listed: the scripted engine lists all. */
int32_t c3_longest_listed(const c3_pileup_rule *rule);

/* Is there a column at or behind `end`, with n targets near one of these sorted intervals [2k] <= pos < [2k+1]? */
int c3_has_columns_beyond(c3_source *source, const char *contig, int64_t end, const c3_pileup_rule *rule,
                          const volatile int32_t *cancel, const int64_t *targets, int64_t n, int *found);

#endif
