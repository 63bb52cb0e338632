/* The columns of a region, counted from its reads: bases, deleted bases and the indels that start after each column.
 *
 * Rules: spec/features.md A.2, B.2, B.3. CIGARs are walked here and not by htslib's pileup engine, which changed its
 * treatment of neighbouring indels in 1.17. */
#ifndef C3_READS_COLUMNS_H
#define C3_READS_COLUMNS_H

#include <htslib/sam.h>

/* cdef: begin */
#define C3_CHANNELS 18
/* cdef: end */

/* Channels; the one behind INS and DEL is that of the most frequent single allele. */
enum { C3_INS = 4, C3_DEL = 6, C3_DELETED = 8, C3_REVERSE = 9, C3_SPILL = 17 };

/* An insertion or deletion that starts right after a column. Insertions have their bases in the pool. */
typedef struct {
    int32_t column, length;
    int64_t bases; /* offset into the pool, -1 for a deletion */
    uint8_t reverse;
    int32_t read; /* its number, from 1 */
} c3_indel;

typedef struct {
    int64_t start, end, n;
    int32_t longest;  /* deletion that is to be spelled */
    int64_t reads;    /* that count */
    int32_t *counts;  /* n x 18 */
    int32_t *other;   /* base events with a letter that is not A, C, G, T */
    uint8_t *skipped; /* columns that a read spans with N */
    int32_t *first;   /* n x 4 if asked for, else NULL: number of the first read with each base, from 1; 0: none */
    c3_indel *indels; /* by column, in read order within one */
    int64_t n_indels, indel_capacity;
    int64_t *indel_start; /* those of column c are indel_start[c] .. indel_start[c + 1] */
    char *pool;
    int64_t n_pool, pool_capacity;
    int64_t reference_end; /* how far deletions to be spelled reach */
} c3_columns;

/* Empty columns of [start, end). Whatever is returned, *columns is to be freed. */
int c3_columns_start(c3_columns *columns, int64_t start, int64_t end, int32_t longest, int want_first);
void c3_columns_free(c3_columns *columns);

/* Add the indel that a read shows after column x, the last one of its operation `i`, if any; `query` is the next unread
 * base. The two engines differ in it. */
typedef int c3_take_indel(c3_columns *columns, const bam1_t *read, uint32_t i, int64_t x, int64_t query);

/* Bases inserted behind an operation by the one that follows; pads let the insertions behind them through as one. */
int32_t c3_inserted_behind(const bam1_t *read, uint32_t operation);

/* Count a read. take_indel is called for columns of the region that an insertion, a deletion or a pad follows. */
int c3_columns_add(c3_columns *columns, const bam1_t *read, c3_take_indel *take_indel);

/* Add an indel after column x. The caller writes the letters of an insertion to *letters. */
int c3_columns_add_deletion(c3_columns *columns, int64_t x, int32_t length, int is_reverse);
int c3_columns_add_insertion(c3_columns *columns, int64_t x, int32_t length, int is_reverse, char **letters);

/* No more reads come: group the indels by column. */
int c3_columns_finish(c3_columns *columns);

#endif
