/* Read support of candidates: lists of (kind, count, bases), one after the other, as arrays. */
#ifndef C3_READS_SUPPORT_H
#define C3_READS_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "reads/alleles.h"

/* cdef: begin */
/* Items of candidate i are item_start[i] .. item_start[i+1], bases of item k are pool[seq_start[k] .. seq_start[k+1]);
 * kind is one of X (mismatch), D (deletion), I (insertion), R (reference). */
typedef struct {
    int64_t n, n_items, n_pool;
    int64_t *item_start;
    uint8_t *kind;
    int32_t *count;
    int64_t *seq_start;
    char *pool;
    int64_t start_capacity, kind_capacity, count_capacity, seq_capacity, pool_capacity;
} c3_support;
/* cdef: end */

/* Add an item to the candidate that is being written; c3_support_close ends it. */
int c3_support_add(c3_support *support, char kind, int32_t count, const char *bases, int64_t length);
int c3_support_close(c3_support *support);

/* X items: each base but `ref` (an index) with reads, in A, C, G, T order. */
int c3_support_add_bases(c3_support *support, const int32_t reads[4], int ref);

/* D items of n deletions; the deleted bases follow the candidate at `after`, of which `reachable` are there. Longer
 * ones than `longest` are left out, and those of reads that reach beyond the contig: they cannot be spelled. */
int c3_support_add_deletions(c3_support *support, const c3_allele *alleles, int32_t n, const char *after,
                             int64_t reachable, int32_t longest);
/* I items in table order, longer ones than `longest` left out. */
int c3_support_add_insertions(c3_support *support, const c3_allele_table *table, int32_t longest);

void c3_support_free(c3_support *support);

#endif
