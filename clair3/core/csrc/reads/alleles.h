/* The distinct insertions (or deletion lengths) of one column, counted per strand, in the order v2.0.2 lists them.
 *
 * That order decides between equally supported alleles, so it is part of the format (spec/features.md B.7): ascending
 * slot of an open-addressing table with triangular probing that starts at 4 slots, doubles when 0.77 full and
 * re-inserts in place. Storage is kept from column to column; nothing is allocated once it has grown. */
#ifndef C3_READS_ALLELES_H
#define C3_READS_ALLELES_H

#include <stdint.h>

typedef struct {
    uint32_t hash;
    int32_t length;
    const char *bases; /* NULL for a deletion: the length is the key */
    int32_t forward, reverse;
    int32_t first; /* number of the read that showed it first, for who asks */
} c3_allele;

typedef struct {
    c3_allele *alleles; /* in order of first appearance */
    int32_t count, capacity;
    int32_t *slots;  /* index into alleles, or -1 */
    uint8_t *placed; /* scratch of the doubling */
    int32_t slot_count, slot_capacity;
} c3_allele_table;

void c3_alleles_clear(c3_allele_table *table);
void c3_alleles_free(c3_allele_table *table);

/* Count one read; bases may be NULL (deletion). The bases must stay where they are until the table is cleared. */
int c3_alleles_add(c3_allele_table *table, const char *bases, int32_t length, int reverse);

/* How many reads were counted with this key, of a table with keys of this kind. */
int32_t c3_alleles_count(const c3_allele_table *table, const char *bases, int32_t length);

/* cdef: begin */
/* Order in which keys come back when put in the given order, for the conformance tests: keys are n strings of
 * lengths[i] bases one after the other in pool, or the lengths themselves when pool is NULL. order[] receives the
 * index of the first appearance of each distinct key; *distinct their number. */
int c3_allele_order(const char *pool, const int32_t *lengths, int32_t n, int32_t *order, int32_t *distinct);
/* cdef: end */

#endif
